//! One range of bytes, as a client asks for it.

use std::ops::Range;
use types::FILE_BYTES_MAX;

/// A range as in the `Range` header; positions count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From `first` up to and including `last`, which may lie behind the end.
    FromTo {
        /// First byte.
        first: u64,
        /// Last byte, not less than `first`.
        last: u64,
    },
    /// From here to the end.
    From(u64),
    /// The last so many bytes.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes of a content of `size` bytes; `None` if there are none of them.
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            ByteRange::FromTo { first, last } => first..last.saturating_add(1).min(size),
            ByteRange::From(first) => first..size,
            ByteRange::Suffix(len) => size.saturating_sub(len)..size,
        };
        (range.start < range.end).then_some(range)
    }

    /// Offset and length to ask the metadata for before the size is known.
    pub(crate) fn guess(self) -> (u64, u64) {
        match self {
            ByteRange::FromTo { first, last } => {
                (first.min(FILE_BYTES_MAX), last.saturating_sub(first).saturating_add(1))
            }
            ByteRange::From(first) => (first.min(FILE_BYTES_MAX), FILE_BYTES_MAX),
            ByteRange::Suffix(_) => (0, FILE_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end_and_refused_behind_it() {
        assert_eq!(ByteRange::FromTo { first: 2, last: 4 }.resolve(10), Some(2..5));
        assert_eq!(ByteRange::FromTo { first: 2, last: u64::MAX }.resolve(10), Some(2..10));
        assert_eq!(ByteRange::FromTo { first: 10, last: 12 }.resolve(10), None);
        assert_eq!(ByteRange::From(9).resolve(10), Some(9..10));
        assert_eq!(ByteRange::From(10).resolve(10), None);
        assert_eq!(ByteRange::Suffix(3).resolve(10), Some(7..10));
        assert_eq!(ByteRange::Suffix(30).resolve(10), Some(0..10));
        assert_eq!(ByteRange::Suffix(0).resolve(10), None);
        assert_eq!(ByteRange::Suffix(5).resolve(0), None);
    }
}
