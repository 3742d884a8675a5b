//! Power cuts and rot: what comes back is always the state after some prefix of the commits, and says after which.

mod common;

use common::{Model, all, copy, folder, open, point};
use meta_core::kv::Kv;
use state_store::{SharedCache, StateStore};
use std::fs;
use std::path::{Path, PathBuf};

const COMMITS: u64 = 40;
const SYNCED: u64 = 12;

/// A store after [`COMMITS`] commits, the first [`SYNCED`] of them flushed, as files; the model and the length of the
/// write-ahead log after each.
struct History {
    image: tempfile::TempDir,
    models: Vec<Model>,
    lengths: Vec<usize>,
}

fn wal(dir: &Path) -> PathBuf {
    let paths = fs::read_dir(dir).expect("folder").map(|entry| entry.expect("entry").path());
    let mut wals: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "log")).collect();
    assert_eq!(wals.len(), 1, "the history fits into one write-ahead log");
    wals.remove(0)
}

fn history() -> History {
    let (dir, image) = (folder(), folder());
    let store = open(dir.path());
    let (mut model, mut models, mut lengths) = (Model::new(), vec![Model::new()], vec![0]);
    for index in 1..=COMMITS {
        let mut batch = store.batch();
        for n in 0..index % 4 {
            let key = [b'k', (index * 7 + n * 3) as u8 % 10];
            if (index + n) % 3 == 0 {
                batch.delete(&key);
                model.remove(&key[..]);
            } else {
                let value = vec![index as u8; n as usize * 5];
                batch.put(&key, &value);
                model.insert(key.to_vec(), value);
            }
        }
        store.commit(batch, point(index), None).expect("committed");
        if index == SYNCED {
            store.sync().expect("flushed");
        }
        models.push(model.clone());
        lengths.push(fs::metadata(wal(dir.path())).expect("present").len() as usize);
    }
    copy(dir.path(), image.path());
    History { image, models, lengths }
}

/// Opens a copy of the history whose write-ahead log was changed.
fn reopen(history: &History, log: &[u8]) -> Option<u64> {
    let dir = folder();
    copy(history.image.path(), dir.path());
    fs::write(wal(dir.path()), log).expect("written");
    let store = StateStore::open(dir.path(), &SharedCache::new(0)).ok()?;
    let index = store.applied().index.0;
    if index > 0 {
        assert_eq!(store.applied(), point(index));
    }
    assert_eq!(all(&store.view()), history.models[index as usize], "at index {index}");
    Some(index)
}

#[test]
fn an_unflushed_tail_cut_anywhere_leaves_the_state_after_some_commit() {
    let history = history();
    let log = fs::read(wal(history.image.path())).expect("present");
    for len in 0..=log.len() {
        let whole = history.lengths.iter().rposition(|end| *end <= len).unwrap_or(0) as u64;
        assert_eq!(reopen(&history, &log[..len]), Some(whole), "cut at {len}");
    }
    let synced = history.lengths[SYNCED as usize];
    assert!(reopen(&history, &log[..synced]) >= Some(SYNCED), "what was flushed cannot be cut by a power cut");
    // A file system may also extend the file without the bytes.
    for len in (synced..log.len()).step_by(7) {
        let whole = history.lengths.iter().rposition(|end| *end <= len).unwrap_or(0) as u64;
        let torn = [&log[..len], &vec![0; log.len() - len]].concat();
        assert!(reopen(&history, &torn) >= Some(whole), "zeros from {len}");
    }
}

#[test]
fn a_flipped_byte_leaves_the_state_after_some_commit_or_is_refused() {
    let history = history();
    let mut log = fs::read(wal(history.image.path())).expect("present");
    let mut refused = 0;
    for at in 0..log.len() {
        log[at] ^= 1 << (at % 8);
        let index = reopen(&history, &log);
        assert_ne!(index, Some(COMMITS), "a damaged record was applied, byte {at}");
        refused += usize::from(index.is_none());
        log[at] ^= 1 << (at % 8);
    }
    assert!(refused > 0, "the damage that RocksDB would hang on is refused");
}
