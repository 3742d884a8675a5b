//! AES-256 in CBC mode as LCP uses it everywhere: a random initialisation vector, then the padded data; no authentication.
//!
//! ```text
//! IV (16) | AES-256-CBC(data | padding)      padding: 1 to 16 bytes, the last of them is their number
//! ```
//! Written padding is that of PKCS#7; of padding that is read only the last byte counts, since other writers fill the rest with anything.
//!
//! Source: XML Encryption, section 5.2; LCP 1.0, section 4.

use crate::Entropy;
use aes::Aes256;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use zeroize::Zeroizing;

/// Bytes of a block, of the initialisation vector and of the longest padding.
pub const BLOCK_BYTES: usize = 16;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// How long the ciphertext of `plain` bytes is, the initialisation vector among it.
#[must_use]
pub const fn ciphertext_bytes(plain: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    block + block * (plain / block + 1)
}

/// Not the ciphertext of anything under that key: too short, not whole blocks, or a padding of no or too many bytes.
///
/// It is no proof of a wrong key: one in a dozen wrong keys or so passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not encrypted with this key")]
pub struct BadCiphertext;

/// Encrypts a stream of bytes.
pub struct Encryptor {
    cbc: cbc::Encryptor<Aes256>,
    /// The beginning of a block that is not whole yet.
    rest: Zeroizing<Vec<u8>>,
}

impl Encryptor {
    /// Begins with a new initialisation vector, which is written to `out`.
    pub fn new(key: &[u8; KEY_BYTES], entropy: &mut dyn Entropy, out: &mut Vec<u8>) -> Self {
        let mut iv = [0; BLOCK_BYTES];
        entropy.fill(&mut iv);
        out.extend_from_slice(&iv);
        Encryptor {
            cbc: cbc::Encryptor::new(key.into(), &iv.into()),
            rest: Zeroizing::new(Vec::with_capacity(BLOCK_BYTES)),
        }
    }

    /// Takes more of the data; what is whole of it is appended to `out`.
    pub fn update(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            let taken = plain.len().min(BLOCK_BYTES - self.rest.len());
            self.rest.extend_from_slice(&plain[..taken]);
            plain = &plain[taken..];
            if self.rest.len() < BLOCK_BYTES {
                return;
            }
            let begun = out.len();
            out.extend_from_slice(&self.rest);
            self.rest.clear();
            self.encrypt_blocks(&mut out[begun..]);
        }
        let whole = plain.len() - plain.len() % BLOCK_BYTES;
        let begun = out.len();
        out.extend_from_slice(&plain[..whole]);
        self.encrypt_blocks(&mut out[begun..]);
        self.rest.extend_from_slice(&plain[whole..]);
    }

    /// Pads and appends the last block to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let missing = BLOCK_BYTES - self.rest.len();
        let begun = out.len();
        out.extend_from_slice(&self.rest);
        out.resize(begun + BLOCK_BYTES, missing as u8);
        self.encrypt_blocks(&mut out[begun..]);
    }

    fn encrypt_blocks(&mut self, whole: &mut [u8]) {
        let (blocks, _) = cbc::cipher::Array::slice_as_chunks_mut(whole);
        self.cbc.encrypt_blocks(blocks);
    }
}

/// Decrypts a stream of bytes.
pub struct Decryptor {
    key: Zeroizing<[u8; KEY_BYTES]>,
    cbc: Option<cbc::Decryptor<Aes256>>,
    /// Ciphertext that is held back: a block that is not whole, or that may be the last.
    held: Vec<u8>,
}

impl Decryptor {
    /// Of a stream that begins with its initialisation vector.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Decryptor { key: Zeroizing::new(*key), cbc: None, held: Vec::new() }
    }

    /// Takes more of the ciphertext; what is certain of the data is appended to `out`.
    pub fn update(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(ciphertext);
        if self.cbc.is_none() && self.held.len() >= BLOCK_BYTES {
            let iv: [u8; BLOCK_BYTES] = self.held[..BLOCK_BYTES].try_into().expect("as many bytes as a block has");
            self.cbc = Some(cbc::Decryptor::new((&*self.key).into(), &iv.into()));
            self.held.drain(..BLOCK_BYTES);
        }
        // The last block stays: it may be the one with the padding.
        let certain = self.held.len().saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
        self.decrypt_held(certain, out);
    }

    /// Takes the padding off and appends the end of the data to `out`.
    ///
    /// # Errors
    /// [`BadCiphertext`]; what was appended before means nothing.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), BadCiphertext> {
        if self.cbc.is_none() || self.held.len() != BLOCK_BYTES {
            return Err(BadCiphertext);
        }
        self.decrypt_held(BLOCK_BYTES, out);
        let padding = out.last().map_or(0, |last| usize::from(*last));
        if !(1..=BLOCK_BYTES).contains(&padding) {
            return Err(BadCiphertext);
        }
        out.truncate(out.len() - padding);
        Ok(())
    }

    fn decrypt_held(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let Some(cbc) = &mut self.cbc else { return };
        let begun = out.len();
        out.extend_from_slice(&self.held[..bytes]);
        self.held.drain(..bytes);
        let (blocks, _) = cbc::cipher::Array::slice_as_chunks_mut(&mut out[begun..]);
        cbc.decrypt_blocks(blocks);
    }
}

/// Encrypts what is in memory as a whole.
pub fn encrypt(key: &[u8; KEY_BYTES], plain: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
    let mut out = Vec::with_capacity(ciphertext_bytes(plain.len() as u64) as usize);
    let mut encryptor = Encryptor::new(key, entropy, &mut out);
    encryptor.update(plain, &mut out);
    encryptor.finish(&mut out);
    out
}

/// Decrypts what is in memory as a whole.
///
/// # Errors
/// [`BadCiphertext`].
pub fn decrypt(key: &[u8; KEY_BYTES], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadCiphertext> {
    let mut out = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
    let mut decryptor = Decryptor::new(key);
    decryptor.update(ciphertext, &mut out);
    decryptor.finish(&mut out)?;
    Ok(out)
}

#[cfg(test)]
pub(crate) mod tests;
