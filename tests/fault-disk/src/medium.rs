//! The disk itself: a volatile cache over a medium, and what may be wrong with both. No kernel here.

use crate::counts::Counts;
use crate::faults::{Faults, Landing, SyncFault, touches};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;
/// Bytes that a flush writes at once.
const RUN_BYTES_MAX: usize = 1 << 20;

type Sector = [u8; SECTOR_BYTES as usize];

/// What a power cut leaves of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing: the disk has written nothing on its own.
    Nothing,
    /// Each sector with this chance, independently, as the seed decides.
    Share {
        /// Decides.
        seed: u64,
        /// 0 to 100.
        percent: u8,
    },
}

/// What a power cut did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Unflushed sectors that reached the medium all the same.
    pub kept: u64,
    /// Unflushed sectors that are gone.
    pub lost: u64,
}

/// Opened before or after which power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u64);

/// The disk.
pub(crate) struct Medium {
    file: File,
    bytes: u64,
    cache: BTreeMap<u64, Sector>,
    generation: Generation,
    pub(crate) faults: Faults,
    counts: Counts,
}

/// What the disk answers to a request that it does not carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Refused
    }
}

impl Medium {
    /// A disk over a file of whole sectors, in order and with an empty cache.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len() / SECTOR_BYTES * SECTOR_BYTES;
        let (cache, faults, counts) = (BTreeMap::new(), Faults::default(), Counts::default());
        Ok(Self { file, bytes, cache, generation: Generation(1), faults, counts })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts { volatile: self.cache.len() as u64, ..self.counts }
    }

    /// Reads what was written, flushed or not.
    pub(crate) fn read(&mut self, by: Generation, offset: u64, len: u64) -> Result<Vec<u8>, Refused> {
        self.counts.reads += 1;
        let len = len.min(self.bytes.saturating_sub(offset));
        if by != self.generation || touches(&self.faults.read_errors, offset, len) {
            return Err(self.refuse());
        }
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        for (number, sector) in self.cache.range(offset / SECTOR_BYTES..(offset + len).div_ceil(SECTOR_BYTES)) {
            overlay(&mut bytes, offset, number * SECTOR_BYTES, sector);
        }
        for (at, mask) in self.faults.flips.range(offset..offset + len) {
            bytes[(at - offset) as usize] ^= mask;
        }
        if let Some((at, mask)) = self.faults.flip(offset, len) {
            bytes[(at - offset) as usize] ^= mask;
            self.counts.flipped += 1;
        }
        Ok(bytes)
    }

    /// Takes a write into the cache.
    pub(crate) fn write(&mut self, by: Generation, offset: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.counts.writes += 1;
        let len = bytes.len() as u64;
        if by != self.generation || touches(&self.faults.write_errors, offset, len) || offset + len > self.bytes {
            return Err(self.refuse());
        }
        let landing = self.faults.landing(offset, len);
        self.counts.strays += u64::from(landing != Landing::Right);
        match landing {
            Landing::Right => self.store(offset, bytes),
            Landing::Nowhere => Ok(()),
            Landing::At(to) => self.store(to, bytes),
        }
    }

    fn store(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Refused> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (number, within) = (at / SECTOR_BYTES, (at % SECTOR_BYTES) as usize);
            let part = (SECTOR_BYTES as usize - within).min(bytes.len() - done);
            let whole = part == SECTOR_BYTES as usize;
            let mut sector = match self.cache.get(&number) {
                Some(sector) => *sector,
                None if whole => [0; SECTOR_BYTES as usize],
                None => self.on_medium(number)?,
            };
            sector[within..within + part].copy_from_slice(&bytes[done..done + part]);
            self.cache.insert(number, sector);
            done += part;
        }
        Ok(())
    }

    /// Makes everything durable that was written before.
    pub(crate) fn sync(&mut self, by: Generation) -> Result<(), Refused> {
        self.counts.syncs += 1;
        if by != self.generation {
            return Err(self.refuse());
        }
        match self.faults.sync {
            SyncFault::Lie => Ok(()),
            SyncFault::Fail { times, drop } if times > 0 => {
                self.faults.sync = SyncFault::Fail { times: times - 1, drop };
                if drop {
                    self.cache.clear();
                }
                Err(self.refuse())
            }
            SyncFault::None | SyncFault::Fail { .. } => {
                let cache = std::mem::take(&mut self.cache);
                Ok(self.settle(cache)?)
            }
        }
    }

    /// The power goes: the cache is lost but for what `kept` says, every handle is dead, and what was wrong with the electronics is
    /// over (rot stays). Whoever opens the disk next finds it with power.
    pub(crate) fn cut(&mut self, kept: Kept) -> io::Result<Lost> {
        self.generation.0 += 1;
        self.faults = Faults::default();
        let cache = std::mem::take(&mut self.cache);
        let all = cache.len() as u64;
        let survivors = match kept {
            Kept::Nothing => BTreeMap::new(),
            Kept::Share { seed, percent } => {
                let mut rng = StdRng::seed_from_u64(seed);
                cache.into_iter().filter(|_| rng.random_range(0..100) < percent).collect()
            }
        };
        let kept = survivors.len() as u64;
        self.settle(survivors)?;
        Ok(Lost { kept, lost: all - kept })
    }

    /// Changes bytes on the medium behind everybody's back.
    pub(crate) fn rot(&mut self, at: u64, mask: u8) -> io::Result<()> {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at)?;
        self.file.write_all_at(&[byte[0] ^ mask], at)?;
        if let Some(sector) = self.cache.get_mut(&(at / SECTOR_BYTES)) {
            sector[(at % SECTOR_BYTES) as usize] ^= mask;
        }
        Ok(())
    }

    fn on_medium(&self, number: u64) -> io::Result<Sector> {
        let mut sector = [0; SECTOR_BYTES as usize];
        self.file.read_exact_at(&mut sector, number * SECTOR_BYTES)?;
        Ok(sector)
    }

    /// Writes sectors to the medium, neighbours together.
    fn settle(&mut self, sectors: BTreeMap<u64, Sector>) -> io::Result<()> {
        let mut run: (u64, Vec<u8>) = (0, Vec::new());
        for (number, sector) in sectors {
            let follows = number * SECTOR_BYTES == run.0 + run.1.len() as u64;
            if !follows || run.1.len() >= RUN_BYTES_MAX {
                self.file.write_all_at(&run.1, run.0)?;
                run = (number * SECTOR_BYTES, Vec::new());
            }
            run.1.extend_from_slice(&sector);
        }
        self.file.write_all_at(&run.1, run.0)
    }

    fn refuse(&mut self) -> Refused {
        self.counts.errors += 1;
        Refused
    }
}

/// Copies the part of a sector that lies in `bytes`, which begin at `offset`.
fn overlay(bytes: &mut [u8], offset: u64, sector_at: u64, sector: &Sector) {
    let from = offset.max(sector_at);
    let to = (offset + bytes.len() as u64).min(sector_at + SECTOR_BYTES);
    if from < to {
        let target = (from - offset) as usize..(to - offset) as usize;
        bytes[target].copy_from_slice(&sector[(from - sector_at) as usize..(to - sector_at) as usize]);
    }
}

#[cfg(test)]
mod tests;
