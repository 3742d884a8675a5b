mod invitations;
mod level;
mod moves;
mod rests;
mod rules;

use super::buckets::is_bucket_name;
use crate::memory::MemoryKv;
use crate::{Applied, apply, control_query, invariants};
use proto::control::{
    AccessKey, BucketInfo, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal, GarbageOptions,
};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Command, Refusal};
use types::{
    BucketId, DiskId, GroupId, GroupPlacement, Incarnation, LogIndex, NodeEntry, NodeId, NodeState, PlacementMap,
    RuleId, SessionId, Timestamp,
};

type Answered = Result<ControlOutcome, ControlRefusal>;

struct Control {
    kv: MemoryKv,
    time: i64,
}

impl Control {
    fn empty() -> Self {
        Control { kv: MemoryKv::new(), time: 0 }
    }

    fn new() -> Self {
        let mut control = Control::empty();
        assert_eq!(control.run(ControlCommand::Bootstrap { map: map() }), Ok(ControlOutcome::Done));
        control
    }

    fn run(&mut self, command: ControlCommand) -> Answered {
        self.time += 1;
        let batch = LogBatch { time: Timestamp(self.time), commands: vec![LogCommand::Control(command)] };
        let applied = apply(&mut self.kv, GroupId::CONTROL, &batch).expect("memory does not fail");
        assert_eq!(invariants::check(&self.kv, GroupId::CONTROL).expect("memory"), Vec::<String>::new());
        match applied.as_slice() {
            [Applied::Control(result)] => result.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, query: ControlQuery) -> ControlAnswer {
        control_query(&self.kv, &query).expect("memory does not fail")
    }

    fn map(&self) -> PlacementMap {
        match self.ask(ControlQuery::Map) {
            ControlAnswer::Map(Some(map)) => *map,
            other => panic!("{other:?}"),
        }
    }

    fn bucket(&mut self, name: &str, owner: &str, nonce: u128) -> Result<BucketInfo, ControlRefusal> {
        match self.run(ControlCommand::CreateBucket {
            name: name.into(),
            owner: owner.into(),
            nonce,
            rule: RuleId::DEFAULT,
        })? {
            ControlOutcome::Bucket(info) => Ok(info),
            other => panic!("{other:?}"),
        }
    }

    fn session(&mut self) -> SessionId {
        match self.run(ControlCommand::OpenSession { kind: "gateway".into() }) {
            Ok(ControlOutcome::Session(session)) => session,
            other => panic!("{other:?}"),
        }
    }
}

fn map() -> PlacementMap {
    let node = |id| NodeEntry {
        incarnation: Incarnation(1),
        ..NodeEntry::new(NodeId(id), format!("n{id}:1"), format!("d{id}"), [DiskId([id as u8; 16])])
    };
    let group = |id| GroupPlacement::founding(GroupId(id), vec![NodeId(1), NodeId(2), NodeId(3)]);
    PlacementMap {
        version: 1,
        nodes: vec![node(1), node(2), node(3)],
        groups: vec![],
        slots: vec![],
        raft_groups: (0..4).map(group).collect(),
        ..PlacementMap::default()
    }
}

fn key(access: &str, user: &str, secret: &str) -> ControlCommand {
    let key = AccessKey { access_key: access.into(), secret_key: secret.into(), user: user.into() };
    ControlCommand::CreateKey { key }
}

#[test]
fn the_first_map_stays_and_node_states_move_it_on() {
    let mut control = Control::new();
    let mut other = map();
    other.version = 77;
    assert_eq!(control.run(ControlCommand::Bootstrap { map: other }), Ok(ControlOutcome::Done));
    assert_eq!(control.map(), map());
    let set = |node, incarnation, state| ControlCommand::SetNodeState {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        state,
    };
    control.run(set(2, 3, NodeState::Down)).expect("known");
    assert_eq!((control.map().version, control.map().is_up(NodeId(2))), (2, false));
    control.run(set(2, 2, NodeState::Up)).expect("ignored");
    control.run(set(2, 3, NodeState::Down)).expect("nothing new");
    assert_eq!((control.map().version, control.map().is_up(NodeId(2))), (2, false));
    control.run(set(2, 4, NodeState::Up)).expect("started again");
    assert_eq!((control.map().version, control.map().is_up(NodeId(2))), (3, true));
    assert_eq!(control.run(set(9, 1, NodeState::Up)), Err(ControlRefusal::NoSuchNode));
}

#[test]
fn voters_are_wanted_and_recorded_apart_and_an_older_record_is_ignored() {
    let mut control = Control::new();
    let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    let place = |group, wanted: &[u64]| ControlCommand::PlaceVoters { group: GroupId(group), wanted: nodes(wanted) };
    let record = |at, voters: &[u64]| ControlCommand::RecordVoters {
        group: GroupId(2),
        at: LogIndex(at),
        voters: nodes(voters),
    };
    control.run(place(2, &[3])).expect("allowed");
    control.run(place(2, &[3])).expect("the same again");
    let map = control.map();
    assert_eq!((map.version, map.voters(GroupId(2))), (2, &nodes(&[1, 2, 3])[..]));
    assert_eq!(map.raft_groups[2].wanted, nodes(&[3]));
    assert!(map.concerns(GroupId(2), NodeId(1)) && !map.concerns(GroupId(9), NodeId(1)));
    control.run(record(9, &[3])).expect("newer");
    control.run(record(8, &[1, 2, 3])).expect("ignored");
    control.run(record(10, &[3])).expect("nothing new");
    assert_eq!((control.map().version, control.map().voters(GroupId(2))), (3, &nodes(&[3])[..]));
    assert!(!control.map().concerns(GroupId(2), NodeId(1)));
    for bad in [&[1, 2][..], &[], &[9], &[1, 1, 2], &[1, 2, 3, 1, 2, 3, 1, 2, 3]] {
        assert_eq!(control.run(place(2, bad)), Err(ControlRefusal::BadVoters), "{bad:?}");
    }
    assert_eq!(control.run(place(7, &[1])), Err(ControlRefusal::NoSuchRaftGroup));
    assert_eq!(control.run(record(11, &[])), Err(ControlRefusal::BadVoters));
}

#[test]
fn buckets_go_to_the_group_with_the_fewest() {
    let mut control = Control::new();
    let groups: Vec<u32> =
        (0..5).map(|i| control.bucket(&format!("bucket-{i}"), "kim", i).expect("made").group.0).collect();
    assert_eq!(groups, [1, 2, 3, 1, 2]);
    control.run(ControlCommand::DeleteBucket { bucket: BucketId(1) }).expect("there");
    control.run(ControlCommand::DeleteBucket { bucket: BucketId(4) }).expect("there");
    control.run(ControlCommand::DeleteBucket { bucket: BucketId(4) }).expect("gone already");
    assert_eq!(control.run(ControlCommand::DeleteBucket { bucket: BucketId(6) }), Err(ControlRefusal::NoSuchBucket));
    let next = control.bucket("bucket-9", "kim", 1).expect("made");
    assert_eq!((next.id, next.group), (BucketId(6), GroupId(1)));
    let ControlAnswer::Buckets(all) = control.ask(ControlQuery::Buckets) else { panic!("buckets") };
    let names: Vec<&str> = all.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["bucket-1", "bucket-2", "bucket-4", "bucket-9"]);
    assert_eq!(control.ask(ControlQuery::Bucket { name: "bucket-0".into() }), ControlAnswer::Bucket(None));
    assert_eq!(control.ask(ControlQuery::Bucket { name: "bucket-9".into() }), ControlAnswer::Bucket(Some(next)));
}

