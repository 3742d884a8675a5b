//! Objects: put, read, delete, copy.

mod copy;
mod delete;
mod put;
mod read;

pub use copy::{CopyRequest, CopySource};
pub use delete::Deleted;
pub use put::PutRequest;
pub use read::{GetRequest, IfRange, ObjectRead};

use crate::checksum::ObjectChecksum;
use crate::error::{ObjectError, Validators};
use crate::metadata::Metadata;
use bytes::Bytes;
use proto::object::{Attr, ETag, FileKind, ObjectView};
use types::{KEY_BYTES_MAX, Timestamp};

/// An object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Entity tag and last change.
    pub validators: Validators,
    /// Bytes.
    pub size: u64,
    /// Metadata and checksum.
    pub metadata: Metadata,
    /// Parts it was uploaded in, if it was.
    pub parts: Option<u16>,
}

impl ObjectHead {
    fn new(view: &ObjectView, size: u64) -> Self {
        let parts = match view.attr.etag {
            ETag::Multipart(_, parts) => Some(parts),
            ETag::Md5(_) | ETag::Posix => None,
        };
        let metadata = Metadata::from_xattrs(&view.xattrs);
        ObjectHead { validators: validators(&view.attr), size, metadata, parts }
    }
}

/// An object that was just made visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Entity tag without quotes.
    pub etag: String,
    /// When.
    pub mtime: Timestamp,
    /// Bytes.
    pub size: u64,
    /// The checksum kept with it.
    pub checksum: Option<ObjectChecksum>,
}

fn validators(attr: &Attr) -> Validators {
    Validators { etag: attr.etag_text(), mtime: attr.mtime }
}

/// Bytes of an object as S3 shows it; a symbolic link's target is not for S3, a directory's size is not its content's.
fn content_bytes(view: &ObjectView, content: u64) -> u64 {
    match view.attr.kind {
        FileKind::File => view.attr.size,
        FileKind::Directory => content,
        FileKind::Symlink => 0,
    }
}

/// Checks that a key can be stored.
///
/// # Errors
/// [`ObjectError::KeyTooLong`], or [`ObjectError::InvalidKey`] if it is empty.
pub fn validate_key(key: &str) -> Result<Bytes, ObjectError> {
    match key.len() {
        0 => Err(ObjectError::InvalidKey),
        1..=KEY_BYTES_MAX => Ok(Bytes::copy_from_slice(key.as_bytes())),
        _ => Err(ObjectError::KeyTooLong),
    }
}
