//! Why a book is not protected.

use super::images::NotAnImage;
use super::pdf::PdfError;
use super::xml::XmlError;
use crate::zip::{NameFault, ZipError};
use crate::{SinkError, SourceError};

/// Nothing usable was written. But for the first two and [`ProtectError::Changed`], trying again gives the same.
#[derive(Debug, thiserror::Error)]
pub enum ProtectError {
    /// The source failed; the book may be good.
    #[error(transparent)]
    Source(SourceError),
    /// The result could not be written; the book may be good.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The source gave other bytes the second time.
    #[error("{0:?} changed while it was read")]
    Changed(String),
    /// The archive is refused.
    #[error(transparent)]
    Zip(ZipError),
    /// A document in it is refused.
    #[error("{path:?} cannot be understood")]
    Xml {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: XmlError,
    },
    /// The PDF is refused.
    #[error(transparent)]
    Pdf(PdfError),
    /// What is named like an image is none.
    #[error("{path:?} is no image")]
    Image {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: NotAnImage,
    },
    /// Not what it was said to be.
    #[error("said to be {claimed}, but is {found}")]
    Mislabelled {
        /// What was said.
        claimed: &'static str,
        /// What it looks like.
        found: &'static str,
    },
    /// Encrypted already, by LCP or another scheme.
    #[error("protected already: {0}")]
    AlreadyProtected(String),
    /// An EPUB without something that makes it one.
    #[error("no EPUB: {0} is missing")]
    NotEpub(&'static str),
    /// A name that is not UTF-8, and so none that a document could refer to.
    #[error("the name {0:?} is not written in UTF-8")]
    Name(String),
    /// The name of an image that it cannot have in a package.
    #[error("an image cannot be named {name:?}: {fault:?}")]
    ImageName {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// Two images of one name.
    #[error("two images are named {0:?}")]
    ImageTwice(String),
    /// No images, or only what does not count as one.
    #[error("no pages")]
    NoPages,
    /// More pages than [`crate::zip::Limits::pages`].
    #[error("{pages} pages; {max} are allowed")]
    TooManyPages {
        /// How many.
        pages: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A package of this kind has to have a title, and none was given.
    #[error("no title was given")]
    NoTitle,
    /// Without a package several files are not one.
    #[error("several files without a package")]
    SeveralFiles,
}

impl From<SourceError> for ProtectError {
    fn from(error: SourceError) -> Self {
        ProtectError::Source(error)
    }
}

impl From<ZipError> for ProtectError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Source(error) => ProtectError::Source(error),
            error => ProtectError::Zip(error),
        }
    }
}

impl From<PdfError> for ProtectError {
    fn from(error: PdfError) -> Self {
        match error {
            PdfError::Source(error) => ProtectError::Source(error),
            error => ProtectError::Pdf(error),
        }
    }
}
