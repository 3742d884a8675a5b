//! The chunk store of a node: records that are flushed or not, torn by a power cut, rotten, lost or written over.
//!
//! A record carries its own hash, as that of the real store does. What was not known to be flushed is checked at the next start.

use crate::random::Random;
use bytes::Bytes;
use chunk_core::read::Piece;
use proto::chunk::{ChunkError, ListedChunk};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use types::{Blake3Root, ChunkId, ChunkIdParts, ChunkRef, GroupId, SessionId, Slot, WriterEpoch};

/// The unit of which a power cut leaves all or nothing.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
struct Record {
    root: Blake3Root,
    len: u32,
    data: Bytes,
    /// The hash that the data really has.
    found: Blake3Root,
    /// Whether it is on the medium; a disk that lies has it in its cache only.
    durable: bool,
}

impl Record {
    fn new(root: Blake3Root, data: Bytes) -> Record {
        let mut record = Record { root, len: data.len() as u32, data: Bytes::new(), found: root, durable: true };
        record.overwrite(data);
        record
    }

    fn is_good(&self) -> bool {
        self.found == self.root
    }

    fn overwrite(&mut self, data: Bytes) {
        self.found = types::root_of(&data, &types::leaves_of(&data));
        self.data = data;
    }
}

/// What is to become of a chunk that is being flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// It is written.
    Honest,
    /// It is said to be written and lies in the disk's cache.
    Lied,
    /// It is said to be written and is nowhere.
    Lost,
    /// It is written over that one.
    Misdirected(ChunkId),
}

/// A chunk that was deleted: its id cannot be written again.
struct Tombstone {
    /// What comes back if the tombstone lies in a disk's cache only and its power goes.
    buried: Option<Record>,
    durable: bool,
}

/// What a power cut did to chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Records of which some sectors are there.
    pub torn: u64,
    /// Flushed records that are gone, for the disk had lied.
    pub forgotten: u64,
    /// Deleted chunks that are back, for the disk had lied.
    pub back: u64,
}

/// The chunks of a node.
#[derive(Default)]
pub struct ChunkStore {
    records: BTreeMap<ChunkId, Record>,
    /// Being written.
    pending: BTreeMap<ChunkId, Record>,
    tombstones: BTreeMap<ChunkId, Tombstone>,
}

impl ChunkStore {
    /// Takes a chunk that is to be flushed.
    ///
    /// # Errors
    /// It does not have its hash, the id is taken by other bytes, or it was deleted.
    pub fn put(&mut self, chunk: ChunkId, root: Blake3Root, data: Bytes) -> Result<(), ChunkError> {
        let record = Record::new(root, data);
        if !record.is_good() {
            return Err(ChunkError::HashMismatch);
        }
        if self.tombstones.contains_key(&chunk) {
            return Err(ChunkError::Deleted);
        }
        if self.records.get(&chunk).is_some_and(|there| there.root != root) {
            return Err(ChunkError::Conflict);
        }
        self.pending.insert(chunk, record);
        Ok(())
    }

    /// The flush of a chunk has ended. Whether a copy that will stay is there because of it: a second put of what one flush has dealt with writes nothing.
    pub fn flushed(&mut self, chunk: ChunkId, flush: Flush) -> bool {
        let Some(mut record) = self.pending.remove(&chunk) else { return false };
        match flush {
            Flush::Honest => {}
            Flush::Lied => record.durable = false,
            Flush::Lost => return false,
            Flush::Misdirected(victim) => {
                if let Some(victim) = self.records.get_mut(&victim) {
                    victim.overwrite(record.data);
                }
                return false;
            }
        }
        // A copy that is there stays, unless it is damaged.
        let there = self.records.get(&chunk).is_some_and(|there| there.is_good() && (there.durable || !record.durable));
        let stays = record.durable;
        if !there {
            self.records.insert(chunk, record);
        }
        stays
    }

    /// Deletes a chunk for good, be it there, being written or neither. A disk that `lies` keeps nothing of that once its power goes.
    pub fn delete(&mut self, chunk: ChunkId, lies: bool) {
        self.pending.remove(&chunk);
        let buried = self.records.remove(&chunk).filter(|_| lies);
        let fresh = Tombstone { buried, durable: !lies };
        self.tombstones.entry(chunk).or_insert(fresh);
    }

