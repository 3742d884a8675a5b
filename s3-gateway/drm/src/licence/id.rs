//! The id of a licence.

use crate::Entropy;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::{Builder, Uuid, Variant, Version};

/// A UUID of version 4, written in lower case with hyphens. Checkers of licences insist on the form: its 36 characters make a `key_check` of 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LicenceId([u8; 16]);

/// What is no [`LicenceId`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no UUID of version 4 in lower case")]
pub struct BadLicenceId;

impl LicenceId {
    /// A new one.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        LicenceId(Builder::from_random_bytes(bytes).into_uuid().into_bytes())
    }

    /// The number that it is.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// One that no licence has, to look at links with.
    pub(crate) fn example() -> Self {
        LicenceId(Builder::from_random_bytes([0; 16]).into_uuid().into_bytes())
    }
}

impl FromStr for LicenceId {
    type Err = BadLicenceId;

    fn from_str(text: &str) -> Result<Self, BadLicenceId> {
        let uuid = Uuid::try_parse(text).map_err(|_| BadLicenceId)?;
        let id = LicenceId(uuid.into_bytes());
        let version = (uuid.get_version(), uuid.get_variant()) == (Some(Version::Random), Variant::RFC4122);
        // The parser takes other forms of the same number.
        (version && id.to_string() == text).then_some(id).ok_or(BadLicenceId)
    }
}

impl fmt::Display for LicenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for LicenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LicenceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn a_random_id_is_of_version_4_and_comes_back() {
        let mut entropy = Seeded::new(1);
        for _ in 0..100 {
            let id = LicenceId::random(&mut entropy);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        assert!("3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse::<LicenceId>().is_ok());
        for text in [
            "",
            "3F0C1A52-9C1E-4B8E-8A37-0D6B6F3F2A10",
            "3f0c1a529c1e4b8e8a370d6b6f3f2a10",
            "{3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10}",
            "urn:uuid:3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10",
            "3f0c1a52-9c1e-1b8e-8a37-0d6b6f3f2a10",
            "3f0c1a52-9c1e-4b8e-ca37-0d6b6f3f2a10",
            "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a1",
        ] {
            assert_eq!(text.parse::<LicenceId>(), Err(BadLicenceId), "{text}");
        }
    }
}
