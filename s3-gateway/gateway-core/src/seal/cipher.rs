//! Segments: sealed and opened with an object's data key.

use super::SealError;
use super::layout::{Layout, SEGMENT_BYTES, SegmentPlace};
use crate::keyring::{KEY_BYTES, SecretKey};
use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::sync::Arc;
use types::{BucketId, CHUNK_BYTES_MAX};

/// Bytes of a nonce. They are random: at 2^27 segments, which is the largest object, the chance that two of one key meet is 2^-42.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;
/// What sealing adds to a segment.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// Bytes of the proof of a layout: a sealed nothing.
pub(crate) const PROOF_BYTES: usize = OVERHEAD_BYTES;
/// Bytes of an object id.
pub(crate) const OBJECT_ID_BYTES: usize = 16;
/// Plain bytes of a chunk that is sealed: as many whole segments as fit.
pub(crate) const SEALED_CHUNK_PLAIN_BYTES: usize =
    CHUNK_BYTES_MAX / (SEGMENT_BYTES as usize + OVERHEAD_BYTES) * SEGMENT_BYTES as usize;

const SEGMENT_DOMAIN: &[u8; 15] = b"sago segment 1\0";
const LAYOUT_DOMAIN: &[u8; 15] = b"sago layout  1\0";
const OBJECT_DOMAIN: &[u8; 15] = b"sago object  1\0";

const _: () = assert!(NONCE_BYTES == NONCE_LEN);

/// Tells an object from every other, also from one of the same name later on.
pub(crate) type ObjectId = [u8; OBJECT_ID_BYTES];

/// Where nonces come from.
pub(super) type Nonces<'a> = &'a mut dyn FnMut(&mut [u8; NONCE_BYTES]) -> Result<(), SealError>;

/// Fills a buffer with random bytes of the operating system.
pub(super) fn random<const N: usize>(bytes: &mut [u8; N]) -> Result<(), SealError> {
    SystemRandom::new().fill(bytes).map_err(|_| SealError::Random)
}

/// A new data key.
pub(super) fn new_key() -> Result<SecretKey, SealError> {
    let mut bytes = zeroize::Zeroizing::new([0; KEY_BYTES]);
    random::<KEY_BYTES>(&mut bytes)?;
    Ok(SecretKey::new(*bytes))
}

/// What a data key is wrapped for.
pub(super) fn key_context(bucket: BucketId, object: &ObjectId) -> Vec<u8> {
    [&OBJECT_DOMAIN[..], &bucket.0.to_be_bytes(), object].concat()
}

/// Seals and opens what belongs to one object.
pub(crate) struct Sealer {
    key: LessSafeKey,
    bucket: BucketId,
    object: ObjectId,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.bucket)
    }
}

impl Sealer {
    pub(super) fn new(key: &SecretKey, bucket: BucketId, object: ObjectId) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| SealError::Damaged)?;
        Ok(Sealer { key: LessSafeKey::new(key), bucket, object })
    }

    /// Seals plain text of a part from segment `first` on. It consists of whole segments, unless it reaches to the part's end.
    pub(super) fn seal(
        &self,
        (part, first, to_end): (u16, u32, bool),
        plain: &[u8],
        nonces: Nonces<'_>,
    ) -> Result<Vec<u8>, SealError> {
        let segments = plain.len().div_ceil(SEGMENT_BYTES as usize);
        let mut sealed = Vec::with_capacity(plain.len() + segments * OVERHEAD_BYTES);
        for (at, segment) in plain.chunks(SEGMENT_BYTES as usize).enumerate() {
            let last = to_end && at + 1 == segments;
            let place = SegmentPlace { part, index: first + at as u32, last, bytes: segment.len() };
            let mut nonce = [0; NONCE_BYTES];
            nonces(&mut nonce)?;
            sealed.extend_from_slice(&nonce);
            let start = sealed.len();
            sealed.extend_from_slice(segment);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let aad = Aad::from(self.segment_aad(&place));
            let tag = self.key.seal_in_place_separate_tag(nonce, aad, &mut sealed[start..]);
            sealed.extend_from_slice(tag.map_err(|_| SealError::Damaged)?.as_ref());
        }
        Ok(sealed)
    }

    /// Opens a segment in its place; the plain text begins at [`NONCE_BYTES`] and is `place.bytes` long.
    pub(super) fn open(&self, place: &SegmentPlace, segment: &mut [u8]) -> Result<(), SealError> {
        let (nonce, sealed) = segment.split_first_chunk_mut::<NONCE_BYTES>().ok_or(SealError::Damaged)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(self.segment_aad(place)), sealed);
        match plain {
            Ok(plain) if plain.len() == place.bytes => Ok(()),
            Ok(_) | Err(_) => Err(SealError::Damaged),
        }
    }

    /// Says that the object consists of these parts.
    pub(super) fn prove(&self, layout: &Layout, nonces: Nonces<'_>) -> Result<[u8; PROOF_BYTES], SealError> {
        let mut nonce = [0; NONCE_BYTES];
        nonces(&mut nonce)?;
        let aad = Aad::from(self.layout_aad(layout));
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut []);
        let tag = tag.map_err(|_| SealError::Damaged)?;
        let mut proof = [0; PROOF_BYTES];
        proof[..NONCE_BYTES].copy_from_slice(&nonce);
        proof[NONCE_BYTES..].copy_from_slice(tag.as_ref());
        Ok(proof)
    }

    /// Whether that was said of them.
    pub(super) fn check(&self, layout: &Layout, proof: &[u8; PROOF_BYTES]) -> Result<(), SealError> {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&proof[NONCE_BYTES..]);
        let nonce = Nonce::try_assume_unique_for_key(&proof[..NONCE_BYTES]).map_err(|_| SealError::Damaged)?;
        let opened = self.key.open_in_place(nonce, Aad::from(self.layout_aad(layout)), &mut tag);
        opened.map(|_| ()).map_err(|_| SealError::Damaged)
    }

    fn segment_aad(&self, place: &SegmentPlace) -> Vec<u8> {
        let last = [u8::from(place.last)];
        let (part, index) = (place.part.to_be_bytes(), place.index.to_be_bytes());
        [&SEGMENT_DOMAIN[..], &self.bucket.0.to_be_bytes(), &self.object, &part, &index, &last].concat()
    }

    fn layout_aad(&self, layout: &Layout) -> Vec<u8> {
        let mut aad = [&LAYOUT_DOMAIN[..], &self.bucket.0.to_be_bytes(), &self.object].concat();
        for run in layout.runs() {
            aad.extend_from_slice(&run.first.to_be_bytes());
            aad.extend_from_slice(&run.count.to_be_bytes());
            aad.extend_from_slice(&run.bytes.to_be_bytes());
        }
        aad
    }
}

/// Seals one part on its way in.
#[derive(Clone, Debug)]
pub(crate) struct PartSealer {
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) part: u16,
}

impl PartSealer {
    /// Seals plain text that begins at `offset`, a multiple of the segment size, and reaches to the part's end or to another one.
    pub(crate) fn seal(&self, offset: u64, plain: &[u8], to_end: bool) -> Result<Bytes, SealError> {
        let first = u32::try_from(offset / SEGMENT_BYTES).map_err(|_| SealError::Damaged)?;
        Ok(self.sealer.seal((self.part, first, to_end), plain, &mut random)?.into())
    }
}