    /// Up to `max` chunks with ids greater than `after`, in order.
    #[must_use]
    pub fn list(&self, after: Option<ChunkId>, max: usize) -> Vec<ChunkId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range((from, Bound::Unbounded)).map(|(chunk, _)| *chunk).take(max).collect()
    }

    /// Slots of which there are chunks.
    #[must_use]
    pub fn slots(&self) -> BTreeSet<Slot> {
        self.records.keys().map(|chunk| chunk.slot()).collect()
    }

    /// What is known of up to `max` chunks of a slot with ids greater than `after`, in order; the deleted ones among them.
    #[must_use]
    pub fn known(&self, slot: Slot, after: Option<ChunkId>, max: usize) -> Vec<ListedChunk> {
        let (first, last) = ids_of(slot);
        let range = (after.map_or(Bound::Included(first), Bound::Excluded), Bound::Included(last));
        let live = self.records.range(range).take(max);
        let live = live.map(|(chunk, record)| ListedChunk { chunk: *chunk, live: Some((record.len, record.root)) });
        let dead = self.tombstones.range(range).take(max).map(|(chunk, _)| ListedChunk { chunk: *chunk, live: None });
        let mut known: Vec<ListedChunk> = live.chain(dead).collect();
        known.sort_unstable_by_key(|row| row.chunk);
        known.truncate(max);
        known
    }

    /// Length and hash of a chunk, by what stands beside it.
    #[must_use]
    pub fn stat(&self, chunk: ChunkId) -> Option<(u32, Blake3Root)> {
        self.records.get(&chunk).map(|record| (record.len, record.root))
    }

    /// Takes a chunk off the disk as if it had never been there; it may be put again.
    pub fn forget(&mut self, chunk: ChunkId) {
        self.records.remove(&chunk);
    }

    /// Chunks there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// Whether the medium holds exactly the bytes that a reference means. The record's own hash says nothing of that: a copy that was
    /// made of the wrong bytes has a hash that fits them.
    #[must_use]
    pub fn holds(&self, chunk: &ChunkRef) -> bool {
        let record = self.records.get(&chunk.id);
        record.is_some_and(|record| {
            record.durable && (record.root, record.len) == (chunk.root, chunk.len) && record.is_good()
        })
    }

    /// Whether a chunk is on the medium, and good by the hash that stands beside it.
    #[must_use]
    pub fn has_good(&self, chunk: ChunkId) -> bool {
        self.records.get(&chunk).is_some_and(|record| record.durable && record.is_good())
    }

    /// Whether there is a record of a chunk that seems to be flushed.
    #[must_use]
    pub fn has(&self, chunk: ChunkId) -> bool {
        self.records.contains_key(&chunk)
    }

    /// Whether a chunk was deleted here.
    #[must_use]
    pub fn is_deleted(&self, chunk: ChunkId) -> bool {
        self.tombstones.contains_key(&chunk)
    }

    /// One of the chunks, chosen by `dice`.
    #[must_use]
    pub fn any(&self, dice: u64) -> Option<ChunkId> {
        let count = self.records.len() as u64;
        self.records.keys().nth(if count == 0 { 0 } else { (dice % count) as usize }).copied()
    }

    /// What it says to a read: the bytes it has, right or not; the reader checks.
    ///
    /// # Errors
    /// It has none.
    pub fn read(&self, chunk: ChunkId) -> Result<Piece, ChunkError> {
        let missing = || if self.tombstones.contains_key(&chunk) { ChunkError::Deleted } else { ChunkError::NotFound };
        let record = self.records.get(&chunk).ok_or_else(missing)?;
        let data = record.data.clone();
        Ok(Piece { first_leaf: 0, chunk_len: data.len() as u32, leaves: types::leaves_of(&data), data })
    }

    /// Changes a bit of a chunk; false if it has none of that id.
    pub fn rot(&mut self, chunk: ChunkId, random: &mut Random) -> bool {
        let Some(record) = self.records.get_mut(&chunk) else { return false };
        let mut rotten = record.data.to_vec();
        let place = random.below(rotten.len() as u64) as usize;
        rotten[place] ^= 1 << random.below(8);
        record.overwrite(rotten.into());
        true
    }

    /// Looks at everything; damaged copies are put aside and named.
    pub fn scrub(&mut self) -> Vec<ChunkRef> {
        let damaged = self.records.extract_if(.., |_, record| !record.is_good());
        damaged.map(|(id, record)| ChunkRef { id, len: record.len, root: record.root }).collect()
    }

    /// The process ends; nothing that was being written was acknowledged.
    pub fn kill(&mut self) {
        self.pending.clear();
    }

    /// The power goes, and the next start looks at what was being written: whole records stay, torn ones are dropped. `tear` is torn
    /// for certain.
    pub fn power_cut(&mut self, tear: Option<ChunkId>, random: &mut Random) -> Cut {
        let mut cut = Cut::default();
        let flushed = self.records.len();
        self.records.retain(|_, record| record.durable);
        cut.forgotten = (flushed - self.records.len()) as u64;
        for (id, tombstone) in self.tombstones.extract_if(.., |_, tombstone| !tombstone.durable) {
            if let Some(record) = tombstone.buried.filter(|record| record.durable) {
                self.records.insert(id, record);
                cut.back += 1;
            }
        }
        for (id, mut record) in std::mem::take(&mut self.pending) {
            match random.below(3) {
                _ if tear == Some(id) => record.overwrite(torn(&record.data, random)),
                0 => continue,
                1 => record.overwrite(torn(&record.data, random)),
                _ => {}
            }
            if record.is_good() {
                self.records.entry(id).or_insert(record);
            } else {
                cut.torn += 1;
            }
        }
        cut
    }

    /// The disk has flushed its cache.
    pub fn end_lie(&mut self) {
        self.records.values_mut().for_each(|record| record.durable = true);
        self.tombstones.values_mut().for_each(|tombstone| *tombstone = Tombstone { buried: None, durable: true });
    }

    /// Everything is gone.
    pub fn wipe(&mut self) {
        *self = ChunkStore::default();
    }
}

