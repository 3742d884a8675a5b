//! Disks as a power cut could have left them.

use super::memory::{MemoryDisk, Op};
use crate::record::{BLOCK_BYTES, HEADER_BYTES, Header, Place, Tag};
use crate::segment::{RECORDS_AT, number_of};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const SECTOR: usize = 512;

/// What is left of the writes that were not flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Torn {
    /// Nothing, and nothing of creations and removals that were not flushed either.
    Dropped,
    /// All.
    Kept,
    /// Of the last write the first bytes.
    Prefix(usize),
    /// Of the last write all but the first bytes.
    Suffix(usize),
    /// Of the last write some sectors.
    Sectors(u64),
}

impl Torn {
    /// Ways to tear a write of `len` bytes: every sector border near both ends and some between, and sectors at random.
    pub(super) fn variants(len: usize, seed: u64) -> Vec<Torn> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sectors = len / SECTOR;
        let mut borders: Vec<usize> = vec![1, 7, 8, sectors.saturating_sub(8), sectors - 1];
        borders.extend((0..4).map(|_| rng.random_range(1..sectors)));
        borders.retain(|border| (1..sectors).contains(border));
        borders.sort_unstable();
        borders.dedup();
        let prefixes = borders.iter().map(|border| Torn::Prefix(border * SECTOR));
        let suffixes = borders.iter().map(|border| Torn::Suffix(border * SECTOR));
        let random = (0..2).map(|n| Torn::Sectors(seed * 16 + n));
        prefixes.chain(suffixes).chain(random).collect()
    }

    fn keeps(&self, len: usize) -> Vec<bool> {
        let sectors = len / SECTOR;
        match self {
            Torn::Dropped => vec![false; sectors],
            Torn::Kept => vec![true; sectors],
            Torn::Prefix(bytes) => (0..sectors).map(|sector| sector * SECTOR < *bytes).collect(),
            Torn::Suffix(bytes) => (0..sectors).map(|sector| sector * SECTOR >= *bytes).collect(),
            Torn::Sectors(seed) => {
                let mut rng = ChaCha8Rng::seed_from_u64(*seed);
                (0..sectors).map(|_| rng.random_bool(0.5)).collect()
            }
        }
    }
}

/// The files of a disk after a cut.
pub(super) struct Image {
    files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// The disk after a power cut behind the first `cut` operations.
    pub(super) fn at(ops: &[Op], cut: usize, torn: &Torn) -> Image {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (number, op) in ops[..cut].iter().enumerate() {
            let later = &ops[number + 1..cut];
            let folder_flushed = later.contains(&Op::SyncFolder) || *torn != Torn::Dropped;
            match op {
                Op::Create { name, len } if folder_flushed => drop(files.insert(name.clone(), vec![0; *len as usize])),
                Op::Remove { name } if folder_flushed => drop(files.remove(name)),
                Op::Truncate { name, len } => drop(files.get_mut(name).map(|file| file.truncate(*len as usize))),
                Op::Write { name, offset, bytes } => {
                    let flushed = later.iter().any(|op| matches!(op, Op::Sync { name: synced } if synced == name));
                    let keeps = match (flushed, number + 1 == cut) {
                        (true, _) => Torn::Kept,
                        (false, true) => torn.clone(),
                        (false, false) if *torn == Torn::Dropped => Torn::Dropped,
                        (false, false) => Torn::Kept,
                    };
                    if let Some(file) = files.get_mut(name) {
                        write(&mut file[*offset as usize..], bytes, &keeps.keeps(bytes.len()));
                    }
                }
                Op::Create { .. } | Op::Remove { .. } | Op::Sync { .. } | Op::SyncFolder => {}
            }
        }
        Image { files }
    }

    pub(super) fn disk(&self) -> MemoryDisk {
        MemoryDisk::with(self.files.clone())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// All whole records, by walking from one to the next.
    pub(super) fn records(&self) -> Vec<(String, Header)> {
        self.records_of(&super::workload::TAG)
    }

    /// The same for a disk with another tag.
    pub(super) fn records_of(&self, tag: &Tag) -> Vec<(String, Header)> {
        let mut records = Vec::new();
        for (name, bytes) in &self.files {
            let segment = number_of(name).expect("only segments are here");
            let mut offset = RECORDS_AT;
            while let Some(block) = bytes.get(offset as usize..(offset + BLOCK_BYTES) as usize) {
                let head = block.first_chunk::<HEADER_BYTES>().expect("a block is longer");
                let Some(header) = Header::decode(head, tag, Place { segment, offset }) else {
                    break;
                };
                offset += header.record_bytes();
                records.push((name.clone(), header));
            }
        }
        records
    }
}

fn write(file: &mut [u8], bytes: &[u8], keeps: &[bool]) {
    for (sector, (piece, keep)) in bytes.chunks(SECTOR).zip(keeps).enumerate() {
        if *keep {
            file[sector * SECTOR..sector * SECTOR + piece.len()].copy_from_slice(piece);
        }
    }
}
