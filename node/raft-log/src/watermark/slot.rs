//! The two slots of the watermark: files that are overwritten in turn, so that a torn write leaves the other one.
//!
//! Byte table: `docs/formats/raft-log.md`.

use super::Promise;
use crate::error::OpenError;
use crate::folder::{io_at, sync_dir};
use crate::row::{Reach, crc_of};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use types::{GroupId, LogIndex, ReplicaId, Term};

const MAGIC: [u8; 8] = *b"SAGOWMRK";
const VERSION: u32 = 1;
/// `magic:8 | version:4 | sequence:8 | count:4`.
const HEAD_BYTES: usize = 24;
/// `group:4 | term:8 | vote:8 | rewrites:8 | reached term:8 | reached index:8`.
const PROMISE_BYTES: usize = 44;
const CRC_BYTES: usize = 4;
const _: () = assert!(HEAD_BYTES == 8 + 4 + 8 + 4);
const _: () = assert!(PROMISE_BYTES == 4 + 5 * 8);

/// The largest slot there can be: one promise for every possible group.
const SLOT_BYTES_MAX: usize = HEAD_BYTES + GroupId::LIMIT as usize * PROMISE_BYTES + CRC_BYTES;

/// Everything promised, by group.
pub(crate) type Promises = BTreeMap<GroupId, Promise>;

/// The slot files, open for writing.
pub(crate) struct Slots {
    files: [File; 2],
    /// The sequence number of the newest slot; its parity names the file.
    sequence: u64,
}

impl Slots {
    /// Opens the slots for writing and writes both, so that neither is older than what is known now.
    pub(crate) fn create(root: &Path, sequence: u64, promises: &Promises) -> Result<Slots, OpenError> {
        let open = |slot: u64| {
            let path = slot_path(root, slot);
            File::options().create(true).truncate(false).write(true).open(&path).map_err(io_at(&path))
        };
        let mut slots = Slots { files: [open(0)?, open(1)?], sequence };
        for _ in 0..2 {
            slots.write(promises).map_err(io_at(root))?;
        }
        sync_dir(root)?;
        Ok(slots)
    }

    /// Overwrites the older slot and flushes it.
    pub(crate) fn write(&mut self, promises: &Promises) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let file = &self.files[(sequence % 2) as usize];
        file.write_all_at(&encode(sequence, promises), 0)?;
        file.sync_data()?;
        self.sequence = sequence;
        Ok(())
    }
}

/// A slot that can be read: its sequence number and what it says.
pub(crate) type Slot = (u64, Promises);

/// The newest readable slot of a folder; `None` if there is none.
pub(crate) fn read(root: &Path) -> Result<Option<Slot>, OpenError> {
    Ok(newest(read_slots(root)?))
}

/// Both slots of a folder; `None` for one that cannot be read.
pub(crate) fn read_slots(root: &Path) -> Result<[Option<Slot>; 2], OpenError> {
    Ok([read_slot(&slot_path(root, 0))?, read_slot(&slot_path(root, 1))?])
}

/// The one of two slots that counts.
pub(crate) fn newest(slots: [Option<Slot>; 2]) -> Option<Slot> {
    slots.into_iter().flatten().max_by_key(|(sequence, _)| *sequence)
}

/// The file of a slot.
pub(crate) fn slot_path(root: &Path, slot: u64) -> PathBuf {
    root.join(format!("WATERMARK-{slot}"))
}

fn read_slot(path: &Path) -> Result<Option<(u64, Promises)>, OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(SLOT_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(io_at(path))?;
    Ok(decode(&bytes))
}

fn encode(sequence: u64, promises: &Promises) -> Vec<u8> {
    let count = u32::try_from(promises.len()).expect("a group number has 20 bits");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + promises.len() * PROMISE_BYTES + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    for (group, promise) in promises {
        let Promise { term, vote, rewrites, reach } = promise;
        bytes.extend_from_slice(&group.0.to_be_bytes());
        for number in [term.0, vote.0, *rewrites, reach.term.0, reach.index.0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
    let crc = crc_of(&[&bytes]);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// Decodes a slot; the file may be longer than what was written last.
fn decode(bytes: &[u8]) -> Option<(u64, Promises)> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let count = u32::from_be_bytes(*head.last_chunk()?);
    if head[..8] != MAGIC || head[8..12] != VERSION.to_be_bytes() || count > GroupId::LIMIT {
        return None;
    }
    let end = HEAD_BYTES + count as usize * PROMISE_BYTES;
    let (covered, crc) = (bytes.get(..end)?, bytes.get(end..end + CRC_BYTES)?);
    if crc_of(&[covered]).to_be_bytes() != crc {
        return None;
    }
    let promises = covered[HEAD_BYTES..].chunks_exact(PROMISE_BYTES).map(decode_promise).collect::<Option<_>>()?;
    Some((u64::from_be_bytes(*head[12..].first_chunk()?), promises))
}

fn decode_promise(row: &[u8]) -> Option<(GroupId, Promise)> {
    let (group, numbers) = row.split_first_chunk::<4>()?;
    let mut numbers = numbers.chunks_exact(8).filter_map(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
    let mut next = || numbers.next();
    let promise = Promise {
        term: Term(next()?),
        vote: ReplicaId(next()?),
        rewrites: next()?,
        reach: Reach { term: Term(next()?), index: LogIndex(next()?) },
    };
    Some((GroupId(u32::from_be_bytes(*group)), promise))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises(seed: u64, count: u32) -> Promises {
        let promise = |group: u32| Promise {
            term: Term(seed),
            vote: ReplicaId(2),
            rewrites: 1,
            reach: Reach { term: Term(seed), index: LogIndex(100 + u64::from(group)) },
        };
        (0..count).map(|group| (GroupId(group), promise(group))).collect()
    }

    #[test]
    fn layout_is_that_of_the_format_page() {
        let bytes = encode(3, &promises(1, 1));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let head = "5341474f574d524b00000001000000000000000300000001";
        let promise = "0000000000000000000000010000000000000002000000000000000100000000000000010000000000000064";
        assert_eq!(hex, format!("{head}{promise}1cb9fcd1"));
        assert_eq!(bytes.len(), HEAD_BYTES + PROMISE_BYTES + CRC_BYTES);
    }

    #[test]
    fn a_slot_comes_back_and_any_flip_or_cut_is_found() {
        let bytes = encode(3, &promises(1, 3));
        assert_eq!(decode(&bytes), Some((3, promises(1, 3))));
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at]), None);
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&bad), None, "flip at {at}");
        }
        assert_eq!(decode(&[bytes, vec![9; 50]].concat()), Some((3, promises(1, 3))));
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path();
        assert_eq!(read(root).expect("readable"), None);
        let mut slots = Slots::create(root, 0, &Promises::new()).expect("slots");
        slots.write(&promises(1, 2)).expect("write");
        slots.write(&promises(2, 5)).expect("write");
        assert_eq!(read(root).expect("readable"), Some((4, promises(2, 5))));
        let newest = slot_path(root, 0);
        let bytes = std::fs::read(&newest).expect("slot");
        for cut in 0..bytes.len() {
            std::fs::write(&newest, &bytes[..cut]).expect("cut");
            assert_eq!(read(root).expect("readable"), Some((3, promises(1, 2))));
        }
    }
}