#[test]
fn a_deleted_bucket_can_be_had_back() {
    let mut control = Control::new();
    let books = control.bucket("books", "kim", 1).expect("made");
    control.run(ControlCommand::DeleteBucket { bucket: books.id }).expect("there");
    let deleted = |control: &Control| match control.ask(ControlQuery::DeletedBuckets) {
        ControlAnswer::DeletedBuckets(deleted) => deleted.into_iter().map(|(info, _)| info).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(deleted(&control), std::slice::from_ref(&books));
    let undelete = |name: &str| ControlCommand::UndeleteBucket { bucket: books.id, name: name.into() };
    assert_eq!(control.run(undelete("books")), Ok(ControlOutcome::Bucket(books.clone())));
    assert_eq!(control.run(undelete("books")), Ok(ControlOutcome::Bucket(books.clone())), "again");
    assert_eq!(control.run(undelete("other")), Err(ControlRefusal::NoSuchBucket), "it is not deleted");
    assert_eq!(deleted(&control), []);

    control.run(ControlCommand::DeleteBucket { bucket: books.id }).expect("there");
    control.bucket("books", "lee", 2).expect("the name is free");
    assert_eq!(control.run(undelete("books")), Err(ControlRefusal::BucketExists));
    assert_eq!(control.run(undelete("Books")), Err(ControlRefusal::InvalidBucketName));
    let back = match control.run(undelete("books-2")) {
        Ok(ControlOutcome::Bucket(back)) => back,
        other => panic!("{other:?}"),
    };
    assert_eq!((back.id, back.owner.as_str(), back.name.as_str()), (books.id, "kim", "books-2"));
}

#[test]
fn a_bucket_name_is_taken_once() {
    let mut control = Control::new();
    let made = control.bucket("books", "kim", 1).expect("made");
    assert_eq!(control.bucket("books", "kim", 1), Ok(made), "the same request");
    assert_eq!(control.bucket("books", "kim", 2), Err(ControlRefusal::BucketExistsYours));
    assert_eq!(control.bucket("books", "lee", 1), Err(ControlRefusal::BucketExists));
    assert_eq!(control.bucket("Books", "kim", 1), Err(ControlRefusal::InvalidBucketName));
    assert_eq!(control.bucket("books2", "", 1), Err(ControlRefusal::InvalidName));
    let mut empty = Control { kv: MemoryKv::new(), time: 0 };
    assert_eq!(empty.bucket("books", "kim", 1), Err(ControlRefusal::NotBootstrapped));
}

#[test]
fn bucket_names_follow_the_rules_of_s3() {
    let longest = "a".repeat(63);
    for good in ["abc", "a-b", "a.b.c", "123", "1.2.3", &longest] {
        assert!(is_bucket_name(good), "{good}");
    }
    let long = "a".repeat(64);
    let bad = ["ab", "", "Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "1.2.3.4", "999.1.1.1", "xn--abc", &long];
    for bad in bad.into_iter().chain(["abc-s3alias", "abc--ol-s3", "sthree-abc", "a/b", "a\0b", "äbc"]) {
        assert!(!is_bucket_name(bad), "{bad}");
    }
}

#[test]
fn users_and_keys_come_and_go() {
    let mut control = Control::new();
    let user = |name: &str| ControlCommand::CreateUser { name: name.into() };
    assert_eq!(control.run(key("AKIA", "kim", "secret-secret")), Err(ControlRefusal::NoSuchUser));
    control.run(user("kim")).expect("made");
    control.run(user("kim")).expect("there");
    control.run(user("lee@books")).expect("made");
    for bad in ["", "a b", "a/b", &"x".repeat(65)] {
        assert_eq!(control.run(user(bad)), Err(ControlRefusal::InvalidName), "{bad:?}");
    }
    control.run(key("AKIA", "kim", "secret-secret")).expect("made");
    control.run(key("AKIA", "kim", "secret-secret")).expect("the same");
    assert_eq!(control.run(key("AKIA", "kim", "other-secret")), Err(ControlRefusal::KeyExists));
    assert_eq!(control.run(key("AKIA", "lee@books", "secret-secret")), Err(ControlRefusal::KeyExists));
    assert_eq!(control.run(key("A/B", "kim", "secret-secret")), Err(ControlRefusal::InvalidName));
    assert_eq!(control.run(key("AKIB", "kim", "short")), Err(ControlRefusal::InvalidName));
    control.run(key("AKIC", "lee@books", "secret-secret")).expect("made");
    let keys = ControlAnswer::Keys(vec![("AKIA".into(), "kim".into()), ("AKIC".into(), "lee@books".into())]);
    assert_eq!(control.ask(ControlQuery::Keys), keys);
    assert_eq!(control.ask(ControlQuery::Users), ControlAnswer::Users(vec!["kim".into(), "lee@books".into()]));
    control.run(ControlCommand::DeleteUser { name: "kim".into() }).expect("there");
    assert_eq!(control.run(ControlCommand::DeleteUser { name: "kim".into() }), Err(ControlRefusal::NoSuchUser));
    assert_eq!(control.ask(ControlQuery::Key { access_key: "AKIA".into() }), ControlAnswer::Key(None));
    control.run(ControlCommand::DeleteKey { access_key: "AKIC".into() }).expect("there");
    control.run(ControlCommand::DeleteKey { access_key: "AKIC".into() }).expect("gone already");
    assert_eq!(control.ask(ControlQuery::Keys), ControlAnswer::Keys(vec![]));
}

#[test]
fn sessions_are_numbered_from_one_and_end_for_good() {
    let mut control = Control::new();
    let (one, two) = (control.session(), control.session());
    assert_eq!((one, two), (SessionId(1), SessionId(2)));
    let renew = |session| ControlCommand::RenewSession { session };
    let end = |session| ControlCommand::EndSession { session };
    control.run(renew(one)).expect("open");
    control.run(end(two)).expect("open");
    control.run(end(two)).expect("ended already");
    assert_eq!(control.run(renew(two)), Err(ControlRefusal::NoSuchSession));
    assert_eq!(control.run(end(SessionId(9))), Err(ControlRefusal::NoSuchSession));
    assert_eq!(control.run(end(SessionId(0))), Err(ControlRefusal::NoSuchSession));
    assert_eq!(control.session(), SessionId(3));
    let ControlAnswer::Sessions(open) = control.ask(ControlQuery::Sessions) else { panic!("sessions") };
    assert_eq!(open[0], (one, "gateway".into(), Timestamp(4)));
    assert_eq!(open.len(), 2);
    let long = ControlCommand::OpenSession { kind: "x".repeat(65) };
    assert_eq!(control.run(long), Err(ControlRefusal::InvalidName));
}

#[test]
fn commands_of_the_other_kind_are_refused() {
    let batch = LogBatch {
        time: Timestamp(1),
        commands: vec![
            LogCommand::Meta(None, Command::EnsureBucket { bucket: BucketId(1) }),
            LogCommand::Control(ControlCommand::CreateUser { name: "kim".into() }),
        ],
    };
    let mut kv = MemoryKv::new();
    let applied = apply(&mut kv, GroupId::CONTROL, &batch).expect("memory");
    assert_eq!(applied, [Applied::Meta(Err(Refusal::Invalid)), Applied::Control(Ok(ControlOutcome::Done))]);
    let mut kv = MemoryKv::new();
    let applied = apply(&mut kv, GroupId(1), &batch).expect("memory");
    let refused = Applied::Control(Err(ControlRefusal::NotBootstrapped));
    assert_eq!(applied, [Applied::Meta(Ok(proto::meta::Outcome::Done)), refused]);
}

#[test]
fn a_session_expires_only_if_it_was_silent_since_the_renewal_that_was_seen() {
    let mut control = Control::new();
    let (one, two) = (control.session(), control.session());
    let renewed = |control: &Control, session| {
        let ControlAnswer::Sessions(open) = control.ask(ControlQuery::Sessions) else { panic!("sessions") };
        open.iter().find(|(id, ..)| *id == session).map(|(_, _, renewed)| *renewed).expect("open")
    };
    let seen = renewed(&control, one);
    control.run(ControlCommand::RenewSession { session: one }).expect("renewed");
    let expire = |session, renewed| ControlCommand::ExpireSession { session, renewed };
    control.run(expire(one, seen)).expect("nothing to do");
    let ids = |control: &Control| match control.ask(ControlQuery::OpenSessions) {
        ControlAnswer::OpenSessions { open, last } => (open, last),
        other => panic!("{other:?}"),
    };
    assert_eq!(ids(&control), (vec![one, two], two));
    let seen = renewed(&control, one);
    control.run(expire(one, seen)).expect("ended");
    control.run(expire(one, seen)).expect("twice");
    assert_eq!(ids(&control), (vec![two], two));
    let late = control.run(ControlCommand::RenewSession { session: one });
    assert_eq!(late, Err(ControlRefusal::NoSuchSession));
}

/// A leader whose clock was set back makes the group's time stand still for as long. Sessions that are renewed meanwhile are not taken for silent
/// ones.
#[test]
fn a_renewal_shows_while_the_groups_time_stands_still() {
    let mut control = Control::new();
    let session = control.session();
    let renewed = |control: &Control| match control.ask(ControlQuery::Sessions) {
        ControlAnswer::Sessions(open) => open.first().map(|(.., renewed)| *renewed).expect("open"),
        other => panic!("{other:?}"),
    };
    let mut seen = vec![renewed(&control)];
    for _ in 0..3 {
        let renew = LogCommand::Control(ControlCommand::RenewSession { session });
        // Far in the past.
        let batch = LogBatch { time: Timestamp(1), commands: vec![renew] };
        let applied = apply(&mut control.kv, GroupId::CONTROL, &batch).expect("memory");
        assert_eq!(applied, [Applied::Control(Ok(ControlOutcome::Done))]);
        seen.push(renewed(&control));
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    let stale = ControlCommand::ExpireSession { session, renewed: seen[0] };
    control.run(stale).expect("nothing to do");
    assert_eq!(renewed(&control), seen[3]);
}

#[test]
fn garbage_is_collected_as_the_operator_says() {
    let mut control = Control::new();
    let options = |control: &Control| match control.ask(ControlQuery::Garbage) {
        ControlAnswer::Garbage(options) => options,
        other => panic!("{other:?}"),
    };
    assert_eq!(options(&control), GarbageOptions::default());
    let set = |on, grace, lift| ControlCommand::SetGarbage { on, grace, lift };
    control.run(set(Some(false), None, true)).expect("set");
    control.run(set(None, Some(5), false)).expect("set");
    assert_eq!(options(&control), GarbageOptions { on: false, grace: 5, lifted: 1 });
    for grace in [-1, GarbageOptions::GRACE_MAX + 1] {
        assert_eq!(control.run(set(Some(true), Some(grace), true)), Err(ControlRefusal::Setting));
    }
    assert_eq!(options(&control), GarbageOptions { on: false, grace: 5, lifted: 1 });
}
