//! What is written of a package: encrypted resources, clear ones, documents, and the hash of all of it.
//!
//! The headers of a ZIP entry have the CRC-32 of the ciphertext, and of a deflated resource the size, which nobody knows before it is encrypted; what is
//! written cannot be gone back to, and data descriptors are trouble for readers. So a resource is encrypted once to be measured, and that ciphertext kept if
//! it is small ([`KEPT_BYTES_MAX`]); a larger one is encrypted again with the same initialisation vector while it is written. That costs the processor time
//! of a large resource twice, and never more memory than one small one. Both runs give the same bytes, or the source has changed.

use super::ProtectError;
use crate::cipher::{BLOCK_BYTES, Encryptor};
use crate::deflate::Deflater;
use crate::source::pieces;
use crate::zip::{Archive, Directory, Entry, Method, NewEntry, Writer};
use crate::{ContentKey, Entropy, Sink, SinkError, Source};
use sha2::{Digest, Sha256};

/// Ciphertext that is held in memory. Text and most images are smaller, so that only audio, video and scans are encrypted twice.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// A resource as it came.
#[derive(Clone, Copy)]
pub(super) enum Plain<'a> {
    Entry(&'a Archive<'a>, &'a Entry),
    Source(&'a dyn Source),
}

impl Plain<'_> {
    pub(super) fn len(&self) -> u64 {
        match self {
            Plain::Entry(_, entry) => entry.size(),
            Plain::Source(source) => source.len(),
        }
    }

    /// Shows all of it to `see`, piece by piece; each time in the same pieces.
    fn pieces(&self, see: &mut dyn FnMut(&[u8]) -> Result<(), ProtectError>) -> Result<(), ProtectError> {
        match self {
            Plain::Entry(archive, entry) => {
                let mut reader = archive.read(entry)?;
                while let Some(piece) = reader.piece()? {
                    see(piece)?;
                }
            }
            Plain::Source(source) => pieces(*source, see)?,
        }
        Ok(())
    }

    /// Its first bytes, at most as many.
    pub(super) fn head(&self, bytes: usize) -> Result<Vec<u8>, ProtectError> {
        match self {
            Plain::Entry(archive, entry) => {
                let mut head = Vec::new();
                let mut reader = archive.read(entry)?;
                while head.len() < bytes
                    && let Some(piece) = reader.piece()?
                {
                    head.extend_from_slice(piece);
                }
                head.truncate(bytes);
                Ok(head)
            }
            Plain::Source(source) => {
                let mut head = vec![0; source.len().min(bytes as u64) as usize];
                source.read_at(0, &mut head)?;
                Ok(head)
            }
        }
    }
}

/// Whether a resource is deflated before it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Text and fonts.
    Always,
    /// What is played: a player jumps to where it wants, and finds nothing in a deflated stream.
    Never,
    /// Images that may or may not be compressed in themselves: if it saves more than a tenth.
    IfSmaller,
}

impl Compression {
    /// By the media type, in lower case.
    pub(super) fn of(media_type: &str) -> Compression {
        let is = |prefix| media_type.starts_with(prefix);
        match media_type {
            "application/pdf" | "image/jpeg" | "image/webp" | "image/avif" => Compression::Never,
            _ if is("audio/") || is("video/") => Compression::Never,
            _ if is("image/") && !is("image/svg") => Compression::IfSmaller,
            _ => Compression::Always,
        }
    }
}

/// A resource that was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encrypted {
    pub(super) path: String,
    pub(super) compression: Method,
    pub(super) original_length: u64,
}

/// A document that is made piece by piece, and held deflated.
pub(super) struct Document {
    deflater: Deflater,
    deflated: Vec<u8>,
    crc32: crc32fast::Hasher,
    size: u64,
}

impl Document {
    pub(super) fn new() -> Self {
        let (deflater, crc32) = (Deflater::new(), crc32fast::Hasher::new());
        Document { deflater, deflated: Vec::new(), crc32, size: 0 }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        self.crc32.update(text);
        self.size += text.len() as u64;
        self.deflater.update(text, &mut self.deflated);
    }

