//! Requests for a licence that may be made twice.

use super::issue::NewLicence;
use crate::lcp::LcpError;
use crate::lcp::records::Record;
use bytes::Bytes;
use drm::ContentKey;
use drm::licence::LicenceId;
use proto::record::{IndexEntry, RecordSpace};
use ring::hmac::{self, HMAC_SHA256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The space of nonces.
pub const NONCES: RecordSpace = RecordSpace(9);
/// What the tag is made for; the key is that of a cipher as well.
const TAG_OF: &[u8] = b"sago lcp licence request\0";

/// What a store called a request, and the licence that it got.
///
/// The tag tells the same request from another one of that name. It is made with the title's content key, which is nowhere in the clear: a plain hash of what a
/// store says of its reader, his passphrase among it, could be guessed by whoever has the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// Chosen by the store.
    pub nonce: [u8; 16],
    /// The licence.
    pub licence: LicenceId,
    /// HMAC-SHA-256 of what was asked for.
    pub tag: [u8; 32],
}

impl Nonce {
    /// Of that request, whose title has that content key.
    pub(super) fn new(
        nonce: [u8; 16],
        licence: LicenceId,
        key: &ContentKey,
        request: &NewLicence,
    ) -> Result<Self, LcpError> {
        let signed = hmac::sign(&hmac::Key::new(HMAC_SHA256, key.expose()), &text(request)?);
        let mut tag = [0; 32];
        tag.copy_from_slice(signed.as_ref());
        Ok(Nonce { nonce, licence, tag })
    }

    /// Whether it is of that request.
    pub(super) fn is_of(&self, key: &ContentKey, request: &NewLicence) -> Result<bool, LcpError> {
        let key = hmac::Key::new(HMAC_SHA256, key.expose());
        Ok(hmac::verify(&key, &text(request)?, &self.tag).is_ok())
    }

    /// The key of its record.
    pub(super) fn key_of(nonce: [u8; 16]) -> Bytes {
        Bytes::copy_from_slice(&nonce)
    }
}

/// All that a request says. It is wiped: the hash of the passphrase is in it.
fn text(request: &NewLicence) -> Result<Zeroizing<Vec<u8>>, LcpError> {
    let reader = &request.reader;
    let whom = (&reader.id, &reader.email, &reader.name, &reader.extensions, &reader.encrypted);
    let what = (&request.title, &request.hint, &request.rights, &request.links, &request.provider);
    let mut text = Zeroizing::new(TAG_OF.to_vec());
    // Room for all of it at once, or what is outgrown would be left behind.
    text.reserve(256 << 10);
    text.extend_from_slice(request.passphrase.expose());
    let said = postcard::to_stdvec(&(whom, what)).map_err(|error| LcpError::Damaged(error.to_string()))?;
    text.extend_from_slice(&said);
    Ok(text)
}

impl Record for Nonce {
    const SPACE: RecordSpace = NONCES;
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        Nonce::key_of(self.nonce)
    }

    fn entries(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}
