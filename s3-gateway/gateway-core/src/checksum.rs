//! The digests a client may ask for: MD5 always, for the entity tag, and at most one checksum beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;
use std::fmt;

/// A checksum of today's SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    /// CRC-32 as in zip.
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [ChecksumAlgorithm; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Lower-case name, as in `x-amz-checksum-NAME`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The algorithm of a name in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of a value.
    #[must_use]
    pub fn value_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The CRC behind it; `None` for a hash, whose value of a whole cannot be had from its parts'.
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// How the checksum of a multipart upload is made up if the client does not say.
    #[must_use]
    pub fn default_kind(self) -> ChecksumKind {
        match self {
            Self::Crc64Nvme => ChecksumKind::FullObject,
            Self::Crc32 | Self::Crc32c | Self::Sha1 | Self::Sha256 => ChecksumKind::Composite,
        }
    }

    /// Whether a multipart upload may use this kind: only CRCs can be combined, and CRC-64/NVME always is.
    #[must_use]
    pub fn allows(self, kind: ChecksumKind) -> bool {
        match kind {
            ChecksumKind::FullObject => self.crc().is_some(),
            ChecksumKind::Composite => self != Self::Crc64Nvme,
        }
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the checksum of a multipart upload covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumKind {
    /// All bytes of the object.
    FullObject,
    /// The checksums of the parts.
    Composite,
}

impl ChecksumKind {
    /// As in `x-amz-checksum-type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

/// A checksum's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Of which kind.
    pub algorithm: ChecksumAlgorithm,
    /// As many bytes as the algorithm has.
    value: Vec<u8>,
}

impl Checksum {
    /// The value behind a header's text; `None` unless it is Base64 of the right length.
    #[must_use]
    pub fn from_base64(algorithm: ChecksumAlgorithm, text: &str) -> Option<Self> {
        let value = BASE64.decode(text).ok()?;
        (value.len() == algorithm.value_bytes()).then_some(Checksum { algorithm, value })
    }

    /// The text of a header.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.value)
    }

    fn from_crc(algorithm: ChecksumAlgorithm, crc: u64) -> Self {
        Checksum { algorithm, value: crc.to_be_bytes()[8 - algorithm.value_bytes()..].to_vec() }
    }

    fn as_crc(&self) -> u64 {
        self.value.iter().fold(0, |crc, byte| crc << 8 | u64::from(*byte))
    }
}

/// The value of a `Content-MD5` header; `None` unless it is Base64 of 16 bytes.
#[must_use]
pub fn md5_from_base64(text: &str) -> Option<[u8; 16]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// The checksum of a whole object, as it is kept and shown: Base64, with `-N` behind it if it is composite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectChecksum {
    /// Of which kind.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// The text of the header.
    pub text: String,
}

impl From<&Checksum> for ObjectChecksum {
    fn from(checksum: &Checksum) -> Self {
        ObjectChecksum { algorithm: checksum.algorithm, kind: ChecksumKind::FullObject, text: checksum.to_base64() }
    }
}

/// The checksum of an object made of `parts`, each given with its length; `None` if they are not all of `algorithm`, or
/// it does not allow `kind`.
#[must_use]
pub fn combine(algorithm: ChecksumAlgorithm, kind: ChecksumKind, parts: &[(Checksum, u64)]) -> Option<ObjectChecksum> {
    if !algorithm.allows(kind) || parts.is_empty() || parts.iter().any(|(part, _)| part.algorithm != algorithm) {
        return None;
    }
    let text = match (kind, algorithm.crc()) {
        (ChecksumKind::FullObject, Some(crc)) => {
            let whole = parts[1..].iter().fold(parts[0].0.as_crc(), |sum, (part, len)| {
                crc_fast::checksum_combine(crc, sum, part.as_crc(), *len)
            });
            Checksum::from_crc(algorithm, whole).to_base64()
        }
        (ChecksumKind::FullObject, None) => return None,
        (ChecksumKind::Composite, _) => {
            let mut hasher = Hasher::new(algorithm);
            parts.iter().for_each(|(part, _)| hasher.update(&part.value));
            format!("{}-{}", hasher.finish().to_base64(), parts.len())
        }
    };
    Some(ObjectChecksum { algorithm, kind, text })
}

enum Hasher {
    Crc(ChecksumAlgorithm, Box<crc_fast::Digest>),
    Sha1(Sha1),
    Sha256(Box<Sha256>),
}

