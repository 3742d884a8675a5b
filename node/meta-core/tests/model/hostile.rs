//! Log entries and queries with bytes knocked over: whatever can be decoded is applied without a panic, and the state stays
//! whole.

use crate::random::Random;
use crate::rng::Rng;
use crate::world::{GROUP, World};
use bytes::Bytes;
use meta_core::{Applied, apply, control_query, invariants, memory::MemoryKv, query};
use proto::control::{AccessKey, ControlCommand, ControlQuery};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Command, Query};
use proto::record::{
    Expected, IndexEntry, RecordChange, RecordContent, RecordCursor, RecordIndex, RecordKey, RecordScan, RecordSpace,
    Revision,
};
use proto::trash::{TrashFilter, TrashId};
use types::{
    BucketId, ChunkId, GroupId, Incarnation, Ino, Member, NodeId, NodeState, PlacementRule, RequestId, RuleId,
    SessionId, Timestamp, UploadId,
};

/// Overwrites, inserts and removes some bytes; runs of 0xff make the largest numbers.
fn knock_over(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(5) {
            0 => bytes[at] = rng.next() as u8,
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
            3 => drop(bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x0f])),
            _ if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => {}
        }
    }
}

fn record_key(random: &mut Random) -> RecordKey {
    RecordKey { space: RecordSpace(1), key: random.key() }
}

fn put_records(random: &mut Random) -> Command {
    let changes = (0..1 + random.rng.below(3)).map(|_| {
        let entry = IndexEntry { index: RecordIndex(1), entry: random.key() };
        let content = RecordContent { value: random.key(), entries: vec![entry] };
        let expected = *random.rng.pick(&[Expected::Any, Expected::Absent, Expected::Revision(Revision(9))]);
        RecordChange { key: record_key(random), expected, content: random.rng.chance(70).then_some(content) }
    });
    Command::PutRecords { bucket: BucketId(1), changes: changes.collect() }
}

fn scan(random: &mut Random) -> Query {
    let scan = RecordScan {
        space: RecordSpace(1),
        by: random.rng.chance(50).then_some(RecordIndex(1)),
        from: random.key(),
        to: random.rng.chance(50).then(|| random.key()),
        after: random.rng.chance(50).then(|| RecordCursor { entry: random.key(), key: random.key() }),
        keys_only: random.rng.chance(50),
        max: random.rng.below(9) as u32,
    };
    Query::ScanRecords { bucket: BucketId(1), scan }
}

fn any_query(random: &mut Random) -> Query {
    let (bucket, key, prefix) = (random.bucket(), random.key(), random.key());
    let ino = Ino::new(GROUP, random.rng.below(40));
    let delimiter = Bytes::from_static(b"/");
    let max = random.rng.below(20) as u32;
    let upload = UploadId([0; 16]);
    match random.rng.below(20) {
        0 => Query::Object { bucket, key, content: Some((1, 2)) },
        1 => Query::ListObjects { bucket, prefix, delimiter, after: key, max },
        2 => Query::ListUploads { bucket, prefix, delimiter, after: Some((key, Some(upload))), max },
        3 => Query::ListParts { bucket, key, upload, after: 3, max },
        4 => Query::BucketRoot { bucket },
        5 => Query::Lookup { parent: ino, name: key },
        6 => Query::GetAttr { ino },
        7 | 8 => Query::ReadDir { ino, after: key, max },
        9 | 10 => Query::Content { ino, offset: 1, len: 2 },
        11 => Query::ListXattrs { ino },
        12 => Query::Usage { bucket },
        13 => {
            let filter = TrashFilter { prefix, since: Some(Timestamp(3)), ..TrashFilter::default() };
            Query::ListTrash { bucket, filter, after: Some(TrashId { time: Timestamp(5), ino }), max }
        }
        14 => Query::BucketStatus { bucket },
        15 => Query::GroupBuckets { after: Some(bucket), max },
        16 => Query::Whole { after: Some(ChunkId(7)), max },
        17 => Query::Records { bucket, keys: vec![record_key(random), record_key(random)] },
        18 => scan(random),
        _ => Query::UnderReplicated { after: Some(ChunkId(7)), max },
    }
}

