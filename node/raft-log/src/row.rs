//! Keys and rows of the database. Every row carries its own checksum, which covers the key too, so that a row under a
//! wrong key is found as well as a changed one.
//!
//! Byte tables: `docs/formats/raft-log.md`.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use raft_core::{Entry, EntryKind, HardState, LogStart};
use types::{GroupId, LogIndex, ReplicaId, Term};

/// The version of every row's layout.
const ROW_VERSION: u8 = 1;

const ENTRY_TAG: u8 = b'e';
const HARD_STATE_TAG: u8 = b'h';
const START_TAG: u8 = b's';
const REPLICA_TAG: u8 = b'r';

/// `group:4 | tag:1`.
pub(crate) const GROUP_KEY_BYTES: usize = 5;
/// `group:4 | 'e' | index:8`.
pub(crate) const ENTRY_KEY_BYTES: usize = 13;
/// `version:1 | kind:1 | term:8 | crc:4`, followed by the data.
pub(crate) const ENTRY_HEADER_BYTES: usize = 14;
/// `version:1 | term:8 | vote:8 | commit:8 | crc:4`.
pub(crate) const HARD_STATE_BYTES: usize = 29;
/// `version:1 | index:8 | term:8 | rewrites:8 | owed term:8 | owed index:8 | crc:4`.
pub(crate) const START_BYTES: usize = 45;

/// `version:1 | replica:8 | gone:8 | crc:4`.
pub(crate) const REPLICA_BYTES: usize = 21;

const _: () = assert!(ENTRY_KEY_BYTES == GROUP_KEY_BYTES + 8);
const _: () = assert!(ENTRY_HEADER_BYTES == 1 + 1 + 8 + 4);
const _: () = assert!(HARD_STATE_BYTES == 1 + 3 * 8 + 4);
const _: () = assert!(START_BYTES == 1 + 5 * 8 + 4);
const _: () = assert!(REPLICA_BYTES == 1 + 2 * 8 + 4);

/// How far a log reaches: ordered as Raft compares logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Reach {
    /// Term of the last entry.
    pub(crate) term: Term,
    /// Index of the last entry.
    pub(crate) index: LogIndex,
}

/// The row that makes a group exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct StartRow {
    /// Where the log begins.
    pub(crate) start: LogStart,
    /// How often entries were replaced by others. A mark of an older count says nothing about the log of a newer one.
    pub(crate) rewrites: u64,
    /// What the log must reach again before the group has made good for a loss.
    pub(crate) owed: Option<Reach>,
}

/// A row that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Entry(GroupId, LogIndex),
    HardState(GroupId),
    Start(GroupId),
    Replica(GroupId),
}

impl Key {
    /// The group it belongs to.
    pub(crate) fn group(self) -> GroupId {
        let (Key::Entry(group, _) | Key::HardState(group) | Key::Start(group) | Key::Replica(group)) = self;
        group
    }
}

pub(crate) fn entry_key(group: GroupId, index: LogIndex) -> [u8; ENTRY_KEY_BYTES] {
    let mut key = [0; ENTRY_KEY_BYTES];
    key[..GROUP_KEY_BYTES].copy_from_slice(&group_key(group, ENTRY_TAG));
    key[GROUP_KEY_BYTES..].copy_from_slice(&index.0.to_be_bytes());
    key
}

pub(crate) fn hard_state_key(group: GroupId) -> [u8; GROUP_KEY_BYTES] {
    group_key(group, HARD_STATE_TAG)
}

pub(crate) fn start_key(group: GroupId) -> [u8; GROUP_KEY_BYTES] {
    group_key(group, START_TAG)
}

pub(crate) fn replica_key(group: GroupId) -> [u8; GROUP_KEY_BYTES] {
    group_key(group, REPLICA_TAG)
}

/// The first key behind all entries of the group.
pub(crate) fn entries_end(group: GroupId) -> [u8; GROUP_KEY_BYTES] {
    group_key(group, ENTRY_TAG + 1)
}

fn group_key(group: GroupId, tag: u8) -> [u8; GROUP_KEY_BYTES] {
    let [a, b, c, d] = group.0.to_be_bytes();
    [a, b, c, d, tag]
}

/// Takes a key apart.
pub(crate) fn parse_key(key: &[u8]) -> Option<Key> {
    let (group, rest) = key.split_first_chunk::<4>()?;
    let group = GroupId(u32::from_be_bytes(*group));
    match *rest {
        [ENTRY_TAG, ref index @ ..] => Some(Key::Entry(group, LogIndex(u64::from_be_bytes(index.try_into().ok()?)))),
        [HARD_STATE_TAG] => Some(Key::HardState(group)),
        [START_TAG] => Some(Key::Start(group)),
        [REPLICA_TAG] => Some(Key::Replica(group)),
        _ => None,
    }
}

