//! What an engine is told and what it says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_core::{KEY_BYTES, SecretKey, WRAPPED_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Characters of what an engine says of a refusal that are passed on.
const REASON_CHARS_MAX: usize = 160;
/// Characters of a key in base64.
const KEY_CHARS: usize = KEY_BYTES.div_ceil(3) * 4;

/// A ciphertext: `vault:vN:` and base64. In ASCII, and short enough to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ciphertext {
    text: String,
    version: u32,
}

impl Ciphertext {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= WRAPPED_BYTES_MAX)?;
        let (number, data) = text.strip_prefix("vault:v")?.split_once(':')?;
        let version = version(number)?;
        STANDARD.decode(data).ok().filter(|data| !data.is_empty())?;
        Some(Ciphertext { text: text.to_owned(), version })
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

/// A version, in the one way to write it.
pub(super) fn version(number: &str) -> Option<u32> {
    number.parse().ok().filter(|version: &u32| *version > 0 && version.to_string() == number)
}

/// Body of a request to encrypt.
#[derive(Serialize)]
pub(super) struct Encrypt<'a> {
    pub(super) plaintext: &'a str,
    pub(super) associated_data: &'a str,
}

/// Body of a request to decrypt.
#[derive(Serialize)]
pub(super) struct Decrypt<'a> {
    pub(super) ciphertext: &'a str,
    pub(super) associated_data: &'a str,
}

/// Every good answer.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
pub(super) struct Encrypted {
    ciphertext: String,
}

impl Encrypted {
    pub(super) fn ciphertext(&self) -> Option<Ciphertext> {
        Ciphertext::parse(self.ciphertext.as_bytes())
    }
}

/// Borrowed from the answer, which is wiped.
#[derive(Deserialize)]
pub(super) struct Decrypted<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

impl Decrypted<'_> {
    pub(super) fn key(&self) -> Option<SecretKey> {
        if self.plaintext.len() != KEY_CHARS {
            return None;
        }
        // As much as the decoder may ask for.
        let mut bytes = Zeroizing::new([0u8; KEY_CHARS]);
        let decoded = STANDARD.decode_slice(self.plaintext.as_bytes(), bytes.as_mut_slice()).ok()?;
        let key = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(bytes.get(..decoded)?).ok()?);
        Some(SecretKey::new(*key))
    }
}

/// What an engine says of a key.
#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) latest_version: u32,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    deletion_allowed: bool,
    #[serde(default)]
    exportable: bool,
}

impl Key {
    /// Whether it can wrap keys. What is only unwise is logged.
    pub(super) fn judge(&self) -> Result<(), &'static str> {
        if !matches!(self.kind.as_str(), "aes256-gcm96" | "chacha20-poly1305" | "xchacha20-poly1305") {
            return Err("the engine's key is not of the type aes256-gcm96 or chacha20-poly1305");
        }
        if self.derived {
            return Err("the engine's key is a derived one");
        }
        if self.deletion_allowed {
            tracing::warn!("the key service allows that the key is deleted; without it every sold book is lost");
        }
        if self.exportable {
            tracing::warn!("the key service lets the key be exported");
        }
        Ok(())
    }
}

/// What an engine says when it refuses.
#[derive(Deserialize)]
pub(super) struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

/// Why it refuses what it was asked. An engine has nothing but texts for it, the same in Vault and OpenBao.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such key.
    NoKey,
    /// The ciphertext or its associated data are not what was encrypted.
    Damaged,
    /// Anything else, such as a version that is out of use: it says nothing about the ciphertext.
    Other,
}

impl Errors {
    pub(super) fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or(Errors { errors: Vec::new() })
    }

    /// What it says first, for people; without what no log can take.
    pub(super) fn reason(&self) -> Option<String> {
        let printable = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
        let first = self.errors.first()?;
        Some(first.trim().chars().filter(printable).take(REASON_CHARS_MAX).collect())
    }

    pub(super) fn kind(&self) -> Refusal {
        let said = |text: &str| self.errors.len() == 1 && self.errors[0].contains(text);
        // "version is too new" is said by a replica that has not heard of a rotation yet, "too old" of a version out of use.
        if said("encryption key not found") {
            Refusal::NoKey
        } else if said("message authentication failed") || (said("invalid ciphertext") && !said("version is too new")) {
            Refusal::Damaged
        } else {
            Refusal::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ciphertext_has_one_form() {
        let good = Ciphertext::parse(b"vault:v12:AAEC").expect("a ciphertext");
        assert_eq!((good.version(), good.as_str()), (12, "vault:v12:AAEC"));
        let long = format!("vault:v1:{}", "AAAA".repeat(128));
        for bad in [
            "",
            "AAEC",
            "vault:AAEC",
            "vault:v0:AAEC",
            "vault:v01:AAEC",
            "vault:v+1:AAEC",
            "vault:v1:",
            "vault:v1:A",
            "vault:v4294967296:AAEC",
            "vault:v1:책",
            &long,
        ] {
            assert_eq!(Ciphertext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn refusals_are_told_apart_and_cut() {
        let of = |text: &str| Errors { errors: vec![text.to_owned()] }.kind();
        assert_eq!(of("cipher: message authentication failed"), Refusal::Damaged);
        assert_eq!(of("invalid ciphertext: no prefix"), Refusal::Damaged);
        assert_eq!(of("invalid ciphertext: version is too new"), Refusal::Other);
        assert_eq!(of("ciphertext or signature version is disallowed by policy (too old)"), Refusal::Other);
        assert_eq!(of("encryption key not found"), Refusal::NoKey);
        assert_eq!(Errors::parse(b"<html>").kind(), Refusal::Other);
        let long = Errors { errors: vec![format!("\n\x1b[31m{}", "x".repeat(500))] };
        assert_eq!(long.reason().expect("a reason").len(), REASON_CHARS_MAX);
        assert!(long.reason().expect("a reason").starts_with("[31mx"));
    }
}