#[test]
fn knocked_over_entries_and_queries_never_panic() {
    let mut kv = MemoryKv::new();
    let mut random = Random::new(99);
    let mut world = World::default();
    world.session = SessionId(1);
    for bucket in [BucketId(1), BucketId(2)] {
        let command = proto::meta::Command::EnsureBucket { bucket };
        world.apply(&command).expect("new");
        let root = world.buckets[&bucket].root;
        world.learn(root, Ino::new(GROUP, bucket.0));
        let batch = LogBatch { time: Timestamp(1), commands: vec![LogCommand::Meta(None, command)] };
        apply(&mut kv, GROUP, &batch).expect("memory does not fail");
    }
    let mut applied = 0;
    for step in 1..=12_000u64 {
        // A knocked-over number may have shut the session's window for good.
        world.session = SessionId(1 + step / 40);
        let id = RequestId { session: world.session, seq: step, low: step.saturating_sub(9) };
        let records = random.rng.chance(10);
        let command = if records { put_records(&mut random) } else { random.command(&mut world) };
        let batch = LogBatch { time: Timestamp(step as i64), commands: vec![LogCommand::Meta(Some(id), command)] };
        let mut bytes = proto::encode(&batch);
        if random.rng.chance(70) {
            knock_over(&mut bytes, &mut random.rng);
        }
        if let Ok(batch) = proto::decode::<LogBatch>(&bytes) {
            let results = apply(&mut kv, GROUP, &batch).expect("memory does not fail");
            assert_eq!(results.len(), batch.commands.len());
            applied += results.iter().filter(|result| matches!(result, Applied::Meta(Ok(_)))).count();
        }
        let mut bytes = proto::encode(&any_query(&mut random));
        if random.rng.chance(70) {
            knock_over(&mut bytes, &mut random.rng);
        }
        if let Ok(wanted) = proto::decode::<Query>(&bytes) {
            let _ = query(&kv, GROUP, &wanted).expect("memory does not fail");
        }
        if step % 1_000 == 0 {
            assert_eq!(invariants::check(&kv, GROUP).expect("rows are whole"), Vec::<String>::new(), "step {step}");
        }
    }
    assert!(applied > 1_000, "only {applied} commands were taken");
}

#[test]
fn knocked_over_control_entries_never_panic() {
    let mut kv = MemoryKv::new();
    let mut rng = Rng::new(5);
    let text = |rng: &mut Rng| rng.pick(&["abc", "books", "kim", "1.2.3.4", ""]).to_string();
    for step in 0..6_000 {
        let name = text(&mut rng);
        let key = AccessKey { access_key: text(&mut rng), secret_key: "secret-secret".into(), user: text(&mut rng) };
        let command = match rng.below(14) {
            0 => ControlCommand::Bootstrap { map: types::PlacementMap::default() },
            1 => {
                let (node, incarnation) = (NodeId(1), Incarnation(1));
                ControlCommand::SetNodeState { node, incarnation, state: NodeState::Up }
            }
            2 => ControlCommand::OpenSession { kind: name },
            3 => ControlCommand::EndSession { session: SessionId(rng.below(9)) },
            4 => ControlCommand::CreateBucket {
                name,
                owner: text(&mut rng),
                nonce: 1,
                rule: RuleId(rng.below(3) as u16),
            },
            5 => ControlCommand::DeleteBucket { bucket: BucketId(rng.below(9)) },
            6 => ControlCommand::CreateUser { name },
            7 => ControlCommand::DeleteUser { name },
            8 => ControlCommand::UndeleteBucket { bucket: BucketId(rng.below(9)), name },
            9 => {
                let groups = vec![vec![Member { node: NodeId(1), disk: 0 }; rng.below(4) as usize]];
                ControlCommand::AddRule { name, rule: PlacementRule::default(), groups }
            }
            10 => ControlCommand::SetRule { id: RuleId(rng.below(3) as u16), rule: PlacementRule::default() },
            11 => ControlCommand::RemoveRule { id: RuleId(rng.below(3) as u16) },
            12 => {
                let (bucket, rule) = (BucketId(rng.below(9)), RuleId(rng.below(3) as u16));
                ControlCommand::SetBucketRule { bucket, rule }
            }
            _ => ControlCommand::CreateKey { key },
        };
        let mut bytes =
            proto::encode(&LogBatch { time: Timestamp(step), commands: vec![LogCommand::Control(command)] });
        if rng.chance(60) {
            knock_over(&mut bytes, &mut rng);
        }
        if let Ok(batch) = proto::decode::<LogBatch>(&bytes) {
            apply(&mut kv, GroupId::CONTROL, &batch).expect("memory does not fail");
        }
        control_query(&kv, &ControlQuery::DeletedBuckets).expect("memory does not fail");
        control_query(&kv, &ControlQuery::Buckets).expect("memory does not fail");
    }
    assert_eq!(invariants::check(&kv, GroupId::CONTROL).expect("rows are whole"), Vec::<String>::new());
}