/// Codes an entry for its key, which is `entry_key(group, entry.index)`.
pub(crate) fn encode_entry(group: GroupId, entry: &Entry) -> Vec<u8> {
    let kind = match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
    };
    let mut row = Vec::with_capacity(ENTRY_HEADER_BYTES + entry.data.len());
    row.push(ROW_VERSION);
    row.push(kind);
    row.extend_from_slice(&entry.term.0.to_be_bytes());
    let crc = crc_of(&[&entry_key(group, entry.index), &row, &entry.data]);
    row.extend_from_slice(&crc.to_be_bytes());
    row.extend_from_slice(&entry.data);
    row
}

/// Checks and decodes an entry.
pub(crate) fn decode_entry(group: GroupId, index: LogIndex, row: &[u8]) -> Result<Entry, Damaged> {
    let (term, kind) = check_entry(group, index, row)?;
    Ok(Entry { term, index, kind, data: Bytes::copy_from_slice(&row[ENTRY_HEADER_BYTES..]) })
}

/// Checks an entry without copying it.
pub(crate) fn check_entry(group: GroupId, index: LogIndex, row: &[u8]) -> Result<(Term, EntryKind), Damaged> {
    let (header, data) = row.split_first_chunk::<ENTRY_HEADER_BYTES>().ok_or(Damaged)?;
    let (covered, crc) = header.split_at(ENTRY_HEADER_BYTES - 4);
    if crc_of(&[&entry_key(group, index), covered, data]).to_be_bytes() != crc || covered[0] != ROW_VERSION {
        return Err(Damaged);
    }
    let kind = match covered[1] {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        _ => return Err(Damaged),
    };
    Ok((Term(number(&covered[2..])), kind))
}

/// Codes a hard state.
pub(crate) fn encode_hard_state(group: GroupId, state: &HardState) -> Vec<u8> {
    encode_numbers(&hard_state_key(group), &[state.term.0, state.vote.0, state.commit.0])
}

/// Checks and decodes a hard state.
pub(crate) fn decode_hard_state(group: GroupId, row: &[u8]) -> Result<HardState, Damaged> {
    let [term, vote, commit] = decode_numbers(&hard_state_key(group), row)?;
    Ok(HardState { term: Term(term), vote: ReplicaId(vote), commit: LogIndex(commit) })
}

/// Codes a start row.
pub(crate) fn encode_start(group: GroupId, row: &StartRow) -> Vec<u8> {
    let owed = row.owed.unwrap_or_default();
    let numbers = [row.start.index.0, row.start.term.0, row.rewrites, owed.term.0, owed.index.0];
    encode_numbers(&start_key(group), &numbers)
}

/// Checks and decodes a start row.
pub(crate) fn decode_start(group: GroupId, row: &[u8]) -> Result<StartRow, Damaged> {
    let [index, term, rewrites, owed_term, owed_index] = decode_numbers(&start_key(group), row)?;
    let owed = Reach { term: Term(owed_term), index: LogIndex(owed_index) };
    Ok(StartRow {
        start: LogStart { index: LogIndex(index), term: Term(term) },
        rewrites,
        owed: (owed != Reach::default()).then_some(owed),
    })
}

/// Which replica of its group this is, if the group did not begin with it; or which one was here before it was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaRow {
    pub(crate) replica: ReplicaId,
    /// Nothing of it is left but this row.
    pub(crate) gone: bool,
}

/// Codes a replica row.
pub(crate) fn encode_replica(group: GroupId, row: &ReplicaRow) -> Vec<u8> {
    encode_numbers(&replica_key(group), &[row.replica.0, u64::from(row.gone)])
}

/// Checks and decodes a replica row.
pub(crate) fn decode_replica(group: GroupId, row: &[u8]) -> Result<ReplicaRow, Damaged> {
    match decode_numbers(&replica_key(group), row)? {
        [replica, gone @ (0 | 1)] => Ok(ReplicaRow { replica: ReplicaId(replica), gone: gone == 1 }),
        _ => Err(Damaged),
    }
}

fn encode_numbers(key: &[u8], numbers: &[u64]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + numbers.len() * 8 + 4);
    row.push(ROW_VERSION);
    numbers.iter().for_each(|number| row.extend_from_slice(&number.to_be_bytes()));
    let crc = crc_of(&[key, &row]);
    row.extend_from_slice(&crc.to_be_bytes());
    row
}

fn decode_numbers<const N: usize>(key: &[u8], row: &[u8]) -> Result<[u64; N], Damaged> {
    let (covered, crc) = row.split_last_chunk::<4>().ok_or(Damaged)?;
    if crc_of(&[key, covered]).to_be_bytes() != *crc || covered.len() != 1 + N * 8 || covered[0] != ROW_VERSION {
        return Err(Damaged);
    }
    let mut numbers = [0; N];
    numbers.iter_mut().zip(covered[1..].chunks_exact(8)).for_each(|(to, from)| *to = number(from));
    Ok(numbers)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(*bytes.first_chunk().expect("callers pass at least 8 bytes"))
}

