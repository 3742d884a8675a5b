//! Bodies that tell who wrote them, so that lost, invented and mixed bytes are told apart.
//!
//! ```text
//! offset  size  what (little endian)
//!      0     8  magic "SAGOBODY"
//!      8     8  op id
//!     16     8  length of the whole body
//!     24     8  hash of the key
//!     32     -  word i of the stream = mix(op, key, i)
//! ```
//! Every word can be computed from its place, so that a range is checked without the rest.

use std::fmt;

/// One write, unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// The body of one write of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The write.
    pub op: OpId,
    /// Bytes in all; at least [`Body::LEN_MIN`].
    pub len: u64,
    key: u64,
}

/// Bytes that no write of this key has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Shorter than a header, or no header at all.
    NoHeader,
    /// The header is of another key.
    OtherKey,
    /// The header tells another length than what came.
    Length {
        /// What the header tells.
        told: u64,
        /// What came.
        came: u64,
    },
    /// Where the first word begins that is not what the header's write has written.
    Byte(u64),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => write!(out, "no header"),
            Self::OtherKey => write!(out, "written under another key"),
            Self::Length { told, came } => write!(out, "{came} bytes of a body of {told}"),
            Self::Byte(at) => write!(out, "wrong bytes from {at}"),
        }
    }
}

const MAGIC: [u8; 8] = *b"SAGOBODY";
const WORD: u64 = 8;

impl Body {
    /// The header.
    pub const LEN_MIN: u64 = 32;

    /// The body of `op` under `key`.
    ///
    /// # Panics
    /// If `len` is less than [`Body::LEN_MIN`].
    #[must_use]
    pub fn new(op: OpId, key: &str, len: u64) -> Self {
        assert!(len >= Self::LEN_MIN, "a body has a header");
        Self { op, len, key: hash(key) }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out: Vec<u8> = (0..self.len.div_ceil(WORD)).flat_map(|at| self.word(at)).collect();
        out.truncate(self.len as usize);
        out
    }

    /// Reads a whole body that was found under `key`.
    ///
    /// # Errors
    /// [`BodyFault`]: no single write of that key has made these bytes.
    pub fn parse(key: &str, bytes: &[u8]) -> Result<Self, BodyFault> {
        let field = |at: usize| -> Option<u64> { Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
        let (Some(magic), Some(op), Some(len), Some(hashed)) = (field(0), field(8), field(16), field(24)) else {
            return Err(BodyFault::NoHeader);
        };
        if magic.to_le_bytes() != MAGIC {
            return Err(BodyFault::NoHeader);
        }
        if hashed != hash(key) {
            return Err(BodyFault::OtherKey);
        }
        if len != bytes.len() as u64 {
            return Err(BodyFault::Length { told: len, came: bytes.len() as u64 });
        }
        let body = Self { op: OpId(op), len, key: hashed };
        body.check_range(0, bytes)?;
        Ok(body)
    }

    /// Compares bytes that were read from `start` on.
    ///
    /// # Errors
    /// [`BodyFault::Byte`] or [`BodyFault::Length`] (more came than there is).
    pub fn check_range(&self, start: u64, bytes: &[u8]) -> Result<(), BodyFault> {
        let end = start + bytes.len() as u64;
        if end > self.len {
            return Err(BodyFault::Length { told: self.len, came: end });
        }
        let mut at = start;
        while at < end {
            let word = self.word(at / WORD);
            let within = (at % WORD) as usize;
            let n = (WORD - at % WORD).min(end - at) as usize;
            let offset = (at - start) as usize;
            if bytes[offset..offset + n] != word[within..within + n] {
                return Err(BodyFault::Byte(at));
            }
            at += n as u64;
        }
        Ok(())
    }

    fn word(&self, at: u64) -> [u8; 8] {
        match at {
            0 => MAGIC,
            1 => self.op.0.to_le_bytes(),
            2 => self.len.to_le_bytes(),
            3 => self.key.to_le_bytes(),
            _ => mix(self.op.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.key ^ at).to_le_bytes(),
        }
    }
}

/// FNV-1a.
fn hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of splitmix64: every input bit changes half of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_who_wrote_it() {
        for len in [32, 33, 39, 40, 1000, 65_536] {
            let body = Body::new(OpId(7), "a/b", len);
            let bytes = body.bytes();
            assert_eq!(bytes.len() as u64, len);
            assert_eq!(Body::parse("a/b", &bytes), Ok(body));
        }
    }

    #[test]
    fn other_keys_cuts_and_mixtures_are_found() {
        let one = Body::new(OpId(1), "a", 1000).bytes();
        let two = Body::new(OpId(2), "a", 1000).bytes();
        assert_eq!(Body::parse("b", &one), Err(BodyFault::OtherKey));
        assert_eq!(Body::parse("a", &one[..999]), Err(BodyFault::Length { told: 1000, came: 999 }));
        assert_eq!(Body::parse("a", &one[..10]), Err(BodyFault::NoHeader));
        let mixed = [&one[..512], &two[512..]].concat();
        assert_eq!(Body::parse("a", &mixed), Err(BodyFault::Byte(512)));
        let mut zeros = one.clone();
        zeros[700..764].fill(0);
        assert_eq!(Body::parse("a", &zeros), Err(BodyFault::Byte(696)));
    }

    #[test]
    fn a_range_is_checked_without_the_rest() {
        let body = Body::new(OpId(9), "k", 5000);
        let bytes = body.bytes();
        for (start, end) in [(0, 1), (3, 3), (5, 41), (4097, 5000)] {
            assert_eq!(body.check_range(start as u64, &bytes[start..end]), Ok(()));
        }
        assert!(body.check_range(1, &bytes[..100]).is_err());
        assert!(body.check_range(4999, &bytes[..2]).is_err());
    }
}
