//! The reader's side: what is in a protected package, and, with the content key, what its resources hold.
//!
//! For support and tests. A licence is found here, and understood elsewhere.

mod resource;

pub use resource::ResourceReader;

use crate::package::encryption_xml::{self, AES256_CBC};
use crate::package::manifest::{self, Listed, ListedLink};
use crate::package::{Kind, XmlError};
use crate::zip::{Archive, Entry, Limits, Method, ZipError};
use crate::{ContentKey, Source, SourceError};
use std::collections::BTreeMap;

/// The package, or something in it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The source failed; the package may be good.
    #[error(transparent)]
    Source(SourceError),
    /// The archive is refused.
    #[error(transparent)]
    Zip(ZipError),
    /// The document that tells what is encrypted is refused.
    #[error("{path:?} cannot be understood")]
    Xml {
        /// Which.
        path: &'static str,
        /// Why.
        #[source]
        cause: XmlError,
    },
    /// The manifest is none.
    #[error("the manifest cannot be understood")]
    Manifest(#[from] serde_json::Error),
    /// Neither an EPUB nor a package with a manifest tells what is encrypted.
    #[error("not a protected package")]
    NotProtected,
    /// A resource is encrypted by other means.
    #[error("{path:?} is encrypted by {algorithm:?}")]
    Algorithm {
        /// Which.
        path: String,
        /// By what.
        algorithm: String,
    },
    /// A resource does not come out: the key is another one's, or the resource is damaged.
    #[error("{0:?} is not encrypted with this key")]
    Key(String),
    /// A resource is not as long as the package says.
    #[error("{path:?} has {bytes} bytes, not {expected}")]
    Length {
        /// Which.
        path: String,
        /// How long it is, as far as it was read.
        bytes: u64,
        /// How long it should be.
        expected: u64,
    },
}

impl From<ZipError> for OpenError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Source(error) => OpenError::Source(error),
            error => OpenError::Zip(error),
        }
    }
}

/// How a resource is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The algorithm, by its identifier.
    pub algorithm: String,
    /// Whether it was deflated before.
    pub compression: Method,
    /// Bytes of the plain resource, if the package says so.
    pub original_length: Option<u64>,
}

/// A package that was opened.
#[derive(Debug)]
pub struct Package<'a> {
    archive: Archive<'a>,
    licence_path: &'static str,
    encrypted: BTreeMap<String, Encryption>,
    limits: Limits,
}

impl<'a> Package<'a> {
    /// Reads what is encrypted in a package of any kind, with or without a licence.
    ///
    /// # Errors
    /// [`OpenError`]: not a protected package, or one that is refused.
    pub fn open(source: &'a dyn Source, limits: &Limits) -> Result<Self, OpenError> {
        let archive = Archive::open(source, limits)?;
        let whole = |entry| archive.read_whole(entry, limits.document_bytes);
        let (licence_path, encrypted) = if let Some(entry) = archive.find(encryption_xml::PATH) {
            let read = encryption_xml::read(&whole(entry)?, limits)
                .map_err(|cause| OpenError::Xml { path: encryption_xml::PATH, cause })?;
            (Kind::Epub.licence_path(), of_encryption_xml(read))
        } else if let Some(entry) = archive.find(manifest::PATH) {
            let read: Listed = serde_json::from_slice(&whole(entry)?)?;
            (Kind::Pdf.licence_path(), of_manifest(&read))
        } else {
            return Err(OpenError::NotProtected);
        };
        Ok(Package { archive, licence_path, encrypted, limits: limits.clone() })
    }

    /// All entries, in the order of the central directory, and how they are encrypted, if they are.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, Option<&Encryption>)> {
        self.archive.entries().iter().map(|entry| (entry, self.encrypted.get(entry.name())))
    }

    /// The licence document, if the package has one.
    ///
    /// # Errors
    /// [`OpenError`]: it is damaged or too large.
    pub fn licence(&self) -> Result<Option<Vec<u8>>, OpenError> {
        let Some(entry) = self.archive.find(self.licence_path) else { return Ok(None) };
        Ok(Some(self.archive.read_whole(entry, self.limits.document_bytes)?))
    }

    /// Begins to read the plain resource at `path`.
    ///
    /// # Errors
    /// [`OpenError`]: there is no such entry, or it is encrypted by unknown means.
    pub fn read(&self, path: &str, key: &ContentKey) -> Result<ResourceReader<'_>, OpenError> {
        let entry = self.archive.find(path).ok_or_else(|| ZipError::Missing(path.to_owned()))?;
        let encryption = self.encrypted.get(path);
        if let Some(encryption) = encryption.filter(|encryption| encryption.algorithm != AES256_CBC) {
            let (path, algorithm) = (path.to_owned(), encryption.algorithm.clone());
            return Err(OpenError::Algorithm { path, algorithm });
        }
        Ok(ResourceReader::new(entry, self.archive.read(entry)?, encryption, key))
    }

    /// All of the plain resource at `path`, of at most `max` bytes.
    ///
    /// # Errors
    /// [`OpenError`]: it is larger, or does not come out.
    pub fn read_whole(&self, path: &str, key: &ContentKey, max: u64) -> Result<Vec<u8>, OpenError> {
        let (mut reader, mut whole) = (self.read(path, key)?, Vec::new());
        while let Some(piece) = reader.piece()? {
            whole.extend_from_slice(piece);
            let bytes = whole.len() as u64;
            if bytes > max {
                return Err(ZipError::EntryTooLarge { name: path.to_owned(), bytes, max }.into());
            }
        }
        Ok(whole)
    }
}

fn of_encryption_xml(read: encryption_xml::EncryptionXml) -> BTreeMap<String, Encryption> {
    let of = |data: encryption_xml::EncryptedData| {
        let compression = data.compression.and_then(|(method, _)| Method::of(method)).unwrap_or(Method::Stored);
        let original_length = data.compression.map(|(_, length)| length);
        Some((data.path?, Encryption { algorithm: data.algorithm, compression, original_length }))
    };
    read.entries.into_iter().filter(|data| !data.is_obfuscation()).filter_map(of).collect()
}

fn of_manifest(manifest: &Listed) -> BTreeMap<String, Encryption> {
    let of = |link: &ListedLink| {
        let encryption = link.encryption()?;
        let deflated = encryption.compression.as_deref() == Some("deflate");
        let compression = if deflated { Method::Deflated } else { Method::Stored };
        let (algorithm, original_length) = (encryption.algorithm.clone(), encryption.original_length);
        Some((link.path()?, Encryption { algorithm, compression, original_length }))
    };
    manifest.all().filter_map(of).collect()
}
