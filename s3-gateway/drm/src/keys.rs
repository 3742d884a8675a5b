//! The keys of LCP: the content key of a title, and the user key of a reader that wraps it.
//!
//! None of them can be printed, and each is wiped from memory when it is dropped.

use crate::Entropy;
use crate::cipher::{self, BadCiphertext, KEY_BYTES};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What is not a key of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 32 bytes")]
pub struct BadKey;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_BYTES]);

        impl $name {
            /// Its bytes. They must not be logged, nor stored unless they are wrapped.
            #[must_use]
            pub fn expose(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }
        }

        impl From<[u8; KEY_BYTES]> for $name {
            fn from(bytes: [u8; KEY_BYTES]) -> Self {
                $name(bytes)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = BadKey;

            fn try_from(bytes: &[u8]) -> Result<Self, BadKey> {
                bytes.try_into().map($name).map_err(|_| BadKey)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

key! {
    /// Encrypts the resources of one title, in all its versions.
    ContentKey
}
key! {
    /// SHA-256 of a passphrase as it was typed: no trimming, no normalisation. As good as the passphrase to whoever has it.
    PassphraseHash
}
key! {
    /// Encrypts what a licence holds for one reader. Made of the hash of the passphrase by the profile.
    UserKey
}

impl ContentKey {
    /// A new one.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        let mut key = ContentKey([0; KEY_BYTES]);
        entropy.fill(&mut key.0);
        key
    }
}

impl PassphraseHash {
    /// Of a passphrase.
    #[must_use]
    pub fn of(passphrase: &str) -> Self {
        PassphraseHash(Sha256::digest(passphrase.as_bytes()).into())
    }
}

impl UserKey {
    /// The content key encrypted under this key, as a licence holds it: 64 bytes.
    pub fn wrap(&self, content_key: &ContentKey, entropy: &mut dyn Entropy) -> Vec<u8> {
        cipher::encrypt(&self.0, content_key.expose(), entropy)
    }

    /// The content key that [`UserKey::wrap`] has encrypted.
    ///
    /// # Errors
    /// [`BadCiphertext`]: by another key, or no content key at all.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<ContentKey, BadCiphertext> {
        let bytes = cipher::decrypt(&self.0, wrapped)?;
        ContentKey::try_from(bytes.as_slice()).map_err(|_| BadCiphertext)
    }

    /// By which a reader finds out whether his passphrase is the right one: the id of the licence, encrypted.
    pub fn key_check(&self, licence_id: &str, entropy: &mut dyn Entropy) -> Vec<u8> {
        cipher::encrypt(&self.0, licence_id.as_bytes(), entropy)
    }

    /// Whether `key_check` was made by this key for that licence.
    #[must_use]
    pub fn passes(&self, key_check: &[u8], licence_id: &str) -> bool {
        cipher::decrypt(&self.0, key_check).is_ok_and(|id| id.as_slice() == licence_id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::tests::Counting;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    const ID: &str = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10";

    fn content_key() -> ContentKey {
        ContentKey(std::array::from_fn(|i| i as u8))
    }

    #[test]
    fn vectors_of_the_profile() {
        let hash = PassphraseHash::of("비밀 123");
        assert_eq!(hex::encode(hash.expose()), "c8c358b9a6f3a864d2f93aceb726043d5ab6fa45fedfc8aed147bf44d891f0eb");
        let key = UserKey(*hash.expose());
        let check = key.key_check(ID, &mut Counting);
        let expected = "AAECAwQFBgcICQoLDA0OD15XZEcPmjy4Ov/1EVbVkbZwhP7/cD4xnx7hi3JLw6bkpkefKU6GkWMPlfX2ZBbZiw==";
        assert_eq!(STANDARD.encode(&check), expected);
        assert!(key.passes(&check, ID) && !UserKey([7; 32]).passes(&check, ID) && !key.passes(&check, "another"));
        let wrapped = key.wrap(&content_key(), &mut Counting);
        let expected = "AAECAwQFBgcICQoLDA0OD6Rr86dyXQ0kfQ5kdQAgrw1mlIH7711fPjVI58SipWvXmg1MBn9RZ07CGFxuT5KnQQ==";
        assert_eq!(STANDARD.encode(&wrapped), expected);
        assert_eq!(key.unwrap(&wrapped).as_ref(), Ok(&content_key()));
        assert_ne!(UserKey([7; 32]).unwrap(&wrapped).as_ref(), Ok(&content_key()));
    }

    #[test]
    fn keys_do_not_print_themselves() {
        assert_eq!(format!("{:?}", content_key()), "ContentKey(secret)");
        assert_eq!(ContentKey::try_from(&[0; 31][..]), Err(BadKey));
    }
}
