//! Where bytes come from and where they go: what the caller brings.
//!
//! Both are synchronous. A caller whose bytes come over a network runs this crate on a thread that may block and bridges from there.

use crate::zip::PIECE_BYTES;
use std::error::Error;
use std::fmt;

macro_rules! failure {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[error($text)]
        pub struct $name(#[source] Box<dyn Error + Send + Sync>);

        impl $name {
            /// For the reason that the caller knows of.
            pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
                $name(cause.into())
            }
        }
    };
}

failure! {
    /// The source could not be read; it says nothing about what is in it.
    SourceError, "the source cannot be read"
}
failure! {
    /// The sink took no more; what it has taken so far is of no use.
    SinkError, "the result cannot be written"
}

/// Bytes that can be read at any place, any number of times, and do not change meanwhile.
pub trait Source {
    /// How many there are.
    fn len(&self) -> u64;

    /// Fills all of `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`SourceError`], also if there are not as many bytes ([`PastEnd`]).
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Shows all of a source to `see`, piece by piece; each time in the same pieces.
pub(crate) fn pieces<E: From<SourceError>>(
    source: &dyn Source,
    see: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut at, mut piece) = (0, Vec::new());
    while at < source.len() {
        piece.resize((source.len() - at).min(PIECE_BYTES as u64) as usize, 0);
        source.read_at(at, &mut piece)?;
        at += piece.len() as u64;
        see(&piece)?;
    }
    Ok(())
}

/// Takes bytes in the order in which they are to be stored.
pub trait Sink {
    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// [`SinkError`]; nothing more is written after it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;
}

/// Bytes were asked for beyond the end of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes at {offset} of {len}")]
pub struct PastEnd {
    /// From where.
    pub offset: u64,
    /// How many.
    pub bytes: usize,
    /// How many the source has.
    pub len: u64,
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError> {
        let from = usize::try_from(offset).ok();
        let asked = from.and_then(|from| self.get(from..from.checked_add(out.len())?));
        let past = || SourceError::new(PastEnd { offset, bytes: out.len(), len: Source::len(self) });
        out.copy_from_slice(asked.ok_or_else(past)?);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Source::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError> {
        self.as_slice().read_at(offset, out)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError> {
        (**self).read_at(offset, out)
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl fmt::Debug for dyn Source + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} bytes)", self.len())
    }
}

#[cfg(test)]
pub(crate) mod tests;
