//! `META-INF/container.xml`, which says where the package documents are.

use super::xml::{Node, XmlError, text_of, walk};
use crate::zip::Limits;

/// Where it is.
pub(super) const PATH: &str = "META-INF/container.xml";

/// The media type of a package document.
const PACKAGE_TYPE: &str = "application/oebps-package+xml";

/// A file that a rendition of the book begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rootfile {
    /// As it is written.
    pub(super) path: String,
    /// A package document; other renditions may begin with anything.
    pub(super) is_package: bool,
}

/// All of them.
pub(super) fn rootfiles(document: &[u8], limits: &Limits) -> Result<Vec<Rootfile>, XmlError> {
    let mut found = Vec::new();
    walk(text_of(document)?, limits, |_, node| {
        if let Node::Open(element) = node
            && element.name == "rootfile"
            && let Some(path) = element.attribute("full-path")
        {
            let is_package = element.attribute("media-type").is_none_or(|media_type| media_type.trim() == PACKAGE_TYPE);
            found.push(Rootfile { path: path.to_owned(), is_package });
        }
    })?;
    Ok(found)
}
