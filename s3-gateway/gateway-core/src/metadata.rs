//! An object's metadata as S3 knows it, and as extended attributes, which is how a mount sees it.
//!
//! ```text
//! x-amz-meta-NAME       user.NAME
//! content-type, ...     trusted.s3.content-type, ...
//! checksum and kind     trusted.s3.checksum-crc32c, trusted.s3.checksum-type
//! ```

use crate::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use crate::error::ObjectError;
use bytes::Bytes;
use proto::object::Xattr;

/// Names and values of user metadata together, as S3 has it.
pub const USER_METADATA_BYTES_MAX: usize = 2048;

/// Bytes of one system header; S3 bounds all headers together by 8 KiB.
const SYSTEM_VALUE_BYTES_MAX: usize = 4096;

const USER: &str = "user.";
const SYSTEM: &str = "trusted.s3.";
const CHECKSUM: &str = "trusted.s3.checksum-";
const CHECKSUM_TYPE: &str = "trusted.s3.checksum-type";
const CHECKSUM_ALGORITHM: &str = "trusted.s3.checksum-algorithm";

/// A header that is kept with an object and comes back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemHeader {
    /// `Content-Type`.
    ContentType,
    /// `Cache-Control`.
    CacheControl,
    /// `Content-Disposition`.
    ContentDisposition,
    /// `Content-Encoding`.
    ContentEncoding,
    /// `Content-Language`.
    ContentLanguage,
    /// `Expires`, as the client wrote it.
    Expires,
    /// `x-amz-storage-class`.
    StorageClass,
}

impl SystemHeader {
    /// All of them.
    pub const ALL: [SystemHeader; 7] = [
        Self::ContentType,
        Self::CacheControl,
        Self::ContentDisposition,
        Self::ContentEncoding,
        Self::ContentLanguage,
        Self::Expires,
        Self::StorageClass,
    ];

    /// Its name behind `trusted.s3.`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::CacheControl => "cache-control",
            Self::ContentDisposition => "content-disposition",
            Self::ContentEncoding => "content-encoding",
            Self::ContentLanguage => "content-language",
            Self::Expires => "expires",
            Self::StorageClass => "storage-class",
        }
    }
}

/// What belongs to an object beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Metadata {
    /// System headers, each at most once.
    pub system: Vec<(SystemHeader, String)>,
    /// User metadata: lower-case names without the `x-amz-meta-`.
    pub user: Vec<(String, String)>,
    /// The checksum of the content, if one is kept.
    pub checksum: Option<ObjectChecksum>,
    /// User metadata that a mount has set and no header can carry.
    pub hidden: usize,
}

impl Metadata {
    /// The value of a system header.
    #[must_use]
    pub fn system(&self, header: SystemHeader) -> Option<&str> {
        self.system.iter().find(|(name, _)| *name == header).map(|(_, value)| value.as_str())
    }

    /// Reads an object's extended attributes; what is not S3's is left out.
    #[must_use]
    pub fn from_xattrs(xattrs: &[Xattr]) -> Self {
        let mut metadata = Metadata::default();
        let mut kind = ChecksumKind::FullObject;
        let mut checksum = None;
        for (name, value) in xattrs {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let text = std::str::from_utf8(value).ok().filter(|text| is_header_text(text));
            if let Some(user) = name.strip_prefix(USER) {
                match text {
                    Some(text) if is_token(user) => metadata.user.push((user.to_ascii_lowercase(), text.to_owned())),
                    _ => metadata.hidden += 1,
                }
            } else if name == CHECKSUM_TYPE {
                kind = text.and_then(ChecksumKind::from_name).unwrap_or(kind);
            } else if let Some(algorithm) = name.strip_prefix(CHECKSUM).and_then(ChecksumAlgorithm::from_name) {
                checksum = text.map(|text| (algorithm, text.to_owned()));
            } else if let (Some(name), Some(text)) = (name.strip_prefix(SYSTEM), text) {
                let header = SystemHeader::ALL.into_iter().find(|header| header.name() == name);
                metadata.system.extend(header.map(|header| (header, text.to_owned())));
            }
        }
        metadata.checksum = checksum.map(|(algorithm, text)| ObjectChecksum { algorithm, kind, text });
        metadata
    }