/// CRC-32C of the parts, one after the other.
pub(crate) fn crc_of(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    u32::try_from(digest.finalize()).expect("a CRC-32 has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn crc_is_the_castagnoli_one() {
        assert_eq!(crc_of(&[b"1234", b"56789"]), 0xe306_9283);
    }

    #[test]
    fn layouts_are_those_of_the_format_page() {
        let group = GroupId(7);
        let entry = Entry {
            term: Term(3),
            index: LogIndex(0x0102),
            kind: EntryKind::ConfChange,
            data: Bytes::from_static(b"abc"),
        };
        assert_eq!(hex(&entry_key(group, entry.index)), "00000007650000000000000102");
        let row = encode_entry(group, &entry);
        assert_eq!(hex(&row), "01010000000000000003ae128baa616263");
        let state = HardState { term: Term(3), vote: ReplicaId(2), commit: LogIndex(5) };
        assert_eq!(hex(&hard_state_key(group)), "0000000768");
        let row = encode_hard_state(group, &state);
        assert_eq!(hex(&row), "01000000000000000300000000000000020000000000000005e4c3036a");
        assert_eq!(row.len(), HARD_STATE_BYTES);
        assert_eq!(hex(&start_key(group)), "0000000773");
        let start = StartRow {
            start: LogStart { index: LogIndex(9), term: Term(2) },
            rewrites: 1,
            owed: Some(Reach { term: Term(4), index: LogIndex(12) }),
        };
        let row = encode_start(group, &start);
        let numbers = "0000000000000009000000000000000200000000000000010000000000000004000000000000000c";
        assert_eq!(hex(&row), format!("01{numbers}16dedc81"));
        assert_eq!(row.len(), START_BYTES);
        assert_eq!(hex(&replica_key(group)), "0000000772");
        let row = encode_replica(group, &ReplicaRow { replica: ReplicaId(0x0102), gone: true });
        assert_eq!(hex(&row), "01000000000000010200000000000000014c56f1bf");
        assert_eq!(row.len(), REPLICA_BYTES);
    }

    proptest! {
        #[test]
        fn entries_come_back_and_any_flip_is_found(
            group in 0u32..5, term: u64, index: u64, conf: bool, data in proptest::collection::vec(any::<u8>(), 0..40), at: usize, bit in 0u8..8,
        ) {
            let (group, index) = (GroupId(group), LogIndex(index));
            let kind = if conf { EntryKind::ConfChange } else { EntryKind::Normal };
            let entry = Entry { term: Term(term), index, kind, data: Bytes::from(data) };
            let mut row = encode_entry(group, &entry);
            prop_assert_eq!(parse_key(&entry_key(group, index)), Some(Key::Entry(group, index)));
            prop_assert_eq!(decode_entry(group, index, &row), Ok(entry));
            prop_assert_eq!(check_entry(GroupId(group.0 + 1), index, &row), Err(Damaged));
            let at = at % row.len();
            row[at] ^= 1 << bit;
            prop_assert_eq!(check_entry(group, index, &row), Err(Damaged));
        }

        #[test]
        fn states_come_back_and_any_flip_is_found(numbers: [u64; 5], at: usize, bit in 0u8..8) {
            let [a, b, c, d, e] = numbers;
            let group = GroupId(1);
            let state = HardState { term: Term(a), vote: ReplicaId(b), commit: LogIndex(c) };
            let mut row = encode_hard_state(group, &state);
            prop_assert_eq!(decode_hard_state(group, &row), Ok(state));
            row[at % HARD_STATE_BYTES] ^= 1 << bit;
            prop_assert_eq!(decode_hard_state(group, &row), Err(Damaged));
            let owed = Reach { term: Term(d), index: LogIndex(e) };
            let start = StartRow {
                start: LogStart { index: LogIndex(a), term: Term(b) },
                rewrites: c,
                owed: (owed != Reach::default()).then_some(owed),
            };
            let mut row = encode_start(group, &start);
            prop_assert_eq!(decode_start(group, &row), Ok(start));
            row[at % START_BYTES] ^= 1 << bit;
            prop_assert_eq!(decode_start(group, &row), Err(Damaged));
            let replica = ReplicaRow { replica: ReplicaId(a), gone: b % 2 == 1 };
            let mut row = encode_replica(group, &replica);
            prop_assert_eq!(decode_replica(group, &row), Ok(replica));
            row[at % REPLICA_BYTES] ^= 1 << bit;
            prop_assert_eq!(decode_replica(group, &row), Err(Damaged));
        }

        #[test]
        fn hostile_rows_and_keys_are_refused_not_panicked_on(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_key(&bytes);
            prop_assert_eq!(check_entry(GroupId(0), LogIndex(0), &bytes), Err(Damaged));
            prop_assert_eq!(decode_hard_state(GroupId(0), &bytes), Err(Damaged));
            prop_assert_eq!(decode_start(GroupId(0), &bytes), Err(Damaged));
            prop_assert_eq!(decode_replica(GroupId(0), &bytes), Err(Damaged));
        }
    }
}
