//! What a file is by its first bytes.

use super::{ProtectError, images, pdf};
use crate::Source;

/// Rough types, enough to tell that a file is not what it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Zip,
    Pdf,
    Image,
    Rar,
    SevenZip,
    Kindle,
    Unknown,
}

impl Found {
    const fn name(self) -> &'static str {
        match self {
            Found::Zip => "a ZIP archive",
            Found::Pdf => "PDF",
            Found::Image => "an image",
            Found::Rar => "a RAR archive",
            Found::SevenZip => "a 7z archive",
            Found::Kindle => "a book for Kindle",
            Found::Unknown => "nothing known",
        }
    }

    fn of(head: &[u8]) -> Found {
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Found::Zip
        } else if head.starts_with(b"Rar!\x1a\x07") {
            Found::Rar
        } else if head.starts_with(b"7z\xbc\xaf\x27\x1c") {
            Found::SevenZip
        } else if head.get(60..68) == Some(b"BOOKMOBI") || head.starts_with(b"\xeaDRMION\xee") {
            Found::Kindle
        } else if images::type_of(&head[..head.len().min(images::HEAD_BYTES)]).is_ok() {
            Found::Image
        } else if pdf::is_pdf(head) {
            Found::Pdf
        } else {
            Found::Unknown
        }
    }
}

/// Refuses a file that is not what it is claimed to be.
pub(super) fn check(source: &dyn Source, claimed: &'static str, expected: Found) -> Result<(), ProtectError> {
    let mut head = vec![0; source.len().min(pdf::HEAD_BYTES as u64) as usize];
    source.read_at(0, &mut head)?;
    let found = Found::of(&head);
    if found == expected { Ok(()) } else { Err(ProtectError::Mislabelled { claimed, found: found.name() }) }
}
