//! `META-INF/encryption.xml`: which resources are encrypted, and how.
//!
//! Source: EPUB 3.3, sections 4.2.6.3.2 and 4.4; LCP 1.0, section 2.2; XML Encryption.

use super::output::{Document, Encrypted};
use super::uri::{decode_path, encode_path};
use super::xml::{Element, Node, XmlError, text_of, walk};
use crate::zip::{Limits, Method};

/// Where it is.
pub(crate) const PATH: &str = "META-INF/encryption.xml";
/// The algorithm of a resource.
pub(crate) const AES256_CBC: &str = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";
/// How a resource of LCP says where its key is.
const CONTENT_KEY_TYPE: &str = "http://readium.org/2014/01/lcp#EncryptedContentKey";
/// Obfuscated fonts: no protection, and nothing to do with a licence.
const OBFUSCATION: [&str; 2] = ["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"];

/// One `EncryptedData` that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EncryptedData {
    pub(crate) algorithm: String,
    /// From the root of the archive.
    pub(crate) path: Option<String>,
    /// Its key is the content key of a licence.
    pub(crate) lcp: bool,
    /// The number of the compression method, and bytes of the plain resource.
    pub(crate) compression: Option<(u16, u64)>,
}

impl EncryptedData {
    pub(crate) fn is_obfuscation(&self) -> bool {
        OBFUSCATION.contains(&self.algorithm.as_str())
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct EncryptionXml {
    pub(crate) entries: Vec<EncryptedData>,
    /// It has keys, which no obfuscation needs.
    pub(crate) keys: bool,
    /// Where the end tag of the root is.
    root_ends: usize,
    inside: bool,
}

/// Reads a document.
pub(crate) fn read(document: &[u8], limits: &Limits) -> Result<EncryptionXml, XmlError> {
    let mut read = EncryptionXml::default();
    walk(text_of(document)?, limits, |depth, node| match node {
        Node::Open(element) => read.open(element),
        Node::Close("EncryptedData", _) => read.inside = false,
        Node::Close(_, at) if depth == 0 => read.root_ends = at,
        Node::Text(_) | Node::Close(..) => {}
    })?;
    Ok(read)
}

impl EncryptionXml {
    fn open(&mut self, element: &Element) {
        match element.name.as_str() {
            "EncryptedData" => {
                self.entries.push(EncryptedData::default());
                self.inside = true;
            }
            "EncryptedKey" => self.keys = true,
            _ => {}
        }
        if let Some(entry) = self.entries.last_mut().filter(|_| self.inside) {
            entry.open(element);
        }
    }
}

impl EncryptedData {
    fn open(&mut self, element: &Element) {
        match element.name.as_str() {
            "EncryptionMethod" => self.algorithm = element.attribute("Algorithm").unwrap_or_default().to_owned(),
            "CipherReference" => self.path = element.attribute("URI").and_then(decode_path),
            "RetrievalMethod" => self.lcp |= element.attribute("Type") == Some(CONTENT_KEY_TYPE),
            "Compression" => {
                let number = |name| element.attribute(name)?.trim().parse::<u64>().ok();
                let method = number("Method").and_then(|method| u16::try_from(method).ok());
                self.compression = method.zip(number("OriginalLength"));
            }
            _ => {}
        }
    }
}

/// The document for what was encrypted. What the source's own document has is kept, byte for byte, before it.
pub(super) fn write(source: Option<(&[u8], &EncryptionXml)>, encrypted: &[Encrypted]) -> Result<Document, XmlError> {
    let mut document = Document::new();
    let kept = source.filter(|(_, read)| !read.entries.is_empty());
    let (before, after) = match kept {
        Some((text, read)) => text_of(text)?.split_at(read.root_ends),
        None => (
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<encryption xmlns=\"urn:oasis:names:tc:opendocument:xmlns:container\">\n",
            "</encryption>\n",
        ),
    };
    document.push(before.as_bytes());
    encrypted.iter().for_each(|resource| document.push(entry(resource).as_bytes()));
    document.push(after.as_bytes());
    Ok(document)
}

/// Says its namespaces itself: whatever document it is put into, it means the same.
fn entry(resource: &Encrypted) -> String {
    let method = match resource.compression {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    format!(
        "<EncryptedData xmlns=\"http://www.w3.org/2001/04/xmlenc#\">\
<EncryptionMethod Algorithm=\"{AES256_CBC}\"/>\
<KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\">\
<RetrievalMethod URI=\"license.lcpl#/encryption/content_key\" Type=\"{CONTENT_KEY_TYPE}\"/></KeyInfo>\
<CipherData><CipherReference URI=\"{uri}\"/></CipherData>\
<EncryptionProperties><EncryptionProperty>\
<Compression xmlns=\"http://www.idpf.org/2016/encryption#compression\" Method=\"{method}\" OriginalLength=\"{length}\"/>\
</EncryptionProperty></EncryptionProperties></EncryptedData>\n",
        uri = encode_path(&resource.path),
        length = resource.original_length,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let encrypted = [
            Encrypted { path: "글꼴/a b&c%.otf".into(), compression: Method::Deflated, original_length: 0 },
            Encrypted { path: "a.mp3".into(), compression: Method::Stored, original_length: u64::MAX },
        ];
        let document = write(None, &encrypted).expect("well-formed").into_plain();
        let read = read(&document, &Limits::default()).expect("well-formed");
        for (read, written) in read.entries.iter().zip(&encrypted) {
            assert_eq!((read.algorithm.as_str(), read.lcp), (AES256_CBC, true));
            assert_eq!(read.path.as_deref(), Some(written.path.as_str()));
            assert_eq!(read.compression, Some((written.compression.number(), written.original_length)));
        }
        assert_eq!((read.entries.len(), read.keys), (2, false));
    }

    #[test]
    fn obfuscated_fonts_are_kept_as_they_are() {
        let own = "\u{feff}<?xml version='1.0'?>\n<e:encryption xmlns:e='urn:oasis:names:tc:opendocument:xmlns:container' xmlns:x='http://www.w3.org/2001/04/xmlenc#'>
<x:EncryptedData><x:EncryptionMethod Algorithm='http://www.idpf.org/2008/embedding'/><x:CipherData><x:CipherReference URI='f%20t.otf'/></x:CipherData></x:EncryptedData>
</e:encryption><!-- end -->";
        let source = read(own.as_bytes(), &Limits::default()).expect("well-formed");
        assert!(source.entries[0].is_obfuscation() && source.entries[0].path.as_deref() == Some("f t.otf"));
        let more = [Encrypted { path: "a".into(), compression: Method::Stored, original_length: 1 }];
        let both = write(Some((own.as_bytes(), &source)), &more).expect("well-formed").into_plain();
        let text = String::from_utf8(both).expect("UTF-8");
        let kept = own.trim_start_matches('\u{feff}').split_once("</e:").expect("there").0;
        assert!(text.starts_with(kept) && text.ends_with("</EncryptedData>\n</e:encryption><!-- end -->"));
        let read = read(text.as_bytes(), &Limits::default()).expect("well-formed");
        assert_eq!((read.entries.len(), read.entries[1].lcp), (2, true));
    }

    #[test]
    fn a_document_without_entries_is_replaced() {
        let own = b"<encryption xmlns='urn:oasis:names:tc:opendocument:xmlns:container'/>";
        let source = read(own, &Limits::default()).expect("well-formed");
        let text = write(Some((own, &source)), &[]).expect("well-formed").into_plain();
        assert!(text.starts_with(b"<?xml") && text.ends_with(b"</encryption>\n"));
    }
}
