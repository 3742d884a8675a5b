//! The bytes of a key that is wrapped under one of a file.
//!
//! ```text
//! 0   1   version, 1
//! 1  12   nonce, random
//! 13 32   the key, encrypted by AES-256-GCM
//! 45 16   tag
//! ```
//! Authenticated with it: what this is, the name of the key-encryption key, what the key is for. docs/formats/wrapped-keys.md.

use super::super::{KEY_BYTES, KeyError, SecretKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The form that is written. History: 1 = the first.
const VERSION: u8 = 1;
/// Where what is encrypted begins.
const HEAD_BYTES: usize = 1 + NONCE_LEN;
const TAG_BYTES: usize = 16;
/// Bytes of a wrapped key.
const SEALED_BYTES: usize = HEAD_BYTES + KEY_BYTES + TAG_BYTES;
/// What this is, so that nothing else that is ever encrypted under the same key is taken for it.
const DOMAIN: &[u8] = b"sago wrapped key 1\0";

const _: () = assert!(SEALED_BYTES == 61 && SEALED_BYTES <= super::super::WRAPPED_BYTES_MAX);

/// A new nonce.
pub(super) fn nonce() -> Result<[u8; NONCE_LEN], KeyError> {
    let mut nonce = [0; NONCE_LEN];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map_err(|_| KeyError::Unavailable("the system has no random bytes".into()))?;
    Ok(nonce)
}

/// Wraps under one key.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    pub(super) fn new(key: &SecretKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("a key of AES-256 has as many bytes");
        Cipher(LessSafeKey::new(key))
    }

    /// Wraps `key`; a nonce is good for one.
    pub(super) fn seal(
        &self,
        kek: &str,
        context: &[u8],
        key: &SecretKey,
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Vec<u8>, KeyError> {
        let mut plain = Zeroizing::new(*key.expose());
        let aad = Aad::from(authenticated(kek, context));
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), aad, plain.as_mut_slice());
        // Fails for what is too long for GCM only, which no key is.
        let tag = tag.map_err(|_| KeyError::Damaged)?;
        Ok([&[VERSION][..], nonce, plain.as_slice(), tag.as_ref()].concat())
    }

    /// Unwraps a key.
    pub(super) fn open(&self, kek: &str, context: &[u8], sealed: &[u8]) -> Result<SecretKey, KeyError> {
        if sealed.len() != SEALED_BYTES || sealed[0] != VERSION {
            return Err(KeyError::Damaged);
        }
        let (head, rest) = sealed.split_at(HEAD_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(&head[1..]).map_err(|_| KeyError::Damaged)?;
        let mut rest = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(authenticated(kek, context));
        let plain = self.0.open_in_place(nonce, aad, &mut rest).map_err(|_| KeyError::Damaged)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.copy_from_slice(plain);
        Ok(SecretKey::new(*key))
    }
}

/// The name has its length before it, so that no other name and context make the same bytes.
fn authenticated(kek: &str, context: &[u8]) -> Vec<u8> {
    let length = u8::try_from(kek.len()).unwrap_or(u8::MAX);
    [DOMAIN, &[length], kek.as_bytes(), context].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> SecretKey {
        SecretKey::new(std::array::from_fn(|i| first.wrapping_add(i as u8)))
    }

    /// Another implementation of AES-GCM (Python's `cryptography`) made these bytes of the same key, nonce, key to wrap and authenticated data.
    #[test]
    fn the_bytes_are_these() {
        let nonce = std::array::from_fn(|i| 0x40 + i as u8);
        let sealed = Cipher::new(&key(0)).seal("kek-1", b"title 7", &key(0x80), &nonce).expect("sealed");
        let pinned = [
            "01404142434445464748494a4b",
            "62382ca0a2b90184454d9dbd17e99dd4e957c0cf23a099b4efded47e0b8e7344",
            "7f02098d206909b49465a20787146c78",
        ];
        assert_eq!(hex::encode(sealed), pinned.concat());
    }

    #[test]
    fn nothing_else_opens_it() {
        let (cipher, nonce) = (Cipher::new(&key(0)), [9; NONCE_LEN]);
        let sealed = cipher.seal("kek-1", b"title 7", &key(1), &nonce).expect("sealed");
        assert_eq!(cipher.open("kek-1", b"title 7", &sealed).expect("it"), key(1));
        let damaged = |opened: Result<SecretKey, KeyError>| matches!(opened, Err(KeyError::Damaged));
        assert!(damaged(cipher.open("kek-2", b"title 7", &sealed)));
        assert!(damaged(cipher.open("kek-1", b"title 8", &sealed)));
        assert!(damaged(cipher.open("kek-1t", b"itle 7", &sealed)));
        assert!(damaged(Cipher::new(&key(2)).open("kek-1", b"title 7", &sealed)));
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(damaged(cipher.open("kek-1", b"title 7", &other)), "byte {at}");
            assert!(damaged(cipher.open("kek-1", b"title 7", &sealed[..at])));
        }
        assert!(damaged(cipher.open("kek-1", b"title 7", &[&sealed[..], &[0]].concat())));
    }
}
