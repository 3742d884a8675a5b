//! Content that is encrypted at rest: what a gateway stores in a marked bucket, and how it reads it.
//!
//! ```text
//! attribute   trusted.sago.envelope: data key (wrapped), object id, runs of parts, proof of them
//! content     part | part | ...                       in the order of their numbers; a PUT is one part, number 0
//! part        segment | segment | ... | last segment  64 KiB of plain text each, the last one 1 byte to 64 KiB; an empty part has none
//! segment     nonce (12) | ciphertext | tag (16)      AES-256-GCM
//! ```
//! Each object has a data key of its own, which its [`crate::KeyService`] wraps for this bucket and object id. What a segment is sealed with besides says
//! where it belongs (bucket, object id, part, place in the part, whether it is the part's last), and the proof covers the runs: a segment that was changed,
//! moved, left out or taken from elsewhere is refused, and so is an object that lacks a part. The name is not covered, so that a deleted object can be given
//! another one when it comes back.
//!
//! The exact bytes are in docs/formats/sealed-objects.md. `cipher` seals and opens segments, `layout` knows sizes and places, `envelope` is the attribute,
//! `open` the stream of a download, `sealing` what a [`crate::Store`] has to do with it, `walk` finds all that is sealed, `rewrap` changes key-encryption keys.

mod cipher;
mod envelope;
mod layout;
mod open;
mod rewrap;
mod sealing;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use cipher::{PartSealer, SEALED_CHUNK_PLAIN_BYTES};
pub(crate) use envelope::{Envelope, is_envelope};
pub(crate) use layout::{Layout, SEGMENT_BYTES, plain_bytes, sealed_bytes};
pub(crate) use open::open;
pub use rewrap::Rewrapped;

use crate::keyring::KeyError;

/// The part that an object put in one piece consists of.
pub(crate) const WHOLE: u16 = 0;

/// Runs of parts of equal size in an envelope. Uploads have two, or as many parts as they like of sizes as they like up to this number.
pub const RUNS_MAX: usize = 1024;

/// Sealed content was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// This process has no key-encryption keys.
    #[error(
        "the bucket is encrypted, and there is no key-encryption key here: name the key file or key service in `[gateway.lcp]` of the configuration"
    )]
    NoKeys,
    /// The key service does not answer.
    #[error("the key service cannot be reached")]
    KeysUnavailable,
    /// The object's data key is wrapped under a key-encryption key that is not here.
    #[error("there is no key-encryption key {kek} here")]
    NoSuchKek {
        /// Its name.
        kek: String,
    },
    /// The key service refuses.
    #[error("the key service refuses: {0}")]
    KeysRefuse(String),
    /// It lies in a protected bucket as it was written, or in another one as if that were protected.
    #[error("the object is not encrypted as its bucket demands")]
    Unsealed,
    /// It is not what was stored, or the attribute that tells of it is not.
    #[error("the encrypted object is damaged")]
    Damaged,
    /// Its parts are of too many sizes.
    #[error("the parts of an encrypted object may have {RUNS_MAX} changes of size at most: upload parts of equal size")]
    TooManyRuns,
    /// The bucket was protected while the request was carried out.
    #[error("the bucket has just been protected")]
    Overtaken,
    /// The operating system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

impl From<KeyError> for SealError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unavailable(source) => {
                tracing::warn!(error = %source, "the key service cannot be reached");
                SealError::KeysUnavailable
            }
            KeyError::NoSuchKek { kek } => SealError::NoSuchKek { kek },
            KeyError::Damaged => SealError::Damaged,
            KeyError::Refused(why) => SealError::KeysRefuse(why),
        }
    }
}
