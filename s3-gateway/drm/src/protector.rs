//! Schemes of protection as the gateway sees them: prepare a book once, then make it one reader's.

use crate::package::{Book, Kind, Options, ProtectError, Protected, protect};
use crate::source::pieces;
use crate::splice::{Body, SpliceError, splice};
use crate::{ContentKey, Entropy, Sink, Source, SourceError};
use sha2::{Digest, Sha256};

/// What was made of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// A package was written; that is what is stored and sent.
    Package(Protected),
    /// Nothing was written; the book itself is sent.
    AsItIs {
        /// Its bytes.
        len: u64,
        /// SHA-256 of them.
        sha256: [u8; 32],
    },
}

/// What one reader is given.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// His licence document, as it was issued.
    pub licence: &'a [u8],
}

/// A scheme of protection.
pub trait Protector {
    /// Makes of a book what is stored, once per version.
    ///
    /// # Errors
    /// [`ProtectError`]: the book is not offered under this scheme.
    fn prepare(
        &self,
        book: &Book<'_>,
        options: &Options<'_>,
        entropy: &mut dyn Entropy,
        sink: &mut dyn Sink,
    ) -> Result<Prepared, ProtectError>;

    /// What one reader downloads. The same for the same grant, byte for byte.
    ///
    /// # Errors
    /// [`SpliceError`]: it was not prepared by this scheme, or is damaged; nothing is sent.
    fn personalise(&self, prepared: &Prepared, grant: &Grant<'_>) -> Result<Body, SpliceError>;
}

/// Readium LCP under the content key of one title.
#[derive(Clone, Debug)]
pub struct Lcp {
    /// The key.
    pub key: ContentKey,
}

impl Protector for Lcp {
    fn prepare(
        &self,
        book: &Book<'_>,
        options: &Options<'_>,
        entropy: &mut dyn Entropy,
        sink: &mut dyn Sink,
    ) -> Result<Prepared, ProtectError> {
        protect(book, options, &self.key, entropy, sink).map(Prepared::Package)
    }

    fn personalise(&self, prepared: &Prepared, grant: &Grant<'_>) -> Result<Body, SpliceError> {
        let Prepared::Package(package) = prepared else { return Err(SpliceError::NotPrepared) };
        splice(&package.layout, &package.directory, Kind::licence_path(package.kind), grant.licence)
    }
}

/// No protection: the book as it is.
#[derive(Clone, Copy, Debug)]
pub struct Unprotected;

impl Protector for Unprotected {
    fn prepare(
        &self,
        book: &Book<'_>,
        _: &Options<'_>,
        _: &mut dyn Entropy,
        _: &mut dyn Sink,
    ) -> Result<Prepared, ProtectError> {
        let source = match *book {
            Book::Epub(source) | Book::Pdf(source) | Book::Comic(source) => source,
            Book::Images([image]) => image.source,
            Book::Images(_) => return Err(ProtectError::SeveralFiles),
        };
        Ok(Prepared::AsItIs { len: source.len(), sha256: hash(source)? })
    }

    fn personalise(&self, prepared: &Prepared, _: &Grant<'_>) -> Result<Body, SpliceError> {
        match prepared {
            Prepared::AsItIs { len, sha256 } => Ok(Body::plain(*len, sha256)),
            Prepared::Package(_) => Err(SpliceError::NotPrepared),
        }
    }
}

fn hash(source: &dyn Source) -> Result<[u8; 32], ProtectError> {
    let mut sha256 = Sha256::new();
    pieces::<SourceError>(source, &mut |piece| {
        sha256.update(piece);
        Ok(())
    })?;
    Ok(sha256.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::tests::Counting;
    use crate::package::testing::{comic, key};

    #[test]
    fn schemes_are_exchangeable_and_do_not_mix() {
        let (comic, grant) = (comic(), Grant { licence: b"{}" });
        let options = Options { title: Some("책"), ..Options::default() };
        let schemes: [&dyn Protector; 2] = [&Lcp { key: key() }, &Unprotected];
        let prepared = schemes.map(|scheme| {
            let mut sink = Vec::new();
            let prepared = scheme.prepare(&Book::Comic(&comic), &options, &mut Counting, &mut sink);
            (prepared.expect("a good comic"), sink)
        });
        let body = schemes[0].personalise(&prepared[0].0, &grant).expect("prepared by it");
        assert!(body.len() > prepared[0].1.len() as u64);
        let body = schemes[1].personalise(&prepared[1].0, &grant).expect("prepared by it");
        assert_eq!((body.len(), prepared[1].1.len()), (comic.len() as u64, 0));
        assert_eq!(schemes[0].personalise(&prepared[1].0, &grant), Err(SpliceError::NotPrepared));
        assert_eq!(schemes[1].personalise(&prepared[0].0, &grant), Err(SpliceError::NotPrepared));
    }
}
