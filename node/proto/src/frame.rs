//! The frame: a fixed header, the postcard-coded envelope, the raw body.
//!
//! ```text
//! offset  size  what
//!      0     4  magic "SAGO"
//!      4     2  protocol version, little endian
//!      6     2  reserved, zero
//!      8     4  envelope length, little endian, <= ENVELOPE_BYTES_MAX
//!     12     4  body length, little endian, <= BODY_BYTES_MAX
//!     16     -  envelope, then body
//! ```
//! QUIC authenticates every byte, so the frame carries no checksum of its own.

use serde::{Serialize, de::DeserializeOwned};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"SAGO";
/// The version spoken here. History: 1 = first light.
pub const VERSION: u16 = 1;
/// Size of the fixed header.
pub const HEADER_BYTES: usize = 16;
/// Largest envelope: a command of `COMMAND_BYTES_MAX` and its wrapping, or a page of a listing.
pub const ENVELOPE_BYTES_MAX: usize = 2 << 20;
/// Largest body: a chunk.
pub const BODY_BYTES_MAX: usize = types::CHUNK_BYTES_MAX;

/// The decoded fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the envelope.
    pub envelope: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// Bytes that are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not our protocol.
    #[error("bad magic")]
    Magic,
    /// A version that is not spoken here.
    #[error("protocol version {0} is not spoken here")]
    Version(u16),
    /// A length over its limit.
    #[error("length {0} is over the limit")]
    Length(usize),
    /// The envelope is not what it should be.
    #[error("malformed envelope")]
    Envelope,
}

impl Header {
    /// Encodes the header.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[8..12].copy_from_slice(&(self.envelope as u32).to_le_bytes());
        out[12..].copy_from_slice(&(self.body as u32).to_le_bytes());
        out
    }

    /// Decodes a header and checks its lengths, before anything of that length is allocated.
    ///
    /// # Errors
    /// [`DecodeError`]; the connection it came from should be closed.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, DecodeError> {
        if bytes[..4] != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let length = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let header = Header { envelope: length(8), body: length(12) };
        if header.envelope > ENVELOPE_BYTES_MAX {
            return Err(DecodeError::Length(header.envelope));
        }
        if header.body > BODY_BYTES_MAX {
            return Err(DecodeError::Length(header.body));
        }
        Ok(header)
    }
}

/// Encodes a value with postcard.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("serialising plain data into memory cannot fail")
}

/// Decodes a value; trailing bytes are refused. Allocation is bounded by the length of `bytes`.
///
/// # Errors
/// [`DecodeError::Envelope`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(DecodeError::Envelope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips_and_bounds_lengths() {
        let header = Header { envelope: 77, body: BODY_BYTES_MAX };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        let hostile = Header { envelope: 77, body: u32::MAX as usize }.encode();
        assert_eq!(Header::decode(&hostile), Err(DecodeError::Length(u32::MAX as usize)));
        let mut other = header.encode();
        other[4] = 9;
        assert_eq!(Header::decode(&other), Err(DecodeError::Version(9)));
        other[0] = 0;
        assert_eq!(Header::decode(&other), Err(DecodeError::Magic));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u32);
        assert_eq!(decode::<u32>(&bytes), Ok(7));
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), Err(DecodeError::Envelope));
    }

    #[test]
    fn a_hostile_length_inside_an_envelope_allocates_nothing() {
        // A byte string that claims to be almost 2^64 bytes long.
        let hostile = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(decode::<Vec<u8>>(&hostile), Err(DecodeError::Envelope));
        assert_eq!(decode::<Vec<u64>>(&hostile), Err(DecodeError::Envelope));
    }
}
