//! Points, flushes, checkpoints and installations, step by step.

mod common;

use common::{Model, all, copy, folder, open, point};
use meta_core::kv::{Kv, KvRead};
use state_store::{AppliedPoint, OpenError, SharedCache, StateStore};
use std::fs;
use std::path::Path;
use types::LogIndex;

fn commit(store: &StateStore, index: u64, rows: &[(&str, &str)]) {
    let mut batch = store.batch();
    rows.iter().for_each(|(key, value)| batch.put(key.as_bytes(), value.as_bytes()));
    store.commit(batch, point(index), None).expect("committed");
}

fn model(rows: &[(&str, &str)]) -> Model {
    rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
    fs::read_dir(dir).expect("folder").map(|entry| name(entry.expect("entry"))).collect()
}

/// A store at index 9 in `at/1` and a checkpoint of another one, at index 5, in `at/fetched`.
fn two_stores(at: &Path) {
    let store = open(&at.join("other"));
    commit(&store, 5, &[("b", "new")]);
    store.checkpoint(&at.join("fetched")).expect("made");
    drop(store);
    commit(&open(&at.join("1")), 9, &[("a", "old")]);
}

fn assert_is(path: &Path, index: u64, rows: &[(&str, &str)]) {
    let store = open(path);
    assert_eq!((store.applied(), all(&store.view())), (point(index), model(rows)));
}

#[test]
fn a_new_store_is_at_nothing_and_a_restart_finds_the_last_commit() {
    let dir = folder();
    let path = dir.path().join("state").join("1");
    let store = open(&path);
    assert_eq!((store.applied(), store.sync().expect("flushed")), (AppliedPoint::default(), LogIndex(0)));
    commit(&store, 3, &[("k", "v")]);
    assert_eq!(store.sync().expect("flushed"), LogIndex(3));
    drop(store);
    assert_is(&path, 3, &[("k", "v")]);
}

#[test]
fn the_applied_point_never_goes_back() {
    let dir = folder();
    let store = open(&dir.path().join("1"));
    commit(&store, 3, &[]);
    commit(&store, 3, &[("same", "index")]);
    assert!(store.commit(store.batch(), point(2), None).is_err());
    assert!(store.commit(store.batch(), point(4), None).is_err(), "fenced from then on");
    assert!(store.sync().is_err() && store.checkpoint(&dir.path().join("c")).is_err());
}

#[test]
fn a_view_outlives_later_commits_and_the_store_itself() {
    let dir = folder();
    let store = open(&dir.path().join("1"));
    commit(&store, 1, &[("k", "old")]);
    let view = store.view();
    commit(&store, 2, &[("k", "new"), ("l", "more")]);
    let now = store.view();
    drop(store);
    let seen = std::thread::spawn(move || (all(&view), view.get(b"l").expect("readable"))).join().expect("no panic");
    assert_eq!(seen, (model(&[("k", "old")]), None));
    assert_eq!(all(&now), model(&[("k", "new"), ("l", "more")]));
}

#[test]
fn a_checkpoint_is_whole_plain_and_independent() {
    let dir = folder();
    let store = open(&dir.path().join("1"));
    commit(&store, 7, &[("k", "then")]);
    let checkpoint = dir.path().join("checkpoint");
    assert_eq!(store.checkpoint(&checkpoint).expect("made"), point(7));
    commit(&store, 8, &[("k", "now")]);
    assert!(
        names(&checkpoint).iter().all(|name| !name.starts_with("LOG") && name != "LOCK"),
        "{:?}",
        names(&checkpoint)
    );
    assert!(fs::read_dir(&checkpoint).expect("folder").all(|entry| entry.expect("entry").path().is_file()));
    assert!(store.checkpoint(&checkpoint).is_err(), "the folder is taken");
    commit(&store, 9, &[]);
    assert_is(&checkpoint, 7, &[("k", "then")]);
}

#[test]
fn an_installed_checkpoint_replaces_the_whole_store() {
    let dir = folder();
    let path = dir.path().join("1");
    two_stores(dir.path());
    StateStore::install(&dir.path().join("fetched"), &path).expect("installed");
    assert_is(&path, 5, &[("b", "new")]);
    let mut left = names(dir.path());
    left.sort();
    assert_eq!(left, ["1", "other"]);
    let store = open(&dir.path().join("other"));
    commit(&store, 6, &[]);
    store.checkpoint(&dir.path().join("first")).expect("made");
    StateStore::install(&dir.path().join("first"), &dir.path().join("2")).expect("where there was none");
    assert_is(&dir.path().join("2"), 6, &[("b", "new")]);
}

#[test]
fn a_folder_that_is_no_checkpoint_is_refused_and_the_old_store_stands() {
    let dir = folder();
    let (path, fetched) = (dir.path().join("1"), dir.path().join("fetched"));
    two_stores(dir.path());
    assert!(StateStore::install(&dir.path().join("missing"), &path).is_err());
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("made");
    assert!(StateStore::install(&empty, &path).is_err());
    for name in names(&fetched).iter().filter(|name| name.ends_with("sst") || name.starts_with("MANIFEST")) {
        let torn = dir.path().join(format!("torn-{name}"));
        copy(&fetched, &torn);
        fs::write(torn.join(name), b"").expect("torn");
        assert!(StateStore::install(&torn, &path).is_err(), "{name}");
    }
    assert_is(&path, 9, &[("a", "old")]);
}

