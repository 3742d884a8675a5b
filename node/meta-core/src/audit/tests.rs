use super::*;
use crate::invariants;
use crate::kv::Kv;
use crate::memory::MemoryKv;
use crate::testing::{BUCKET, GROUP, Group, SESSION, UPLOAD, chunk, chunks, create, extent, inline, name, xattr};
use proto::meta::{Command, SetXattrMode};
use proto::object::{FileKind, NewContent};
use proto::record::{Expected, IndexEntry, RecordChange, RecordContent, RecordIndex, RecordKey, RecordSpace};
use types::{Severity, Timestamp};

/// A group with something in nearly every table.
fn group() -> Group {
    let mut group = Group::new();
    let root = group.root;
    group.put("a/b/small", inline(b"inline"));
    group.put("a/b/large", chunks(1, 9, 10));
    group.put("a/copied", chunks(20, 6, 10));
    let (source_key, key) = (name("a/copied"), name("copy"));
    group.ok(Command::CopyObject {
        source_bucket: BUCKET,
        source_key,
        source_precondition: Default::default(),
        bucket: BUCKET,
        key,
        xattrs: None,
        precondition: Default::default(),
    });
    let dir = group.mkdir(root, "dir");
    let file = group.create(dir, "file", chunks(40, 2, 10)).ino;
    group.ok(Command::Link { ino: file, parent: root, name: name("second") });
    group.attr_of(create(dir, "link", FileKind::Symlink, inline(b"target")));
    let (key, value) = xattr("user.k", "v");
    group.ok(Command::SetXattr { ino: file, name: key, value, mode: SetXattrMode::Any });
    group.put("gone", chunks(50, 1, 10));
    assert!(group.delete("gone"));
    group.ok(Command::Stage { chunks: vec![(chunk(60, 10), 0), (chunk(61, 10), 2)] });
    group.ok(Command::CreateUpload { bucket: BUCKET, key: name("d/k"), upload: UPLOAD, xattrs: Vec::new() });
    group.ok(Command::PutPart {
        bucket: BUCKET,
        key: name("d/k"),
        upload: UPLOAD,
        part: 2,
        content: chunks(80, 2, 10),
        md5: [2; 16],
        xattrs: Vec::new(),
    });
    let entries = ["a", "b"].map(|entry| IndexEntry { index: RecordIndex(1), entry: name(entry) }).to_vec();
    let change = |key: &str, entries: &[IndexEntry]| RecordChange {
        key: RecordKey { space: RecordSpace(1), key: name(key) },
        expected: Expected::Any,
        content: Some(RecordContent { value: name("v"), entries: entries.to_vec() }),
    };
    let changes = vec![change("one", &entries), change("two", &entries[1..]), change("plain", &[])];
    group.ok(Command::PutRecords { bucket: BUCKET, changes });
    let mut lacking = extent(70, 0, 10);
    lacking.missing = 1;
    group.put("lacking", NewContent::Chunks(vec![lacking]));
    group
}

fn audited(kv: &MemoryKv, items_max: usize) -> (Findings, Audited) {
    let mut findings = Findings::default();
    let audited = audit(kv, GROUP, items_max, &mut findings, &mut |_| {}).expect("memory");
    (findings, audited)
}

/// Kinds of what was found.
fn codes(kv: &MemoryKv) -> Vec<&'static str> {
    audited(kv, ITEMS_MAX).0.counts().map(|(code, ..)| code).collect()
}

#[test]
fn a_sound_state_has_nothing_to_report_however_few_ids_are_counted_at_once() {
    let group = group();
    for items_max in [1, 3, ITEMS_MAX] {
        let (findings, audited) = audited(&group.kv, items_max);
        assert_eq!(findings, Findings::default());
        assert_eq!(audited.rows as usize, group.kv.0.len());
        assert_eq!(audited.chunks as usize, group.rows(Table::Chunk).len());
        assert_eq!(audited.records, 3);
    }
}

/// Every row taken away, and every byte of every value changed: both checks see something, or neither does.
#[test]
fn the_audit_finds_what_the_plain_invariants_find() {
    let group = group();
    let mut seen = 0;
    let mut compare = |kv: &MemoryKv, what: &dyn Fn() -> String| {
        let plain = invariants::check(kv, GROUP).map_or(true, |broken| !broken.is_empty());
        let (findings, _) = audited(kv, ITEMS_MAX);
        assert_eq!(findings.worst().is_some(), plain, "{}: {:?}", what(), findings.listed());
        let (in_parts, _) = audited(kv, 2);
        assert_eq!(in_parts.counts().collect::<Vec<_>>(), findings.counts().collect::<Vec<_>>(), "{}", what());
        seen += u32::from(plain);
    };
    for (key, value) in &group.kv.0 {
        let mut without = group.kv.clone();
        without.delete(key);
        compare(&without, &|| format!("without {key:02x?}"));
        for at in 0..value.len() {
            let mut changed = value.to_vec();
            changed[at] ^= 1;
            let mut with = group.kv.clone();
            with.put(key, &changed);
            compare(&with, &|| format!("{key:02x?} changed at {at}"));
        }
    }
    // Names, times and owners may be anything; most of the rest is counted twice.
    assert!(seen > 100, "{seen}");
}

