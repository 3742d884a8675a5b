//! Finds, before RocksDB opens a database, the damage that RocksDB would loop over for ever.
//!
//! One flipped bit can turn the type of a record in a write-ahead log or a `MANIFEST` into its *recyclable* twin
//! (for example 1 into 5). Since RocksDB 9.3 the reader then returns "bad record" without moving on, and `DB::Open` spins
//! on the same seven bytes for ever (facebook/rocksdb issue 13333, present in 11.8.1). A node that hangs at its start
//! tells nobody that its disk is rotten; so every crate that opens RocksDB asks [`check_folder`] first.
//!
//! We never recycle write-ahead logs, so no such record is ever written: finding one where the reader would look is damage.
//! Everything else that may be wrong with a file is left to RocksDB, which notices. The walk follows the reader's own steps,
//! so that bytes which the reader would skip are skipped here too.
//!
//! It belongs to no layer: it imports nothing of ours and knows no RocksDB crate, only its file format
//! (`db/log_format.h`): blocks of 32 KiB, in them records `crc:4 | length:2 | type:1 | data`, little-endian.
#![forbid(unsafe_code)]

use crc_fast::{CrcAlgorithm, Digest};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The format's block: no record crosses its border.
const BLOCK_BYTES: usize = 32 << 10;
/// `crc:4 | length:2 | type:1`.
const HEADER_BYTES: usize = 7;
/// RocksDB stores checksums rotated and shifted by this, so that a checksum of data with checksums in it stays a good one.
const CRC_MASK_DELTA: u32 = 0xa282_ead8;

/// Why a database must not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record's type was changed after it was written.
    #[error("{path} is corrupt: the record at byte {offset} has a type that was never written")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where its record begins.
        offset: u64,
    },
}

/// Reads all write-ahead logs and manifests of a database's folder once. A missing folder is no error.
///
/// Takes the memory of one block. The files must not be written meanwhile: call it before RocksDB opens the folder.
///
/// # Errors
/// [`CheckError`]: do not open it.
pub fn check_folder(db: &Path) -> Result<(), CheckError> {
    let failed = |source| CheckError::Io { path: db.to_owned(), source };
    let entries = match std::fs::read_dir(db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".log") || name.starts_with("MANIFEST-") {
            let found = File::open(&path).and_then(find_recyclable);
            match found.map_err(|source| CheckError::Io { path: path.clone(), source })? {
                None => {}
                Some(offset) => return Err(CheckError::Corrupt { path, offset }),
            }
        }
    }
    Ok(())
}

/// Where the first record of a recyclable type begins that RocksDB's reader would come upon.
fn find_recyclable(mut file: impl Read) -> io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut offset = 0;
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if let Some(at) = find_in_block(&block) {
            return Ok(Some(offset + at as u64));
        }
        offset += block.len() as u64;
        if block.len() < BLOCK_BYTES {
            return Ok(None);
        }
    }
}

fn find_in_block(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some((header, rest)) = block[at..].split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, d, low, high, kind] = *header;
        if is_recyclable(kind) {
            return Some(at);
        }
        let data = rest.get(..usize::from(u16::from_le_bytes([low, high])))?;
        if masked_crc(kind, data) != u32::from_le_bytes([a, b, c, d]) {
            // The reader drops the rest of a block whose record does not match: its length cannot be trusted.
            return None;
        }
        at += HEADER_BYTES + data.len();
    }
    None
}

/// The recyclable twins of the types full, first, middle, last, timestamp size and predecessor.
fn is_recyclable(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

fn masked_crc(kind: u8, data: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&[kind]);
    digest.update(data);
    let crc = u32::try_from(digest.finalize()).expect("a CRC-32 has 32 bits");
    crc.rotate_right(15).wrapping_add(CRC_MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).expect("short").to_le_bytes();
        [&masked_crc(kind, data).to_le_bytes()[..], &len, &[kind], data].concat()
    }

    fn find(bytes: &[u8]) -> Option<u64> {
        find_recyclable(bytes).expect("memory can be read")
    }

    #[test]
    fn a_sound_log_and_a_torn_one_pass() {
        let log = [record(1, b"one"), record(2, b"two"), record(4, b"three")].concat();
        for cut in 0..=log.len() {
            assert_eq!(find(&log[..cut]), None);
        }
        assert_eq!(find(&[log, vec![0; 100]].concat()), None);
    }

    #[test]
    fn a_type_that_became_recyclable_is_found_wherever_the_reader_looks() {
        let first = record(1, b"one");
        let mut second = record(1, b"two");
        second[6] = 5;
        assert_eq!(find(&[first.clone(), second.clone()].concat()), Some(first.len() as u64));
        let padding = record(1, &vec![7; BLOCK_BYTES - HEADER_BYTES - 3]);
        let next_block = [padding, vec![0; 3], second.clone()].concat();
        assert_eq!(find(&next_block), Some(BLOCK_BYTES as u64));
        let mut damaged = first;
        damaged[8] ^= 1;
        assert_eq!(find(&[damaged, second].concat()), None, "the reader never gets there");
    }

    #[test]
    fn all_logs_of_a_folder_are_read_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut bad = record(1, b"one");
        bad[6] = 5;
        std::fs::write(dir.path().join("000004.sst"), &bad).expect("written");
        std::fs::write(dir.path().join("000005.log"), record(1, b"one")).expect("written");
        assert!(check_folder(dir.path()).is_ok() && check_folder(&dir.path().join("none")).is_ok());
        std::fs::write(dir.path().join("MANIFEST-000001"), &bad).expect("written");
        assert!(matches!(check_folder(dir.path()), Err(CheckError::Corrupt { offset: 0, .. })));
    }
}
