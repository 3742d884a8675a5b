//! What the tests of this crate share.
#![allow(dead_code, reason = "each test uses a part of it")]

use bytes::Bytes;
use meta_core::kv::KvRead;
use state_store::{AppliedPoint, SharedCache, StateStore};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use types::{LogIndex, Term};

/// Rows as they should be.
pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Memory where there is some: these tests cut files themselves and need no slow flush.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a temporary folder")
}

pub fn open(path: &Path) -> StateStore {
    StateStore::open(path, &SharedCache::new(0)).expect("the store opens")
}

pub fn point(index: u64) -> AppliedPoint {
    AppliedPoint { index: LogIndex(index), term: Term(index / 3 + 1), commit: LogIndex(index + 1) }
}

pub fn all(rows: &impl KvRead) -> Model {
    let owned = |(key, value): (Bytes, Bytes)| (key.to_vec(), value.to_vec());
    rows.scan(b"", &[0xff; 8], usize::MAX).expect("readable").into_iter().map(owned).collect()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let path = entry.expect("entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}