#[test]
fn planted_contradictions_are_named() {
    let sound = group();
    let without = |table: Table| {
        let mut kv = sound.kv.clone();
        let (key, _) = sound.rows(table).remove(0);
        kv.delete(&key);
        codes(&kv)
    };
    assert!(without(Table::Dentry).contains(&"state-directory"));
    assert!(without(Table::Inode).contains(&"state-dentry"));
    assert!(without(Table::List).contains(&"state-list"));
    assert!(without(Table::Chunk).contains(&"state-chunk"));
    assert!(without(Table::Staged).contains(&"state-chunk"));
    assert!(without(Table::Upload).contains(&"state-upload"));
    assert!(without(Table::Trash).contains(&"state-inode"));
    assert!(without(Table::Group).contains(&"state-inode"));
    assert_eq!(without(Table::Record), ["state-record"]);
    assert_eq!(without(Table::RecordIndex), ["state-record"]);
    assert!(without(Table::Bucket).contains(&"state-record"));
    let mut kv = sound.kv.clone();
    kv.put(&[0x77, 1], b"?");
    assert_eq!(codes(&kv), ["state-row-damaged"]);
    let (key, value) = sound.rows(Table::Chunk).remove(0);
    let mut kv = sound.kv.clone();
    kv.put(&key, &value[..value.len() - 1]);
    assert_eq!(codes(&kv), ["state-row-damaged"]);
}

#[test]
fn the_control_group_is_looked_at_too() {
    use proto::control::ControlCommand;
    use proto::join::Invitation;
    use proto::log::{LogBatch, LogCommand};
    let mut kv = MemoryKv::new();
    let invitation = Invitation {
        id: types::InvitationId([3; 16]),
        node: types::NodeId(7),
        addr: "host:7400".into(),
        domain: "rack".into(),
        disks: vec![types::DiskId([7; 16])],
        expires: Timestamp(60 * Timestamp::SECOND),
    };
    let commands = vec![
        LogCommand::Control(ControlCommand::Bootstrap { map: types::PlacementMap::default() }),
        LogCommand::Control(ControlCommand::CreateUser { name: "alice".into() }),
        LogCommand::Control(ControlCommand::OpenSession { kind: "tool".into() }),
        LogCommand::Control(ControlCommand::Invite { invitation }),
    ];
    let batch = LogBatch { time: Timestamp(5), commands };
    let applied = crate::apply(&mut kv, GroupId::CONTROL, &batch).expect("memory");
    assert!(applied.iter().all(|applied| matches!(applied, crate::Applied::Control(Ok(_)))), "{applied:?}");
    let codes = |kv: &MemoryKv| {
        let mut findings = Findings::default();
        audit(kv, GroupId::CONTROL, ITEMS_MAX, &mut findings, &mut |_| {}).expect("memory");
        findings.counts().map(|(code, severity, _)| (code, severity)).collect::<Vec<_>>()
    };
    assert_eq!(codes(&kv), []);
    let user = [&[Table::User as u8], &b"alice"[..]].concat();
    let mut without = kv.clone();
    without.delete(&user);
    assert_eq!(codes(&without), [("state-control", Severity::Damage)]);
    kv.put(&user, b"\x01");
    assert_eq!(codes(&kv), [("state-row-damaged", Severity::Damage)]);
}

#[test]
fn chunks_are_told_as_their_group_knows_them() {
    let group = group();
    let mut all = Vec::new();
    chunks_of(&group.kv, &mut all);
    assert_eq!(all.len(), group.rows(Table::Chunk).len());
    for known in &all {
        assert_eq!(super::chunk(&group.kv, known.id).expect("memory"), Some(*known));
    }
    let of = |seq: u32| all.iter().find(|known| known.id.parts().seq == seq).expect("known");
    assert!(of(1).needed && of(60).needed && !of(1).condemned);
    assert_eq!((of(61).missing, of(70).missing, of(1).missing), (2, 1, 0));
    assert_eq!(super::chunk(&group.kv, chunk(999, 1).id).expect("memory"), None);
    assert_eq!(of(1).id.session(), SESSION);
}

fn chunks_of(kv: &MemoryKv, all: &mut Vec<StoredChunk>) {
    super::chunks(kv, |chunk| {
        all.push(chunk);
        Ok(())
    })
    .expect("memory");
}
