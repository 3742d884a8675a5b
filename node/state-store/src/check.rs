//! A look at the store of a group that changes nothing in it: for `sago fsck`, with the node stopped.
//!
//! Opened read-only, which replays the write-ahead log into memory, at most the size of the memtables. Damage here is no loss of data
//! as long as the group's other members live: the folder is removed and the node fetches it from them. What the rows say is
//! `meta_core::audit`'s, which reads them through [`CheckedState`].

use crate::install::beside;
use crate::options::read_only_options;
use crate::point::AppliedPoint;
use crate::rows::{self, HASH_KEY, MEMBERS_KEY, POINT_KEY, ROW_TAG};
use crate::store::read_point;
use bytes::Bytes;
use meta_core::kv::{KvError, KvRead, Row};
use rocksdb::{DB, DBRawIterator, ErrorKind, ReadOptions};
use std::io;
use std::path::Path;
use types::Findings;

/// What to do about a state that cannot be trusted.
const REMOVE: &str = "if other members of the group live, remove this folder: the node fetches the state from them";

/// The rows of a store that nobody has open, and how far they are.
pub struct CheckedState {
    db: DB,
    /// How far the state is; all zero for a new store.
    pub applied: AppliedPoint,
    /// The members of the group then, as they were given to [`crate::StateStore::commit`]; `None` before the first.
    pub members: Option<Vec<u8>>,
}

impl KvRead for CheckedState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        rows::get(&self.db, key)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        rows::scan(&self.db, start, end, limit)
    }
}

/// Opens the store in the folder `path` for reading, and notes what is wrong with its files and with what is not a row of the
/// state machine. `None`: there is nothing to read. Changes no byte; the caller sees to it that no node runs meanwhile.
///
/// # Errors
/// The disk or the permissions do not allow to look.
pub fn check(path: &Path, findings: &mut Findings) -> io::Result<Option<CheckedState>> {
    for suffix in [".old", ".gone"] {
        let left = beside(path, suffix);
        if left.try_exists()? {
            let what = "left by a replacement of the state that was interrupted";
            findings.note("state-leftover", left.display(), what, "nothing: the next start settles it");
        }
    }
    if !path.join("CURRENT").try_exists()? {
        return Ok(None);
    }
    if let Err(error) = rocks_check::check_folder(path) {
        findings.damage("state-db-damaged", path.display(), error, REMOVE);
        return Ok(None);
    }
    let db = match DB::open_for_read_only(&read_only_options(), path, false) {
        Ok(db) => db,
        Err(error) if error.kind() == ErrorKind::IOError => return Err(io::Error::other(error)),
        Err(error) => {
            findings.damage("state-db-damaged", path.display(), error, REMOVE);
            return Ok(None);
        }
    };
    let applied = match read_point(&db) {
        Ok(Some(Ok(point))) => point,
        Ok(None) if is_empty(&db) => AppliedPoint::default(),
        Ok(None) => {
            let what = "rows, but nothing says how far they are";
            findings.damage("state-point-missing", path.display(), what, REMOVE);
            AppliedPoint::default()
        }
        Ok(Some(Err(_))) => {
            let what = "the row that says how far the state is cannot be read";
            findings.damage("state-point-damaged", path.display(), what, REMOVE);
            AppliedPoint::default()
        }
        Err(error) => {
            findings.damage("state-unreadable", path.display(), error, REMOVE);
            return Ok(None);
        }
    };
    if let Some(key) = stranger(&db) {
        let key: String = key.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
        let what = format!("a row under the key {key}, which no state has");
        findings.damage("state-stray-row", path.display(), what, REMOVE);
    }
    let members = match db.get(MEMBERS_KEY) {
        Ok(members) => members,
        Err(error) => {
            findings.damage("state-unreadable", path.display(), error, REMOVE);
            return Ok(None);
        }
    };
    Ok(Some(CheckedState { db, applied, members }))
}

fn rows_of(db: &DB) -> DBRawIterator<'_> {
    db.raw_iterator_opt(ReadOptions::default())
}

fn is_empty(db: &DB) -> bool {
    let mut rows = rows_of(db);
    rows.seek_to_first();
    !rows.valid()
}

