use super::*;
use std::cell::Cell;
use std::collections::BTreeMap;

/// Zeros, but for some pieces.
#[derive(Default)]
pub(crate) struct Sparse {
    pub(crate) len: u64,
    pub(crate) pieces: BTreeMap<u64, Vec<u8>>,
}

impl Source for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError> {
        let end = offset + out.len() as u64;
        if end > self.len {
            return Err(SourceError::new(PastEnd { offset, bytes: out.len(), len: self.len }));
        }
        out.fill(0);
        for (begins, piece) in &self.pieces {
            let (from, to) = (offset.max(*begins), end.min(begins + piece.len() as u64));
            if from < to {
                let piece = &piece[(from - begins) as usize..(to - begins) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(piece);
            }
        }
        Ok(())
    }
}

/// Remembers the longest read.
pub(crate) struct Watched<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) longest: Cell<usize>,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Watched { bytes, longest: Cell::new(0) }
    }
}

impl Source for Watched<'_> {
    fn len(&self) -> u64 {
        Source::len(self.bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError> {
        self.longest.set(self.longest.get().max(out.len()));
        self.bytes.read_at(offset, out)
    }
}

/// Takes so many bytes, then fails.
pub(crate) struct Full(pub(crate) usize);

impl Sink for Full {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| SinkError::new("no space"))?;
        Ok(())
    }
}

#[test]
fn nothing_is_read_past_the_end() {
    let bytes = b"0123456789".to_vec();
    let mut out = [0; 4];
    bytes.read_at(6, &mut out).expect("the last four");
    assert_eq!(&out, b"6789");
    for offset in [7, 10, 11, u64::MAX] {
        assert!(bytes.read_at(offset, &mut out).is_err(), "{offset}");
    }
    bytes.read_at(10, &mut []).expect("nothing at the end");
}

#[test]
fn sparse_bytes_are_zeros_between_their_pieces() {
    let sparse = Sparse { len: 1 << 40, pieces: BTreeMap::from([(1 << 33, b"abcd".to_vec())]) };
    let mut out = [9; 4];
    sparse.read_at((1 << 33) - 2, &mut out).expect("within");
    assert_eq!(&out, b"\0\0ab");
    sparse.read_at((1 << 33) + 2, &mut out).expect("within");
    assert_eq!(&out, b"cd\0\0");
}
