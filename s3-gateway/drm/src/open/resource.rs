//! Reads one resource: decrypts, inflates, and proves its length.

use super::{Encryption, OpenError};
use crate::ContentKey;
use crate::cipher::Decryptor;
use crate::deflate::Inflater;
use crate::zip::{Entry, EntryReader, Method, PIECE_BYTES};

/// A plain resource, piece by piece. Until [`ResourceReader::piece`] has given `None`, what it gave may be wrong: nothing in LCP proves the bytes themselves.
pub struct ResourceReader<'a> {
    entry: &'a Entry,
    stored: EntryReader<'a>,
    /// `None` when all has been decrypted, or nothing is.
    decryptor: Option<Decryptor>,
    inflating: Option<Inflating>,
    expected: Option<u64>,
    bytes: u64,
    plain: Vec<u8>,
}

struct Inflating {
    inflater: Inflater,
    /// Bytes of the decrypted piece that are inflated already.
    used: usize,
    out: Vec<u8>,
    ended: bool,
}

impl<'a> ResourceReader<'a> {
    pub(super) fn new(
        entry: &'a Entry,
        stored: EntryReader<'a>,
        encryption: Option<&Encryption>,
        key: &ContentKey,
    ) -> Self {
        let deflated = encryption.is_some_and(|encryption| encryption.compression == Method::Deflated);
        ResourceReader {
            entry,
            stored,
            decryptor: encryption.map(|_| Decryptor::new(key.expose())),
            inflating: deflated.then(|| Inflating {
                inflater: Inflater::raw(),
                used: 0,
                out: vec![0; PIECE_BYTES],
                ended: false,
            }),
            expected: encryption.and_then(|encryption| encryption.original_length),
            bytes: 0,
            plain: Vec::new(),
        }
    }

    /// The next piece, of some hundred KiB at most; `None` at the end, when its length was the one that the package says.
    ///
    /// # Errors
    /// [`OpenError`]: it does not come out; nothing more is to be read.
    pub fn piece(&mut self) -> Result<Option<&[u8]>, OpenError> {
        let filled = self.advance()?;
        self.bytes += filled as u64;
        let (bytes, expected) = (self.bytes, self.expected.unwrap_or(self.bytes));
        if bytes > expected || (filled == 0 && bytes < expected) {
            return Err(OpenError::Length { path: self.entry.name().to_owned(), bytes, expected });
        }
        let piece = self.inflating.as_ref().map_or(&self.plain, |inflating| &inflating.out);
        Ok((filled > 0).then(|| &piece[..filled]))
    }

    /// Makes the next piece; none is left if it has no bytes.
    fn advance(&mut self) -> Result<usize, OpenError> {
        loop {
            let wants_more = self.inflating.as_ref().is_none_or(|inflating| inflating.used == self.plain.len());
            let more = !wants_more || self.decrypt()?;
            let Some(inflating) = &mut self.inflating else {
                return Ok(self.plain.len());
            };
            let damaged = || OpenError::Key(self.entry.name().to_owned());
            let input = &self.plain[inflating.used..];
            if inflating.ended {
                // Whatever is behind the end of the stream is no part of a resource.
                return if more || !input.is_empty() { Err(damaged()) } else { Ok(0) };
            }
            let step = inflating.inflater.inflate(input, &mut inflating.out).map_err(|_| damaged())?;
            inflating.used += step.used;
            inflating.ended = step.ended;
            if step.filled > 0 {
                return Ok(step.filled);
            }
            // Nothing came of some input, or there is no more of it.
            if step.used == 0 && !step.ended && !(more && input.is_empty()) {
                return Err(damaged());
            }
        }
    }

    /// Puts the next decrypted bytes in place of those that were used; none, and `false`, at the end.
    fn decrypt(&mut self) -> Result<bool, OpenError> {
        self.plain.clear();
        if let Some(inflating) = &mut self.inflating {
            inflating.used = 0;
        }
        while self.plain.is_empty() {
            let (stored, decryptor) = (self.stored.piece()?, self.decryptor.as_mut());
            match (stored, decryptor) {
                (Some(stored), Some(decryptor)) => decryptor.update(stored, &mut self.plain),
                (Some(stored), None) => self.plain.extend_from_slice(stored),
                (None, _) => {
                    let Some(decryptor) = self.decryptor.take() else { return Ok(false) };
                    let wrong = |_| OpenError::Key(self.entry.name().to_owned());
                    decryptor.finish(&mut self.plain).map_err(wrong)?;
                }
            }
        }
        Ok(true)
    }
}
