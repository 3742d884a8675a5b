//! Passphrases from files.

use crate::exit::{Done, Failure, Kind};
use drm::PassphraseHash;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a passphrase; more is a file that was named by mistake.
const PASSPHRASE_BYTES_MAX: usize = 4096;

/// The hash of the passphrase in a file. One line break at its end is no part of it; everything else is, as it stands.
///
/// # Errors
/// It cannot be read, or holds no text.
pub fn of_file(path: &Path) -> Done<PassphraseHash> {
    let bytes = std::fs::read(path).map_err(|error| Failure::from(error).while_doing(path.display()))?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= PASSPHRASE_BYTES_MAX);
    let text = text.map(|text| text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)));
    let text = text.filter(|text| !text.is_empty());
    let none = || Failure::new(Kind::Usage, format!("{} holds no passphrase", path.display()));
    text.map(PassphraseHash::of).ok_or_else(none)
}
