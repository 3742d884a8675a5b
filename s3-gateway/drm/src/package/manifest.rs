//! `manifest.json` of the packages that are no EPUB: a Readium Web Publication.
//!
//! Source: Readium Web Publication Manifest; LCP for PDF and Divina.

use super::encryption_xml::AES256_CBC;
use super::output::Encrypted;
use super::uri::{decode_path, encode_path};
use crate::zip::Method;
use serde::{Deserialize, Serialize};

/// Where it is.
pub(crate) const PATH: &str = "manifest.json";
/// How an encrypted resource says by which scheme it is.
pub(crate) const SCHEME: &str = "http://readium.org/2014/01/lcp";

/// The whole document, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    #[serde(rename = "@context")]
    context: &'static str,
    pub(super) metadata: Metadata,
    links: Vec<Link>,
    #[serde(rename = "readingOrder")]
    pub(super) reading_order: Vec<Link>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resources: Vec<Link>,
}

/// What is known of the title.
#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "conformsTo")]
    pub(super) conforms_to: &'static str,
    pub(super) title: String,
    #[serde(rename = "numberOfPages", skip_serializing_if = "Option::is_none")]
    pub(super) pages: Option<u64>,
}

/// A resource.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    href: String,
    #[serde(rename = "type")]
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// What is read of a document, whoever wrote it: which resources are encrypted.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    #[serde(rename = "readingOrder", default)]
    reading_order: Vec<ListedLink>,
    #[serde(default)]
    resources: Vec<ListedLink>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListedLink {
    href: String,
    properties: Option<Properties>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted: Option<EncryptedProperties>,
}

/// How a resource is encrypted. Without the profile: a licence of any fits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EncryptedProperties {
    #[serde(default)]
    pub(crate) scheme: String,
    pub(crate) algorithm: String,
    #[serde(rename = "originalLength", default, skip_serializing_if = "Option::is_none")]
    pub(crate) original_length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<String>,
}

impl Manifest {
    pub(super) fn new(metadata: Metadata) -> Self {
        let media_type = "application/webpub+json";
        let itself = Link { href: PATH.to_owned(), media_type, rel: Some("self"), properties: None };
        Manifest {
            context: "https://readium.org/webpub-manifest/context.jsonld",
            metadata,
            links: vec![itself],
            reading_order: Vec::new(),
            resources: Vec::new(),
        }
    }
}

impl Link {
    /// To a resource that was encrypted.
    pub(super) fn encrypted(resource: &Encrypted, media_type: &'static str) -> Self {
        let compression = (resource.compression == Method::Deflated).then(|| "deflate".to_owned());
        let encrypted = EncryptedProperties {
            scheme: SCHEME.to_owned(),
            algorithm: AES256_CBC.to_owned(),
            original_length: Some(resource.original_length),
            compression,
        };
        let properties = Some(Properties { encrypted: Some(encrypted) });
        Link { href: encode_path(&resource.path), media_type, rel: None, properties }
    }

    /// To a cover, which is clear.
    pub(super) fn cover(path: &str, media_type: &'static str) -> Self {
        Link { href: encode_path(path), media_type, rel: Some("cover"), properties: None }
    }

    /// Whether it means that entry.
    pub(super) fn is_to(&self, path: &str) -> bool {
        self.href == encode_path(path)
    }
}

impl Listed {
    /// Every resource that is named.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ListedLink> {
        self.reading_order.iter().chain(&self.resources)
    }
}

impl ListedLink {
    /// The entry that it means.
    pub(crate) fn path(&self) -> Option<String> {
        decode_path(&self.href)
    }

    /// How it is encrypted, if it is.
    pub(crate) fn encryption(&self) -> Option<&EncryptedProperties> {
        self.properties.as_ref()?.encrypted.as_ref()
    }
}