/// The states that a crash can leave, made by hand.
#[test]
fn a_crash_at_any_step_of_an_installation_leaves_the_old_or_the_new_store() {
    type Step = fn(&Path, &str, &str);
    let rename: Step = |at, from, to| fs::rename(at.join(from), at.join(to)).expect("renamed");
    let old = |path: &Path| assert_is(path, 9, &[("a", "old")]);
    let new = |path: &Path| assert_is(path, 5, &[("b", "new")]);
    let steps = [("1", "1.old"), ("fetched", "1")];
    for done in 0..=2 {
        for retry in [false, true] {
            let dir = folder();
            let path = dir.path().join("1");
            two_stores(dir.path());
            steps[..done].iter().for_each(|(from, to)| rename(dir.path(), from, to));
            if done == 2 {
                // The old store may be removed in part only.
                fs::remove_file(dir.path().join("1.old/CURRENT")).expect("removed");
            } else if retry {
                StateStore::install(&dir.path().join("fetched"), &path).expect("installed the second time");
            }
            if done == 2 || retry {
                new(&path)
            } else {
                old(&path)
            }
            assert!(!dir.path().join("1.old").exists());
        }
    }
}

#[test]
fn a_destroyed_store_is_gone_even_if_its_removal_was_interrupted() {
    let dir = folder();
    let path = dir.path().join("1");
    two_stores(dir.path());
    StateStore::destroy(&path).expect("destroyed");
    StateStore::destroy(&path).expect("again");
    assert_eq!(open(&path).applied(), AppliedPoint::default());
    let gone = dir.path().join("1.gone");
    fs::rename(&path, &gone).expect("renamed");
    fs::remove_file(gone.join("CURRENT")).expect("removed in part");
    assert_eq!(open(&path).applied(), AppliedPoint::default());
    assert!(!gone.exists());
}

#[test]
fn a_store_in_use_and_a_damaged_one_are_refused() {
    let dir = folder();
    let path = dir.path().join("1");
    let cache = SharedCache::new(0);
    let store = open(&path);
    commit(&store, 1, &[("k", "v")]);
    assert!(matches!(StateStore::open(&path, &cache), Err(OpenError::Database { .. })));
    drop(store);
    let current = path.join("CURRENT");
    fs::write(&current, b"MANIFEST-999999\n").expect("written");
    assert!(matches!(StateStore::open(&path, &cache), Err(OpenError::Database { .. })));
}

#[test]
fn members_stand_beside_the_rows_they_belong_to_and_travel_with_them() {
    let dir = folder();
    let path = dir.path().join("1");
    let store = open(&path);
    assert_eq!(store.members().expect("readable"), None);
    store.commit(store.batch(), point(3), Some(b"three")).expect("committed");
    commit(&store, 4, &[("k", "v")]);
    assert_eq!(store.members().expect("readable").as_deref(), Some(&b"three"[..]));
    let checkpoint = dir.path().join("checkpoint");
    store.checkpoint(&checkpoint).expect("made");
    store.commit(store.batch(), point(5), Some(b"five")).expect("committed");
    assert_eq!(StateStore::inspect(&checkpoint).expect("readable"), (point(4), Some(b"three".to_vec())));
    drop(store);
    assert_eq!(open(&path).members().expect("readable").as_deref(), Some(&b"five"[..]));
}

/// Applies `entries`, each a row to write or to remove, in batches of `size`.
fn folded(store: &StateStore, entries: &[(&str, Option<&str>)], size: usize) -> [u8; 32] {
    let mut index = store.applied().index.0;
    for entries in entries.chunks(size) {
        let mut batch = store.batch();
        for (key, value) in entries {
            index += 1;
            match value {
                Some(value) => batch.put(key.as_bytes(), value.as_bytes()),
                None => batch.delete(key.as_bytes()),
            }
            // What was taken back was never changed.
            let before = batch.savepoint();
            batch.put(b"refused", b"x");
            batch.rollback(before);
            batch.fold(LogIndex(index));
        }
        store.commit(batch, point(index), None).expect("committed");
    }
    store.hash()
}

#[test]
fn the_rolling_hash_tells_changes_apart_and_not_how_they_were_batched() {
    let dir = folder();
    let entries = [("a", Some("1")), ("b", Some("2")), ("a", None), ("c", Some("3")), ("b", Some("2"))];
    let one = folded(&open(&dir.path().join("1")), &entries, 1);
    assert_eq!(folded(&open(&dir.path().join("2")), &entries, 2), one);
    let path = dir.path().join("3");
    folded(&open(&path), &entries[..3], 3);
    let store = open(&path);
    assert_eq!(folded(&store, &entries[3..], 5), one, "a restart forgot it");
    store.checkpoint(&dir.path().join("checkpoint")).expect("made");
    assert_eq!(open(&dir.path().join("checkpoint")).hash(), one, "a snapshot does not carry it");
    for other in [
        [("a", Some("1")), ("b", Some("2")), ("a", None), ("c", Some("4")), ("b", Some("2"))],
        [("a", Some("1")), ("b", Some("2")), ("a", Some("")), ("c", Some("3")), ("b", Some("2"))],
        [("b", Some("2")), ("a", Some("1")), ("a", None), ("c", Some("3")), ("b", Some("2"))],
    ] {
        let path = dir.path().join(format!("{other:?}").replace(['"', '(', ')', '[', ']', ' '], ""));
        assert_ne!(folded(&open(&path), &other, 5), one, "{other:?}");
    }
}
