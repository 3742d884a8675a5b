//! Protected packages: a book is encrypted once, under the content key of its title, and stored without any licence.
//!
//! | book | package | resources |
//! | --- | --- | --- |
//! | EPUB | EPUB, told by `META-INF/encryption.xml` | those of the book |
//! | PDF | `.lcpdf`, told by `manifest.json` | `publication.pdf` |
//! | comic (CBZ), images | `.lcpdi`, told by `manifest.json` | the images, in natural order of their names |
//!
//! Of an EPUB stay readable what a reader needs without a licence: `mimetype`, `META-INF`, package documents, navigation, cover, and fonts that are obfuscated
//! already. Of a comic only the images are taken over. Text is deflated before it is encrypted, what is played is not, images if it saves more than a tenth.
//!
//! Memory: the central directories of source and package, one document of the source, a few megabytes of ciphertext; whatever the book has.
//!
//! A book that is refused has written something to the sink: the caller throws it away and offers no download.
//!
//! Source: ISO/IEC 23078-2; EPUB 3.3, section 4; Readium Web Publication Manifest.

mod container;
pub(crate) mod encryption_xml;
mod epub;
mod error;
mod images;
pub(crate) mod manifest;
mod opf;
mod output;
mod pdf;
mod recognise;
pub(crate) mod uri;
mod webpub;
pub(crate) mod xml;

pub use error::ProtectError;
pub use images::NotAnImage;
pub use pdf::PdfError;
pub use xml::XmlError;

use crate::splice::Layout;
use crate::zip::{Limits, Writer};
use crate::{ContentKey, Entropy, Sink, Source};
use output::{Hashed, Output};
use recognise::Found;
use serde::{Deserialize, Serialize};

/// A book as it came, and what it is said to be.
#[derive(Clone, Copy, Debug)]
pub enum Book<'a> {
    /// An EPUB.
    Epub(&'a dyn Source),
    /// A PDF.
    Pdf(&'a dyn Source),
    /// An archive of images: CBZ.
    Comic(&'a dyn Source),
    /// Images, or a single one.
    Images(&'a [Image<'a>]),
}

/// One of a set of images.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Its path in the package. An extension is added if it has none of an image.
    pub name: &'a str,
    /// Its bytes.
    pub source: &'a dyn Source,
}

/// What else is to be known for a package.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// What the title is called. An EPUB may say so itself; for the others it must be given.
    pub title: Option<&'a str>,
    /// A small picture of a title that is no EPUB. It stays readable for everybody.
    pub cover: Option<&'a [u8]>,
    /// What the book may ask of the machine.
    pub limits: Limits,
}

/// What kind of package a book becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An EPUB with encrypted resources.
    Epub,
    /// A package of one PDF.
    Pdf,
    /// A package of images.
    Images,
}

impl Kind {
    /// The media type of the package.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Kind::Epub => "application/epub+zip",
            Kind::Pdf => "application/pdf+lcp",
            Kind::Images => "application/divina+lcp",
        }
    }

    /// The extension of the package, with its dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Kind::Epub => ".epub",
            Kind::Pdf => ".lcpdf",
            Kind::Images => ".lcpdi",
        }
    }

    /// Where the licence is in the package.
    #[must_use]
    pub const fn licence_path(self) -> &'static str {
        match self {
            Kind::Epub => "META-INF/license.lcpl",
            Kind::Pdf | Kind::Images => "license.lcpl",
        }
    }
}

/// A package that was written: all that has to be remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Its size, hash and layout.
    pub layout: Layout,
    /// Its central directory, [`Layout::cd_size`] bytes: kept, or read again from [`Layout::cd_offset`].
    pub directory: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What the title is called, without control characters.
    pub title: Option<String>,
    /// The path of a cover that stays readable.
    pub cover: Option<String>,
}

/// What was learnt of a book.
struct About {
    kind: Kind,
    title: Option<String>,
    cover: Option<String>,
}

/// Encrypts a book under `key` and writes the package to `sink`, from its first byte to its last.
///
/// The same book does not give the same bytes again: each resource gets a new initialisation vector.
///
/// # Errors
/// [`ProtectError`]: the book is refused, or source or sink failed. What the sink got is of no use.
pub fn protect(
    book: &Book<'_>,
    options: &Options<'_>,
    key: &ContentKey,
    entropy: &mut dyn Entropy,
    sink: &mut dyn Sink,
) -> Result<Protected, ProtectError> {
    let mut hashed = Hashed::new(sink);
    let mut output = Output::new(Writer::new(&mut hashed), key, entropy);
    let about = match *book {
        Book::Epub(source) => {
            recognise::check(source, "EPUB", Found::Zip)?;
            epub::protect(source, &options.limits, &mut output)?
        }
        Book::Pdf(source) => webpub::protect_pdf(source, options, &mut output)?,
        Book::Comic(source) => webpub::protect_comic(source, options, &mut output)?,
        Book::Images(images) => webpub::protect_images(images, options, &mut output)?,
    };
    let directory = output.finish()?;
    let layout = Layout {
        len: directory.archive_bytes,
        sha256: hashed.sha256(),
        cd_offset: directory.offset,
        cd_size: directory.bytes.len() as u64,
        entries: directory.entries,
        zip64: directory.zip64,
    };
    let title = options.title.and_then(opf::clean_title).or(about.title);
    Ok(Protected { layout, directory: directory.bytes, kind: about.kind, title, cover: about.cover })
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
