//! Why a book was refused, in words for the store: file names, but nothing of what is in them.

use super::stop::Cause;
use crate::lcp::Fault;
use drm::package::{PdfError, ProtectError, XmlError};
use drm::zip::ZipError;
use std::error::Error;

/// Characters of a reason. A file name has up to a thousand bytes, and may be all that there is to say.
const REASON_CHARS_MAX: usize = 1200;

/// What the failure of a protection means, that was not broken off.
pub(super) fn cause_of(error: &ProtectError) -> Cause {
    let fault = match error {
        ProtectError::Source(_) | ProtectError::Sink(_) => return Cause::PutOff(reason_of(error)),
        ProtectError::Changed(_) => return Cause::Changed,
        ProtectError::Mislabelled { .. } => Fault::Mislabelled,
        ProtectError::AlreadyProtected(_)
        | ProtectError::Zip(ZipError::Encrypted(_))
        | ProtectError::Pdf(PdfError::Encrypted) => Fault::Protected,
        ProtectError::Xml { path, cause: XmlError::Entity(_) } => {
            // The entity's name may be as long as its writer liked, and say what he liked.
            return Cause::Refused(Fault::Refused, tidy(&format!("{path:?} uses an entity that XML does not know")));
        }
        ProtectError::Zip(_)
        | ProtectError::Xml { .. }
        | ProtectError::Pdf(_)
        | ProtectError::Image { .. }
        | ProtectError::NotEpub(_)
        | ProtectError::Name(_)
        | ProtectError::ImageName { .. }
        | ProtectError::ImageTwice(_)
        | ProtectError::NoPages
        | ProtectError::TooManyPages { .. }
        | ProtectError::NoTitle
        | ProtectError::SeveralFiles => Fault::Refused,
    };
    Cause::Refused(fault, reason_of(error))
}

/// An error with all its causes.
pub(super) fn reason_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    tidy(&text)
}

fn tidy(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_all_causes_and_no_text_of_the_book() {
        let path = "OEBPS/content.opf".to_owned();
        let xml = |cause| ProtectError::Xml { path: path.clone(), cause };
        let Cause::Refused(Fault::Refused, text) = cause_of(&xml(XmlError::TooDeep(3))) else { panic!("refused") };
        assert_eq!(text, "\"OEBPS/content.opf\" cannot be understood: elements nest deeper than 3");
        let Cause::Refused(Fault::Refused, text) = cause_of(&xml(XmlError::Entity("별".into()))) else {
            panic!("refused")
        };
        assert!(text.contains("content.opf") && !text.contains('별'));
        let long = cause_of(&ProtectError::Name("a".repeat(5000)));
        assert!(matches!(long, Cause::Refused(Fault::Refused, text) if text.len() == REASON_CHARS_MAX));
    }

    #[test]
    fn what_is_encrypted_already_is_told_apart() {
        for error in [
            ProtectError::AlreadyProtected("x".into()),
            ProtectError::Zip(ZipError::Encrypted("x".into())),
            ProtectError::Pdf(PdfError::Encrypted),
        ] {
            assert!(matches!(cause_of(&error), Cause::Refused(Fault::Protected, _)));
        }
        assert_eq!(cause_of(&ProtectError::Changed("x".into())), Cause::Changed);
    }
}
