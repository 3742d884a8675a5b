//! EPUB to protected EPUB.
//!
//! ```text
//! mimetype, stored | entries of the source in its order, encrypted or as they are | META-INF/encryption.xml
//! ```
//! Folders and an old licence are left out. Not encrypted: all of `META-INF`, the package documents, and what [`super::opf`] finds a reader needs
//! without a licence. Encrypted is everything else, also what the manifest forgets.
//!
//! Source: EPUB 3.3, section 4; LCP 1.0, section 2.

use super::container::{self, Rootfile};
use super::encryption_xml::{self, EncryptionXml};
use super::opf::{self, Item, Opf};
use super::output::{Compression, Encrypted, Output, Plain};
use super::uri::decode_path;
use super::xml::XmlError;
use super::{About, Kind, ProtectError};
use crate::Source;
use crate::zip::{Archive, Entry, Limits};
use std::collections::BTreeSet;

/// The entry that says what the archive is.
const MIMETYPE: &str = "mimetype";
/// More than that no `mimetype` has, with any white space that belongs not there.
const MIMETYPE_BYTES_MAX: u64 = 256;
/// Entries that only books of other schemes have.
const OTHER_SCHEMES: [(&str, &str); 2] =
    [("META-INF/rights.xml", "Adobe ADEPT"), ("META-INF/sinf.xml", "Apple FairPlay")];

/// An EPUB that was looked through and may be protected.
struct Epub<'a> {
    archive: &'a Archive<'a>,
    /// The source's own `encryption.xml`.
    own: Option<(Vec<u8>, EncryptionXml)>,
    /// What stays clear whatever the manifest says: what renditions begin with, and obfuscated fonts.
    clear: BTreeSet<String>,
    opf: Opf,
}

/// Writes a protected EPUB.
pub(super) fn protect(source: &dyn Source, limits: &Limits, output: &mut Output<'_>) -> Result<About, ProtectError> {
    let archive = Archive::open(source, limits)?;
    let epub = Epub::examine(&archive, limits)?;
    output.store(MIMETYPE, Kind::Epub.media_type().as_bytes())?;
    let mut encrypted = Vec::new();
    for entry in archive.entries().iter().filter(|entry| is_kept(entry)) {
        encrypted.extend(epub.write(entry, output)?);
    }
    let own = epub.own.as_ref().map(|(text, read)| (text.as_slice(), read));
    let document = encryption_xml::write(own, &encrypted).map_err(in_document(encryption_xml::PATH))?;
    output.document(encryption_xml::PATH, document)?;
    let covers = epub.opf.items.iter().filter(|(path, item)| item.cover && archive.find(path).is_some());
    let cover = covers.map(|(path, _)| path.clone()).next();
    Ok(About { kind: Kind::Epub, title: epub.opf.title, cover })
}

/// Whether an entry is taken over where it stands.
fn is_kept(entry: &Entry) -> bool {
    !entry.is_folder() && ![MIMETYPE, Kind::Epub.licence_path(), encryption_xml::PATH].contains(&entry.name())
}

fn in_document(path: &str) -> impl FnOnce(XmlError) -> ProtectError {
    move |cause| ProtectError::Xml { path: path.to_owned(), cause }
}

impl<'a> Epub<'a> {
    fn examine(archive: &'a Archive<'a>, limits: &Limits) -> Result<Self, ProtectError> {
        if let Some(entry) = archive.entries().iter().find(|entry| !entry.name_is_utf8()) {
            return Err(ProtectError::Name(entry.name().to_owned()));
        }
        check_mimetype(archive)?;
        if let Some((_, scheme)) = OTHER_SCHEMES.into_iter().find(|(path, _)| archive.find(path).is_some()) {
            return Err(ProtectError::AlreadyProtected(scheme.to_owned()));
        }
        let own = read_encryption(archive, limits)?;
        let rootfiles = find_rootfiles(archive, limits)?;
        let mut opf = Opf::default();
        for rootfile in rootfiles.iter().filter(|rootfile| rootfile.is_package) {
            let read = read_opf(archive, &rootfile.path, limits)?;
            opf.title = opf.title.or(read.title);
            opf.items.extend(read.items);
        }
        let obfuscated = own.iter().flat_map(|(_, own)| own.entries.iter().filter_map(|data| data.path.clone()));
        let clear = rootfiles.into_iter().map(|rootfile| rootfile.path).chain(obfuscated).collect();
        Ok(Epub { archive, own, clear, opf })
    }

