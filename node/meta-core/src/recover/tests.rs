use super::*;
use crate::audit::{ITEMS_MAX, audit};
use crate::memory::MemoryKv;
use crate::testing::{BUCKET, Group, SESSION, chunk, chunks};
use crate::{Applied, apply, control_query, invariants};
use proto::control::{ControlAnswer, ControlCommand, ControlOutcome, ControlQuery};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, ChunkVerdict, Command, GarbageStatus, Outcome, Query, Refusal};
use proto::trash::{Purged, TrashFilter, TrashId};
use types::{
    ChunkId, DiskId, Findings, GroupPlacement, Member, NodeEntry, NodeId, PgEpoch, PgId, PlacementGroup, SessionId,
    WriterEpoch,
};

fn carry_out(kv: &mut MemoryKv, group: GroupId, command: LogCommand) -> Applied {
    // A recovery needs no clock: its stamp is the group's time.
    let time = group_time(kv).expect("memory");
    let batch = LogBatch { time, commands: vec![command] };
    let mut applied = apply(kv, group, &batch).expect("memory does not fail");
    assert_eq!(invariants::check(kv, group).expect("memory"), Vec::<String>::new());
    applied.pop().expect("one result")
}

fn steer(kv: &mut MemoryKv, command: ControlCommand) -> ControlOutcome {
    match carry_out(kv, GroupId::CONTROL, LogCommand::Control(command)) {
        Applied::Control(Ok(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

fn map_of(kv: &MemoryKv) -> PlacementMap {
    match control_query(kv, &ControlQuery::Map).expect("memory") {
        ControlAnswer::Map(Some(map)) => *map,
        other => panic!("{other:?}"),
    }
}

fn session(kv: &mut MemoryKv) -> SessionId {
    match steer(kv, ControlCommand::OpenSession { kind: "tool".into() }) {
        ControlOutcome::Session(session) => session,
        other => panic!("{other:?}"),
    }
}

fn bucket(kv: &mut MemoryKv, name: &str) -> u64 {
    match steer(
        kv,
        ControlCommand::CreateBucket {
            name: name.into(),
            owner: "alice".into(),
            nonce: 1,
            rule: types::RuleId::DEFAULT,
        },
    ) {
        ControlOutcome::Bucket(info) => info.id.0,
        other => panic!("{other:?}"),
    }
}

fn control() -> MemoryKv {
    let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), [DiskId([id as u8; 16])]);
    let voters: Vec<_> = [1, 2, 3].map(NodeId).into();
    let member = |node| Member { node, disk: 0 };
    let map = PlacementMap {
        version: 5,
        nodes: (1..=4).map(node).collect(),
        groups: vec![PlacementGroup::settled(PgId(0), PgEpoch(7), voters.iter().copied().map(member).collect())],
        slots: vec![0],
        raft_groups: (0..=2).map(|id| GroupPlacement::founding(GroupId(id), voters.clone())).collect(),
        ..PlacementMap::default()
    };
    let mut kv = MemoryKv::new();
    steer(&mut kv, ControlCommand::Bootstrap { map });
    let at = LogIndex(900);
    let voters: Vec<_> = [1, 2, 4].map(NodeId).into();
    steer(&mut kv, ControlCommand::RecordVoters { group: GroupId(1), at, voters });
    kv
}

#[test]
fn no_number_of_the_lost_time_is_given_out_again_by_the_control_group() {
    let mut kv = control();
    let (session_before, bucket_before) = (session(&mut kv), bucket(&mut kv, "before"));
    let map_before = map_of(&kv);
    // What the lost entries may have done: a copy of the state goes on.
    let mut lost = kv.clone();
    let lost_sessions: Vec<_> = (0..50).map(|_| session(&mut lost)).collect();
    let lost_bucket = bucket(&mut lost, "lost");

    let done = carry_out(&mut kv, GroupId::CONTROL, LogCommand::Recover(Recovery::default()));
    assert_eq!(done, Applied::Control(Ok(ControlOutcome::Done)));
    let (session_after, bucket_after, map_after) = (session(&mut kv), bucket(&mut kv, "after"), map_of(&kv));
    assert!(lost_sessions.iter().all(|lost| *lost < session_after) && session_before < session_after);
    assert!(bucket_before < lost_bucket && lost_bucket < bucket_after);
    assert!(map_of(&lost).version < map_after.version);
    assert_eq!(map_after.groups[0].epoch.0, map_before.groups[0].epoch.0 + NUMBERS);
    // Sessions that were open are, and their number still fits into a chunk id.
    assert_eq!(steer(&mut kv, ControlCommand::RenewSession { session: session_before }), ControlOutcome::Done);
    assert!(session_after.0 < 1 << 44);
}

#[test]
fn lost_nodes_are_removed_the_survivor_votes_alone_and_nothing_is_collected() {
    let mut kv = control();
    let recovery = Recovery {
        voters: vec![(GroupId(0), vec![NodeId(1)]), (GroupId(1), vec![NodeId(1)]), (GroupId(77), vec![NodeId(1)])],
        lost: vec![NodeId(2), NodeId(3), NodeId(99)],
    };
    carry_out(&mut kv, GroupId::CONTROL, LogCommand::Recover(recovery));
    let map = map_of(&kv);
    let modes: Vec<_> = map.nodes.iter().map(|node| node.mode).collect();
    use NodeMode::{Active, Removed};
    assert_eq!(modes, [Active, Removed, Removed, Active]);
    assert_eq!((map.voters(GroupId(0)), map.voters(GroupId(1))), (&[NodeId(1)][..], &[NodeId(1)][..]));
    assert_eq!(map.voters(GroupId(2)).len(), 3, "another group is none of its business");
    assert!(map.raft_groups[0].is_settled() && map.raft_groups.len() == 3);
    // What its leader reports counts, though its log is shorter than what was reported before.
    let (at, voters) = (LogIndex(10), vec![NodeId(1), NodeId(4)]);
    steer(&mut kv, ControlCommand::RecordVoters { group: GroupId(1), at, voters: voters.clone() });
    assert_eq!(map_of(&kv).voters(GroupId(1)), voters);
    let options = |kv: &MemoryKv| match control_query(kv, &ControlQuery::Garbage).expect("memory") {
        ControlAnswer::Garbage(options) => options,
        other => panic!("{other:?}"),
    };
    assert!(!options(&kv).on);
    steer(&mut kv, ControlCommand::SetGarbage { on: Some(true), grace: None, lift: false });
    assert!(options(&kv).on);
}

#[test]
fn a_state_without_a_map_or_a_row_is_recovered_too() {
    for group in [GroupId::CONTROL, GroupId(1)] {
        let mut kv = MemoryKv::new();
        carry_out(&mut kv, group, LogCommand::Recover(Recovery::default()));
        assert_eq!(group_time(&kv).expect("memory"), Timestamp(0));
    }
}

fn recovered(group: &mut Group) {
    let kv = &mut group.kv;
    let done = carry_out(kv, crate::testing::GROUP, LogCommand::Recover(Recovery::default()));
    assert_eq!(done, Applied::Meta(Ok(Outcome::Done)));
}

fn judged(group: &Group, chunks: &[ChunkId]) -> Vec<ChunkVerdict> {
    match group.ask(Query::JudgeChunks { chunks: chunks.to_vec() }) {
        Ok(Answer::Judged(verdicts)) => verdicts,
        other => panic!("{other:?}"),
    }
}

fn trash(group: &Group) -> Vec<TrashId> {
    let filter = TrashFilter::default();
    match group.ask(Query::ListTrash { bucket: BUCKET, filter, after: None, max: 100 }) {
        Ok(Answer::Trash(page)) => page.entries.iter().map(|entry| entry.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn expire(group: &mut Group) -> Purged {
    let (bucket, entries) = (BUCKET, trash(group));
    match group.send(None, Command::ExpireTrash { bucket, entries, now: Timestamp(i64::MAX) }) {
        Ok(Outcome::Purged(purged)) => purged,
        other => panic!("{other:?}"),
    }
}

fn condemned(group: &Group) -> usize {
    match group.ask(Query::Condemned { after: None, max: 100 }) {
        Ok(Answer::Condemned(chunks)) => chunks.len(),
        other => panic!("{other:?}"),
    }
}

fn collect(group: &mut Group) -> Result<Outcome, Refusal> {
    group.send(None, Command::CollectGarbage { grace: 0, max: 100, now: Timestamp(i64::MAX) })
}

fn all_but_the_counters(kv: &MemoryKv) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    kv.scan(&[0x02], &[0xff], usize::MAX).expect("memory")
}

/// A chunk is condemned, one is garbage, a file lies in the trash and is due, and the epoch is closed.
fn with_all_kinds_of_garbage() -> Group {
    let mut group = Group::new();
    let cut = |ino| Command::SetAttr { ino, mode: None, uid: None, gid: None, size: Some(5), atime: None, mtime: None };
    let first = group.create(group.root, "first", chunks(1, 2, 10)).ino;
    group.ok(cut(first));
    assert_eq!(collect(&mut group), Ok(Outcome::Collected { condemned: 1, more: false }));
    let second = group.create(group.root, "second", chunks(11, 2, 10)).ino;
    group.ok(cut(second));
    group.put("gone", chunks(21, 1, 10));
    assert!(group.delete("gone"));
    // In steps that are no leap of the group's time.
    (0..8 * 48).for_each(|_| group.pass(1800));
    group.ok(Command::CloseEpoch { session: SESSION, epoch: WriterEpoch(9) });
    group
}

#[test]
fn a_recovered_group_deletes_nothing_before_an_operator_says_so() {
    let mut group = with_all_kinds_of_garbage();
    let ids = [1, 2, 12, 99].map(|seq| chunk(seq, 10).id);
    use ChunkVerdict::{Condemned, Garbage, Open, Referenced, Waiting};
    assert_eq!(judged(&group, &ids), [Referenced, Condemned, Waiting, Garbage]);
    let before = group.kv.clone();
    recovered(&mut group);

    assert_eq!(judged(&group, &ids), [Referenced, Waiting, Waiting, Open]);
    assert_eq!(condemned(&group), 0, "the leader is told of none, so it has none deleted");
    let held = group.kv.clone();
    assert_eq!(collect(&mut group), Ok(Outcome::Collected { condemned: 0, more: false }));
    assert_eq!(group.send(None, Command::ForgetChunks { chunks: vec![ids[1]] }), Ok(Outcome::Done));
    assert_eq!((expire(&mut group).files, trash(&group).len()), (0, 1));
    let Ok(Answer::Garbage(status)) = group.ask(Query::Garbage) else { panic!("no status") };
    assert!(status.held && status.condemned == 1 && status.waiting > 0);
    // The group's own row is another, since its time moves on.
    assert!(all_but_the_counters(&group.kv) == all_but_the_counters(&held));
    assert!(all_but_the_counters(&held) == all_but_the_counters(&before));

    group.ok(Command::ReleaseHold);
    group.ok(Command::ReleaseHold);
    assert_eq!(judged(&group, &ids), [Referenced, Condemned, Waiting, Garbage]);
    assert_eq!(condemned(&group), 1);
    assert_eq!(expire(&mut group).files, 1);
    assert_eq!(collect(&mut group), Ok(Outcome::Collected { condemned: 2, more: false }));
    assert!(matches!(group.ask(Query::Garbage), Ok(Answer::Garbage(GarbageStatus { held: false, .. }))));
}

#[test]
fn no_inode_or_list_of_the_lost_time_is_given_out_again_and_the_state_is_sound() {
    let mut group = Group::new();
    // More than four pieces stand in a list.
    let before = group.create(group.root, "before", chunks(1, 6, 10)).ino;
    let (mut one, mut other) = (group.kv.clone(), group.kv.clone());
    recovered(&mut group);
    let after = group.create(group.root, "after", chunks(101, 6, 10)).ino;
    assert!(after.counter() > before.counter() + NUMBERS && after.group() == before.group());
    let lists: Vec<_> = group.rows(crate::key::Table::List).into_iter().map(|(key, _)| key).collect();
    let number = |key: &bytes::Bytes| u64::from_be_bytes(key[1..9].try_into().expect("a list's number"));
    assert!(number(lists.last().expect("lists")) > number(&lists[0]) + NUMBERS);
    // Nothing that can be read of it has changed, and it goes on as any other.
    assert_eq!(group.extents(before).len(), 6);
    group.put("more", chunks(201, 1, 10));
    let mut findings = Findings::default();
    audit(&group.kv, crate::testing::GROUP, ITEMS_MAX, &mut findings, &mut |_| {}).expect("memory");
    assert_eq!(findings, Findings::default());
    // Replicas that carry it out come to the same.
    for kv in [&mut one, &mut other] {
        carry_out(kv, crate::testing::GROUP, LogCommand::Recover(Recovery::default()));
    }
    assert_eq!(one.digest(), other.digest());
}
