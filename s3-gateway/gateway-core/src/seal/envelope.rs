//! The attribute that tells of a sealed object.

use super::SealError;
use super::cipher::{OBJECT_ID_BYTES, ObjectId, PROOF_BYTES, Sealer, random};
use super::layout::Layout;
use crate::keyring::{KEK_NAME_BYTES_MAX, WRAPPED_BYTES_MAX, WrappedKey};
use bytes::Bytes;
use proto::object::Xattr;
use serde::{Deserialize, Serialize};

/// Its name. Neither S3 metadata nor an ordinary user of a mount can set it.
pub(super) const ENVELOPE: &[u8] = b"trusted.sago.envelope";

/// History: 1 = the first.
const VERSION: u8 = 1;

/// What belongs to a sealed object beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The data key.
    pub(crate) key: WrappedKey,
    /// Whose.
    pub(crate) object: [u8; OBJECT_ID_BYTES],
    /// The parts.
    pub(crate) layout: Layout,
    /// That these are the parts.
    pub(crate) proof: [u8; PROOF_BYTES],
}

/// Whether an attribute is an envelope, whatever is in it.
pub(crate) fn is_envelope((name, _): &Xattr) -> bool {
    name == ENVELOPE
}

impl Envelope {
    pub(super) fn new(key: WrappedKey, object: ObjectId, layout: Layout, sealer: &Sealer) -> Result<Self, SealError> {
        let proof = sealer.prove(&layout, &mut random)?;
        Ok(Envelope { key, object, layout, proof })
    }

    pub(super) fn to_bytes(&self) -> Result<Bytes, SealError> {
        postcard::to_extend(self, vec![VERSION]).map(Bytes::from).map_err(|_| SealError::Damaged)
    }

    /// As an attribute.
    pub(crate) fn to_xattr(&self) -> Result<Xattr, SealError> {
        Ok((Bytes::from_static(ENVELOPE), self.to_bytes()?))
    }

    pub(super) fn from_bytes(value: &[u8]) -> Result<Self, SealError> {
        let Some((&VERSION, rest)) = value.split_first() else { return Err(SealError::Damaged) };
        let envelope: Envelope = match postcard::take_from_bytes(rest) {
            Ok((envelope, [])) => envelope,
            Ok(_) | Err(_) => return Err(SealError::Damaged),
        };
        let WrappedKey { kek, sealed } = &envelope.key;
        let fits = kek.len() <= KEK_NAME_BYTES_MAX && sealed.len() <= WRAPPED_BYTES_MAX;
        if fits && envelope.layout.is_sound() { Ok(envelope) } else { Err(SealError::Damaged) }
    }

    /// The one among an object's attributes, if there is one.
    pub(crate) fn find(xattrs: &[Xattr]) -> Option<Result<Self, SealError>> {
        xattrs.iter().find(|xattr| is_envelope(xattr)).map(|(_, value)| Envelope::from_bytes(value))
    }
}