impl Hasher {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match (algorithm.crc(), algorithm) {
            (Some(crc), _) => Hasher::Crc(algorithm, Box::new(crc_fast::Digest::new(crc))),
            (None, ChecksumAlgorithm::Sha1) => Hasher::Sha1(Sha1::new()),
            (None, _) => Hasher::Sha256(Box::new(Sha256::new())),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Hasher::Crc(_, digest) => digest.update(data),
            Hasher::Sha1(sha) => sha.update(data),
            Hasher::Sha256(sha) => sha.update(data),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Hasher::Crc(algorithm, digest) => Checksum::from_crc(algorithm, digest.finalize()),
            Hasher::Sha1(sha) => Checksum { algorithm: ChecksumAlgorithm::Sha1, value: sha.finalize().to_vec() },
            Hasher::Sha256(sha) => Checksum { algorithm: ChecksumAlgorithm::Sha256, value: sha.finalize().to_vec() },
        }
    }
}

/// The running digests of one upload.
pub struct Digests {
    md5: Md5,
    checksum: Option<Hasher>,
}

impl Digests {
    /// Begins with no bytes.
    #[must_use]
    pub fn new(checksum: Option<ChecksumAlgorithm>) -> Self {
        Digests { md5: Md5::new(), checksum: checksum.map(Hasher::new) }
    }

    /// Adds bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        if let Some(hasher) = &mut self.checksum {
            hasher.update(data);
        }
    }

    /// The values.
    #[must_use]
    pub fn finish(self) -> ([u8; 16], Option<Checksum>) {
        (self.md5.finalize().into(), self.checksum.map(Hasher::finish))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: ChecksumAlgorithm, data: &[u8]) -> Checksum {
        let mut digests = Digests::new(Some(algorithm));
        data.chunks(7).for_each(|piece| digests.update(piece));
        digests.finish().1.expect("asked for")
    }

    #[test]
    fn values_are_those_of_the_published_check_strings() {
        let check = |algorithm, expected: &str| {
            let value = of(algorithm, b"123456789").value;
            assert_eq!(hex::encode(value), expected, "{algorithm}");
        };
        check(ChecksumAlgorithm::Crc32, "cbf43926");
        check(ChecksumAlgorithm::Crc32c, "e3069283");
        check(ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888");
        check(ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        check(ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        let (md5, _) = Digests::new(None).finish();
        assert_eq!(hex::encode(md5), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn a_full_object_crc_of_parts_is_the_crc_of_the_bytes() {
        let data: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let parts: Vec<_> = data.chunks(333).map(|part| (of(algorithm, part), part.len() as u64)).collect();
            let whole = combine(algorithm, ChecksumKind::FullObject, &parts).expect("a CRC can be combined");
            assert_eq!(whole.text, of(algorithm, &data).to_base64(), "{algorithm}");
        }
        let part = (of(ChecksumAlgorithm::Sha1, &data), 1000);
        assert_eq!(combine(ChecksumAlgorithm::Sha1, ChecksumKind::FullObject, &[part]), None);
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_checksums_and_their_number() {
        let parts = [(of(ChecksumAlgorithm::Sha256, b"a"), 1), (of(ChecksumAlgorithm::Sha256, b"b"), 1)];
        let whole = combine(ChecksumAlgorithm::Sha256, ChecksumKind::Composite, &parts).expect("allowed");
        let both: Vec<u8> = parts.iter().flat_map(|(part, _)| part.value.clone()).collect();
        assert_eq!(whole.text, format!("{}-2", of(ChecksumAlgorithm::Sha256, &both).to_base64()));
        let mixed = [(of(ChecksumAlgorithm::Sha256, b"a"), 1), (of(ChecksumAlgorithm::Sha1, b"b"), 1)];
        assert_eq!(combine(ChecksumAlgorithm::Sha256, ChecksumKind::Composite, &mixed), None);
        assert_eq!(combine(ChecksumAlgorithm::Crc64Nvme, ChecksumKind::Composite, &parts), None);
    }

    #[test]
    fn text_that_is_no_checksum_is_refused() {
        assert!(Checksum::from_base64(ChecksumAlgorithm::Crc32, "y/Q5Jg==").is_some());
        for text in ["", "y/Q5Jg", "y/Q5", "!!!!", "y/Q5JgAA"] {
            assert_eq!(Checksum::from_base64(ChecksumAlgorithm::Crc32, text), None, "{text}");
        }
    }
}