    /// As extended attributes, without the checksum, which is known only once the content is.
    ///
    /// # Errors
    /// [`ObjectError::MetadataTooLarge`], or [`ObjectError::InvalidMetadata`] for what no header can carry back.
    pub fn to_xattrs(&self) -> Result<Vec<Xattr>, ObjectError> {
        let bytes: usize = self.user.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > USER_METADATA_BYTES_MAX || self.system.iter().any(|(_, value)| value.len() > SYSTEM_VALUE_BYTES_MAX)
        {
            return Err(ObjectError::MetadataTooLarge);
        }
        let user = self.user.iter().map(|(name, value)| (format!("{USER}{name}"), value, is_token(name)));
        let system = self.system.iter().map(|(name, value)| (format!("{SYSTEM}{}", name.name()), value, true));
        user.chain(system)
            .map(|(name, value, valid)| {
                let valid = valid && is_header_text(value);
                valid.then(|| xattr(name, value)).ok_or(ObjectError::InvalidMetadata)
            })
            .collect()
    }
}

/// The extended attributes that keep a checksum.
pub(crate) fn checksum_xattrs(checksum: &ObjectChecksum) -> Vec<Xattr> {
    vec![
        xattr(format!("{CHECKSUM}{}", checksum.algorithm.name()), &checksum.text),
        xattr(CHECKSUM_TYPE.to_owned(), checksum.kind.name()),
    ]
}

/// The extended attributes that keep what an upload was begun with.
pub(crate) fn agreement_xattrs(algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> Vec<Xattr> {
    vec![xattr(CHECKSUM_ALGORITHM.to_owned(), algorithm.name()), xattr(CHECKSUM_TYPE.to_owned(), kind.name())]
}

/// What an upload was begun with.
pub(crate) fn agreement(xattrs: &[Xattr]) -> Option<(ChecksumAlgorithm, ChecksumKind)> {
    let value = |name: &str| {
        let (_, value) = xattrs.iter().find(|(key, _)| key == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    };
    let algorithm = ChecksumAlgorithm::from_name(value(CHECKSUM_ALGORITHM)?)?;
    let kind = value(CHECKSUM_TYPE).and_then(ChecksumKind::from_name).unwrap_or(algorithm.default_kind());
    Some((algorithm, kind))
}

fn xattr(name: String, value: &str) -> Xattr {
    (Bytes::from(name), Bytes::copy_from_slice(value.as_bytes()))
}

/// The characters of a header's name (RFC 9110 `token`).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Nothing that could end a header line or hide in one.
fn is_header_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        Metadata {
            system: vec![(SystemHeader::ContentType, "image/png".into()), (SystemHeader::Expires, "0".into())],
            user: vec![("title".into(), "史庫".into()), ("a.b".into(), String::new())],
            checksum: None,
            hidden: 0,
        }
    }

    #[test]
    fn metadata_survives_as_attributes() {
        let metadata = sample();
        let mut xattrs = metadata.to_xattrs().expect("valid");
        assert_eq!(xattrs[0].0, "user.title");
        let mut back = Metadata::from_xattrs(&xattrs);
        assert_eq!(back, metadata);
        let text = "y/Q5Jg==-3".to_owned();
        let checksum = ObjectChecksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::Composite, text };
        xattrs.extend(checksum_xattrs(&checksum));
        back.checksum = Some(checksum);
        assert_eq!(Metadata::from_xattrs(&xattrs), back);
    }

    #[test]
    fn what_no_header_can_carry_is_refused_going_in_and_counted_coming_out() {
        for (name, value) in [("a b", "x"), ("a", "x\r\nset-cookie: y"), ("", "x"), ("a", "\0")] {
            let bad = Metadata { user: vec![(name.into(), value.into())], ..Metadata::default() };
            assert_eq!(bad.to_xattrs(), Err(ObjectError::InvalidMetadata), "{name:?} {value:?}");
        }
        let set_by_a_mount = [
            (Bytes::from_static(b"user.DOSATTRIB"), Bytes::from_static(b"\xff\0")),
            (Bytes::from_static(b"user.x y"), Bytes::from_static(b"1")),
            (Bytes::from_static(b"security.selinux"), Bytes::from_static(b"1")),
        ];
        let metadata = Metadata::from_xattrs(&set_by_a_mount);
        assert_eq!((metadata.user.len(), metadata.hidden), (0, 2));
    }

    #[test]
    fn two_kibibytes_of_user_metadata_and_no_more() {
        let of = |len: usize| Metadata { user: vec![("n".into(), "v".repeat(len))], ..Metadata::default() };
        assert!(of(USER_METADATA_BYTES_MAX - 1).to_xattrs().is_ok());
        assert_eq!(of(USER_METADATA_BYTES_MAX).to_xattrs(), Err(ObjectError::MetadataTooLarge));
    }

    #[test]
    fn an_upload_remembers_its_agreement() {
        let xattrs = agreement_xattrs(ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject);
        assert_eq!(agreement(&xattrs), Some((ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject)));
        assert_eq!(agreement(&[]), None);
        assert_eq!(Metadata::from_xattrs(&xattrs).checksum, None);
    }
}