/// A key that is neither one of the store's own nor one of the state machine's: the first of those before the rows, or the last of those behind.
fn stranger(db: &DB) -> Option<Vec<u8>> {
    let is_strange = |key: &&[u8]| key[..] != POINT_KEY && key[..] != HASH_KEY && key[..] != MEMBERS_KEY;
    let is_row = |key: &[u8]| key.first() == Some(&ROW_TAG);
    let mut rows = rows_of(db);
    rows.seek_to_first();
    while let Some(key) = rows.key().filter(|key| !is_row(key)) {
        if is_strange(&key) {
            return Some(key.to_vec());
        }
        rows.next();
    }
    rows.seek_to_last();
    rows.key().filter(|key| !is_row(key)).filter(is_strange).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SharedCache, StateStore};
    use meta_core::kv::Kv;
    use rocksdb::Options;
    use std::collections::BTreeMap;
    use std::fs;
    use tempfile::TempDir;
    use types::{LogIndex, Severity, Term};

    /// A store with 500 rows, half of them in a table and half in the write-ahead log.
    fn filled() -> TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = StateStore::open(&dir.path().join("7"), &SharedCache::new(8 << 20)).expect("a new store");
        for (from, index) in [(0u32, 1), (250, 2)] {
            let mut batch = store.batch();
            (from..from + 250).for_each(|number| batch.put(&number.to_be_bytes(), b"value"));
            let point = AppliedPoint { index: LogIndex(index), term: Term(1), commit: LogIndex(index) };
            store.commit(batch, point, (index == 2).then_some(&b"everyone"[..])).expect("committed");
            if index == 1 {
                let checkpoint = dir.path().join("checkpoint");
                store.checkpoint(&checkpoint).expect("written out");
                fs::remove_dir_all(checkpoint).expect("removed");
            }
        }
        dir
    }

    fn bytes_of(root: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(root).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.map(|path| (path.display().to_string(), fs::read(&path).expect("a file"))).collect()
    }

    fn checked(dir: &TempDir) -> (Findings, Option<CheckedState>) {
        let store = dir.path().join("7");
        let before = bytes_of(&store);
        let mut findings = Findings::default();
        let state = check(&store, &mut findings).expect("it can be looked at");
        assert!(before == bytes_of(&store), "the look has changed something");
        (findings, state)
    }

    fn plant(dir: &TempDir, change: impl FnOnce(&DB)) {
        let db = DB::open(&Options::default(), dir.path().join("7")).expect("the database opens");
        change(&db);
        db.flush().expect("flushed");
    }

    #[test]
    fn a_sound_store_is_read_and_not_changed() {
        let dir = filled();
        for _ in 0..2 {
            let (findings, state) = checked(&dir);
            assert_eq!(findings, Findings::default());
            let state = state.expect("a state");
            assert_eq!((state.applied.index, state.members.as_deref()), (LogIndex(2), Some(&b"everyone"[..])));
            assert_eq!(state.scan(b"", b"\xff", 1000).expect("readable").len(), 500);
            assert_eq!(state.get(&7u32.to_be_bytes()).expect("readable").as_deref(), Some(&b"value"[..]));
        }
        assert!(check(&dir.path().join("8"), &mut Findings::default()).is_ok_and(|state| state.is_none()));
    }

    #[test]
    fn every_planted_damage_is_named() {
        type Plant = Box<dyn Fn(&DB)>;
        let cases: Vec<(&str, Plant)> = vec![
            ("state-point-missing", Box::new(|db| db.delete(POINT_KEY).expect("deleted"))),
            ("state-point-damaged", Box::new(|db| db.put(POINT_KEY, b"\x09far").expect("written"))),
            ("state-stray-row", Box::new(|db| db.put(b"b", b"?").expect("written"))),
            ("state-stray-row", Box::new(|db| db.put(b"z", b"?").expect("written"))),
        ];
        for (code, change) in cases {
            let dir = filled();
            plant(&dir, change);
            let (findings, _) = checked(&dir);
            assert_eq!((findings.worst(), findings.count(code)), (Some(Severity::Damage), 1), "{code}");
        }
    }

    #[test]
    fn rot_in_its_files_and_what_a_replacement_left_are_named() {
        let dir = filled();
        let files = bytes_of(&dir.path().join("7"));
        let (path, mut bytes) = files.into_iter().find(|(path, _)| path.contains("MANIFEST")).expect("a manifest");
        bytes[10] ^= 1;
        fs::write(path, bytes).expect("written");
        let (findings, state) = checked(&dir);
        assert!(state.is_none() && findings.count("state-db-damaged") == 1);

        let dir = filled();
        fs::create_dir(dir.path().join("7.old")).expect("a folder");
        let (findings, _) = checked(&dir);
        assert_eq!((findings.worst(), findings.count("state-leftover")), (Some(Severity::Note), 1));
    }
}