    /// Takes an entry over; tells of it if it was encrypted.
    fn write(&self, entry: &Entry, output: &mut Output<'_>) -> Result<Option<Encrypted>, ProtectError> {
        let item = self.opf.items.get(entry.name());
        if self.stays_clear(entry, item) {
            output.copy(self.archive, entry)?;
            return Ok(None);
        }
        let compression = Compression::of(item.map_or("", |item| &item.media_type));
        output.encrypt(entry.name(), Plain::Entry(self.archive, entry), compression).map(Some)
    }

    fn stays_clear(&self, entry: &Entry, item: Option<&Item>) -> bool {
        let name = entry.name();
        name.starts_with("META-INF/") || self.clear.contains(name) || item.is_some_and(|item| item.clear)
    }
}

fn check_mimetype(archive: &Archive<'_>) -> Result<(), ProtectError> {
    if archive.find(MIMETYPE).is_none() {
        Err(ProtectError::NotEpub(MIMETYPE))
    } else if says_epub(archive)? {
        Ok(())
    } else {
        Err(ProtectError::Mislabelled { claimed: "EPUB", found: "an archive of another type" })
    }
}

/// Whether the archive says that it is an EPUB.
pub(super) fn says_epub(archive: &Archive<'_>) -> Result<bool, ProtectError> {
    let Some(entry) = archive.find(MIMETYPE).filter(|entry| entry.size() <= MIMETYPE_BYTES_MAX) else {
        return Ok(false);
    };
    let says = archive.read_whole(entry, MIMETYPE_BYTES_MAX)?;
    let says = says.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&says);
    Ok(says.trim_ascii() == Kind::Epub.media_type().as_bytes())
}

/// The source's own `encryption.xml`, which may have obfuscated fonts and nothing else.
fn read_encryption(archive: &Archive<'_>, limits: &Limits) -> Result<Option<(Vec<u8>, EncryptionXml)>, ProtectError> {
    let Some(entry) = archive.find(encryption_xml::PATH) else { return Ok(None) };
    let text = archive.read_whole(entry, limits.document_bytes)?;
    let read = encryption_xml::read(&text, limits).map_err(in_document(encryption_xml::PATH))?;
    if let Some(data) = read.entries.iter().find(|data| !data.is_obfuscation()) {
        let scheme = if data.lcp { "Readium LCP" } else { data.algorithm.as_str() };
        return Err(ProtectError::AlreadyProtected(scheme.to_owned()));
    }
    if read.keys {
        return Err(ProtectError::AlreadyProtected("it has encrypted keys".to_owned()));
    }
    Ok(Some((text, read)))
}

/// What the container names and the archive has; a package document must be among it.
fn find_rootfiles(archive: &Archive<'_>, limits: &Limits) -> Result<Vec<Rootfile>, ProtectError> {
    let entry = archive.find(container::PATH).ok_or(ProtectError::NotEpub(container::PATH))?;
    let document = archive.read_whole(entry, limits.document_bytes)?;
    let mut rootfiles = container::rootfiles(&document, limits).map_err(in_document(container::PATH))?;
    for rootfile in &mut rootfiles {
        // Some writers encode the path, which is to be written as it is.
        if archive.find(&rootfile.path).is_none() {
            rootfile.path = decode_path(&rootfile.path).unwrap_or_default();
        }
    }
    rootfiles.retain(|rootfile| archive.find(&rootfile.path).is_some());
    if rootfiles.iter().any(|rootfile| rootfile.is_package) {
        Ok(rootfiles)
    } else {
        Err(ProtectError::NotEpub("the package document"))
    }
}

fn read_opf(archive: &Archive<'_>, path: &str, limits: &Limits) -> Result<Opf, ProtectError> {
    let entry = archive.find(path).ok_or(ProtectError::NotEpub("the package document"))?;
    let document = archive.read_whole(entry, limits.document_bytes)?;
    opf::read(path, &document, limits).map_err(in_document(path))
}