    #[cfg(test)]
    pub(super) fn into_plain(mut self) -> Vec<u8> {
        self.deflater.finish(&mut self.deflated);
        crate::deflate::tests::inflate(&self.deflated).expect("deflated here")
    }
}

/// A sink that remembers the hash of what it passes on.
pub(super) struct Hashed<'a> {
    sink: &'a mut dyn Sink,
    sha256: Sha256,
}

impl<'a> Hashed<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink) -> Self {
        Hashed { sink, sha256: Sha256::new() }
    }

    pub(super) fn sha256(self) -> [u8; 32] {
        self.sha256.finalize().into()
    }
}

impl Sink for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.sha256.update(bytes);
        self.sink.write(bytes)
    }
}

/// Gives the same bytes each time it is asked, so that a second run has the vector of the first.
struct Again([u8; BLOCK_BYTES]);

impl Entropy for Again {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

/// A resource, and all that its ciphertext depends on.
struct Encryption<'a> {
    plain: Plain<'a>,
    method: Method,
    vector: [u8; BLOCK_BYTES],
    key: &'a ContentKey,
}

/// What a first run has shown.
struct Measured {
    crc32: u32,
    bytes: u64,
    /// Of what was encrypted: deflated, if it was.
    plain_bytes: u64,
    /// The ciphertext, if it is small.
    kept: Option<Vec<u8>>,
}

/// What is needed for every resource, and kept from one to the next.
struct Scratch {
    deflater: Deflater,
    deflated: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Encryption<'_> {
    fn measure(&self, scratch: &mut Scratch) -> Result<Measured, ProtectError> {
        let (mut crc32, mut bytes, mut kept) = (crc32fast::Hasher::new(), 0, Some(Vec::new()));
        let plain_bytes = self.run(scratch, &mut |ciphertext| {
            crc32.update(ciphertext);
            bytes += ciphertext.len() as u64;
            match &mut kept {
                Some(small) if small.len() + ciphertext.len() <= KEPT_BYTES_MAX => small.extend_from_slice(ciphertext),
                kept => *kept = None,
            }
            Ok(())
        })?;
        Ok(Measured { crc32: crc32.finalize(), bytes, plain_bytes, kept })
    }

    /// Deflates and encrypts, and shows the ciphertext to `see`. Returns how many bytes were encrypted.
    fn run(
        &self,
        scratch: &mut Scratch,
        see: &mut dyn FnMut(&[u8]) -> Result<(), ProtectError>,
    ) -> Result<u64, ProtectError> {
        let Scratch { deflater, deflated, ciphertext } = scratch;
        ciphertext.clear();
        let mut plain_bytes = 0;
        let mut encryptor = Encryptor::new(self.key.expose(), &mut Again(self.vector), ciphertext);
        self.plain.pieces(&mut |piece| {
            let piece = match self.method {
                Method::Stored => piece,
                Method::Deflated => {
                    deflated.clear();
                    deflater.update(piece, deflated);
                    deflated.as_slice()
                }
            };
            plain_bytes += piece.len() as u64;
            encryptor.update(piece, ciphertext);
            see(ciphertext)?;
            ciphertext.clear();
            Ok(())
        })?;
        if self.method == Method::Deflated {
            deflated.clear();
            deflater.finish(deflated);
            plain_bytes += deflated.len() as u64;
            encryptor.update(deflated, ciphertext);
        }
        encryptor.finish(ciphertext);
        see(ciphertext)?;
        Ok(plain_bytes)
    }

    /// Runs again, with the data of an entry that has begun. The bytes must be those of the first run.
    fn repeat(
        &self,
        path: &str,
        first: &Measured,
        writer: &mut Writer<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), ProtectError> {
        let changed = || ProtectError::Changed(path.to_owned());
        let (mut crc32, mut left) = (crc32fast::Hasher::new(), first.bytes);
        self.run(scratch, &mut |ciphertext| {
            left = left.checked_sub(ciphertext.len() as u64).ok_or_else(changed)?;
            crc32.update(ciphertext);
            Ok(writer.write(ciphertext)?)
        })?;
        if left == 0 && crc32.finalize() == first.crc32 { Ok(()) } else { Err(changed()) }
    }
}