/// First and last id of a slot.
fn ids_of(slot: Slot) -> (ChunkId, ChunkId) {
    let first = ChunkIdParts { slot, group: GroupId(0), session: SessionId(0), epoch: WriterEpoch(0), seq: 0 };
    let (group, session, epoch, seq) = (GroupId(u32::MAX), SessionId(u64::MAX), WriterEpoch(u16::MAX), u32::MAX);
    (ChunkId::new(first), ChunkId::new(ChunkIdParts { slot, group, session, epoch, seq }))
}

/// Some sectors of the new bytes, the others as they were, the last among them: zeros.
fn torn(data: &Bytes, random: &mut Random) -> Bytes {
    let mut torn = data.to_vec();
    torn.rchunks_mut(SECTOR_BYTES).enumerate().filter(|(i, _)| *i == 0 || random.chance(500)).for_each(
        |(_, sector)| {
            sector.fill(0);
        },
    );
    torn.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(ids: &[u128]) -> ChunkStore {
        let mut store = ChunkStore::default();
        for id in ids {
            let data = Bytes::from(vec![*id as u8; 2000]);
            store.put(ChunkId(*id), types::root_of(&data, &[]), data).expect("good bytes");
        }
        store
    }

    #[test]
    fn a_power_cut_keeps_flushed_records_and_never_a_torn_one() {
        let mut torn = 0;
        for seed in 0..50 {
            let mut store = with(&[1, 2, 3]);
            store.flushed(ChunkId(1), Flush::Honest);
            store.flushed(ChunkId(2), Flush::Lied);
            let cut = store.power_cut(None, &mut Random::new(seed));
            assert!(store.has_good(ChunkId(1)) && !store.has(ChunkId(2)));
            assert_eq!(cut.forgotten, 1);
            assert!(!store.has(ChunkId(3)) || store.has_good(ChunkId(3)));
            torn += cut.torn;
        }
        assert!(torn > 0);
        let mut store = with(&[1]);
        assert_eq!(store.power_cut(Some(ChunkId(1)), &mut Random::new(0)).torn, 1);
        assert!(!store.has(ChunkId(1)));
    }

    #[test]
    fn damage_is_found_by_a_scrub() {
        let mut store = with(&[1, 2, 3, 4]);
        store.flushed(ChunkId(1), Flush::Honest);
        store.flushed(ChunkId(2), Flush::Honest);
        store.flushed(ChunkId(3), Flush::Lost);
        store.flushed(ChunkId(4), Flush::Misdirected(ChunkId(1)));
        assert!(store.rot(ChunkId(2), &mut Random::new(0)));
        let damaged: Vec<ChunkId> = store.scrub().into_iter().map(|chunk| chunk.id).collect();
        assert_eq!(damaged, [ChunkId(1), ChunkId(2)]);
        assert!(!store.has(ChunkId(3)) && !store.has(ChunkId(4)));
    }

    #[test]
    fn a_second_put_of_what_one_flush_has_dealt_with_writes_nothing() {
        let mut store = with(&[1, 1, 2, 3]);
        assert!(!store.flushed(ChunkId(1), Flush::Misdirected(ChunkId(9))));
        assert!(!store.flushed(ChunkId(1), Flush::Honest));
        assert!(!store.has(ChunkId(1)));
        assert!(!store.flushed(ChunkId(2), Flush::Lied));
        assert!(store.flushed(ChunkId(3), Flush::Honest));
    }

    #[test]
    fn what_was_deleted_stays_so_unless_the_disk_had_lied() {
        let mut store = with(&[1, 2, 3]);
        for id in 1..=3 {
            store.flushed(ChunkId(id), Flush::Honest);
        }
        store.delete(ChunkId(1), false);
        store.delete(ChunkId(2), true);
        assert_eq!(store.list(None, 9), [ChunkId(3)]);
        assert_eq!(store.read(ChunkId(2)).err(), Some(ChunkError::Deleted));
        let data = Bytes::from(vec![1; 2000]);
        assert_eq!(store.put(ChunkId(1), types::root_of(&data, &[]), data), Err(ChunkError::Deleted));
        let cut = store.power_cut(None, &mut Random::new(0));
        assert_eq!((cut.back, store.list(None, 9)), (1, vec![ChunkId(2), ChunkId(3)]));
        store.delete(ChunkId(2), true);
        store.end_lie();
        store.power_cut(None, &mut Random::new(0));
        assert_eq!((store.list(Some(ChunkId(1)), 9), store.count()), (vec![ChunkId(3)], 1));
    }

    #[test]
    fn what_was_taken_off_is_unknown_and_what_was_deleted_is_listed() {
        let mut store = with(&[1, 2, 3, 4]);
        for id in 1..=4 {
            store.flushed(ChunkId(id), Flush::Honest);
        }
        store.forget(ChunkId(1));
        store.delete(ChunkId(3), false);
        let known = |after, max| {
            let rows = store.known(Slot(0), after, max).into_iter();
            rows.map(|row| (row.chunk.0, row.live.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(known(None, 9), [(2, true), (3, false), (4, true)]);
        assert_eq!(known(None, 2), [(2, true), (3, false)]);
        assert_eq!(known(Some(ChunkId(3)), 9), [(4, true)]);
        assert_eq!(store.known(Slot(1), None, 9), []);
        assert_eq!((store.stat(ChunkId(1)), store.slots()), (None, BTreeSet::from([Slot(0)])));
        let data = Bytes::from(vec![1; 2000]);
        assert_eq!(store.put(ChunkId(1), types::root_of(&data, &[]), data), Ok(()), "it may come back");
    }

    #[test]
    fn other_bytes_under_their_own_hash_are_not_the_chunk() {
        let mut store = with(&[1]);
        store.flushed(ChunkId(1), Flush::Honest);
        let root = |byte| types::root_of(&[byte; 2000], &[]);
        assert!(store.has_good(ChunkId(1)));
        assert!(store.holds(&ChunkRef { id: ChunkId(1), len: 2000, root: root(1) }));
        assert!(!store.holds(&ChunkRef { id: ChunkId(1), len: 2000, root: root(2) }));
    }
}
