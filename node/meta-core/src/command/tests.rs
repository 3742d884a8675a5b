use crate::kv::{Kv, KvError, KvRead, Row};
use crate::memory::MemoryKv;
use crate::testing::{BUCKET, GROUP, Group, chunks, inline, put};
use crate::{Applied, apply, query};
use bytes::Bytes;
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Command, Outcome, Query, Refusal};
use std::cell::Cell;
use types::{RequestId, SessionId, Timestamp};

#[test]
fn commands_of_an_entry_see_those_before_them_and_fail_alone() {
    let mut group = Group::new();
    let batch = LogBatch {
        time: Timestamp(5_000),
        commands: vec![
            LogCommand::Meta(None, put("a", inline(b"1"))),
            LogCommand::Meta(None, put("", inline(b"1"))),
            LogCommand::Meta(None, Command::SealBucket { bucket: BUCKET }),
            LogCommand::Meta(None, put("b", inline(b"22"))),
        ],
    };
    let applied = apply(&mut group.kv, GROUP, &batch).expect("memory");
    assert!(matches!(applied[0], Applied::Meta(Ok(Outcome::Object(_)))));
    assert_eq!(applied[1], Applied::Meta(Err(Refusal::Invalid)));
    assert_eq!(applied[2], Applied::Meta(Err(Refusal::NotEmpty)));
    assert_eq!(applied.len(), 4);
    assert_eq!(group.keys("", "").0, ["a", "b"]);
}

#[test]
fn time_never_runs_backwards() {
    let mut group = Group::new();
    for (stamp, expected) in [(5_000, 5_000), (4_000, 5_000), (i64::MIN, 5_000), (6_000, 6_000)] {
        let batch = LogBatch { time: Timestamp(stamp), commands: vec![LogCommand::Meta(None, put("a", inline(b"")))] };
        apply(&mut group.kv, GROUP, &batch).expect("memory");
        assert_eq!(group.object("a").map(|attr| attr.mtime), Ok(Timestamp(expected)));
    }
    let end = LogBatch { time: Timestamp(i64::MAX), commands: vec![LogCommand::Meta(None, put("a", inline(b"")))] };
    apply(&mut group.kv, GROUP, &end).expect("the end of time is no reason to fall over");
}

/// A store that fails after some reads.
struct Failing {
    kv: MemoryKv,
    left: Cell<usize>,
}

impl Failing {
    fn count(&self) -> Result<(), KvError> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(KvError("the disk is gone".into())),
        }
    }
}

impl KvRead for Failing {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.count()?;
        self.kv.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        self.count()?;
        self.kv.scan(start, end, limit)
    }
}

impl Kv for Failing {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.kv.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.kv.delete(key);
    }
}

/// Whichever read fails, the entry fails: it is never taken for a refusal or for a row that is not there.
#[test]
fn a_failing_store_stops_the_replica() {
    let mut group = Group::new();
    group.put("d/a", chunks(1, 9, 10));
    group.put("d/b", inline(b"1"));
    let id = RequestId { session: SessionId(1), seq: 1, low: 1 };
    let commands = [
        put("d/a", inline(b"1")),
        Command::Rename {
            parent: group.root,
            name: Bytes::from_static(b"d"),
            new_parent: group.root,
            new_name: Bytes::from_static(b"e"),
            no_replace: false,
        },
        Command::DeleteObjects {
            bucket: BUCKET,
            keys: vec![Bytes::from_static(b"d/a"), Bytes::from_static(b"d/b")],
            precondition: Default::default(),
        },
    ];
    for command in commands {
        let batch = LogBatch { time: Timestamp(9_000), commands: vec![LogCommand::Meta(Some(id), command)] };
        let mut reads = 0;
        loop {
            let mut failing = Failing { kv: group.kv.clone(), left: Cell::new(reads) };
            match apply(&mut failing, GROUP, &batch) {
                Ok(applied) => {
                    assert!(matches!(applied[0], Applied::Meta(Ok(_))));
                    break;
                }
                Err(_) => reads += 1,
            }
        }
        assert!(reads > 5, "{reads} reads");
    }
    let failing = Failing { kv: group.kv, left: Cell::new(1) };
    assert!(query(&failing, GROUP, &Query::ReadDir { ino: group.root, after: Bytes::new(), max: 9 }).is_err());
}

#[test]
fn a_row_that_cannot_be_read_stops_the_replica() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    for value in [&b""[..], b"\x02", b"\x01\xff"] {
        let mut kv = group.kv.clone();
        let key = crate::key::dentry::DentryKey::file(crate::bucket::first_frag(group.root), b"a");
        kv.put(&crate::row::Key::encode(&key), value);
        let batch = LogBatch { time: Timestamp(1), commands: vec![LogCommand::Meta(None, put("a", inline(b"2")))] };
        assert!(apply(&mut kv, GROUP, &batch).is_err());
    }
}