/// A package that is being written.
pub(super) struct Output<'a> {
    writer: Writer<'a>,
    key: &'a ContentKey,
    entropy: &'a mut dyn Entropy,
    scratch: Scratch,
}

impl<'a> Output<'a> {
    pub(super) fn new(writer: Writer<'a>, key: &'a ContentKey, entropy: &'a mut dyn Entropy) -> Self {
        let scratch = Scratch { deflater: Deflater::new(), deflated: Vec::new(), ciphertext: Vec::new() };
        Output { writer, key, entropy, scratch }
    }

    pub(super) fn finish(self) -> Result<Directory, SinkError> {
        self.writer.finish()
    }

    /// Adds a resource, encrypted.
    pub(super) fn encrypt(
        &mut self,
        path: &str,
        plain: Plain<'_>,
        compression: Compression,
    ) -> Result<Encrypted, ProtectError> {
        // Nothing has no smaller form, and readers tell its length wrongly if it is deflated: they take a length of zero for one that is not given.
        let as_it_is = compression == Compression::Never || plain.len() == 0;
        let method = if as_it_is { Method::Stored } else { Method::Deflated };
        let mut encryption = Encryption { plain, method, vector: self.vector(), key: self.key };
        let mut measured = encryption.measure(&mut self.scratch)?;
        let worth = plain.len() - plain.len() / 10;
        if compression == Compression::IfSmaller && measured.plain_bytes >= worth {
            encryption = Encryption { method: Method::Stored, vector: self.vector(), ..encryption };
            measured = encryption.measure(&mut self.scratch)?;
        }
        let (crc32, size) = (measured.crc32, measured.bytes);
        self.writer.begin(&NewEntry { crc32, compressed: size, size, ..NewEntry::stored(path, &[]) })?;
        match &measured.kept {
            Some(kept) => self.writer.write(kept)?,
            None => encryption.repeat(path, &measured, &mut self.writer, &mut self.scratch)?,
        }
        Ok(Encrypted { path: path.to_owned(), compression: encryption.method, original_length: plain.len() })
    }

    fn vector(&mut self) -> [u8; BLOCK_BYTES] {
        let mut vector = [0; BLOCK_BYTES];
        self.entropy.fill(&mut vector);
        vector
    }

    /// Adds an entry of the source as it is kept there, after it was proved to be what it claims.
    pub(super) fn copy(&mut self, archive: &Archive<'_>, entry: &Entry) -> Result<(), ProtectError> {
        let mut proof = archive.read(entry)?;
        while proof.piece()?.is_some() {}
        self.writer.begin(&NewEntry {
            name: entry.name(),
            utf8: false,
            method: entry.method(),
            crc32: entry.crc32(),
            compressed: entry.compressed(),
            size: entry.size(),
        })?;
        let mut stored = archive.read_stored(entry)?;
        while let Some(piece) = stored.piece()? {
            self.writer.write(piece)?;
        }
        Ok(())
    }

    /// Adds what is in memory, as it is.
    pub(super) fn store(&mut self, path: &str, bytes: &[u8]) -> Result<(), ProtectError> {
        Ok(self.writer.add(&NewEntry::stored(path, bytes), bytes)?)
    }

    /// Adds a document.
    pub(super) fn document(&mut self, path: &str, document: Document) -> Result<(), ProtectError> {
        let Document { mut deflater, mut deflated, crc32, size } = document;
        deflater.finish(&mut deflated);
        let entry = NewEntry {
            method: Method::Deflated,
            crc32: crc32.finalize(),
            compressed: deflated.len() as u64,
            size,
            ..NewEntry::stored(path, &[])
        };
        Ok(self.writer.add(&entry, &deflated)?)
    }
}
