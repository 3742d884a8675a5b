use super::*;
use crate::exit::Kind;
use crate::fsck::tests::{DATA, ENTRIES, NODE, Node, run};
use plan::Beginning;
use proto::log::{LogBatch, LogCommand, Recovery};
use raft_core::{Change, Entry, EntryKind, HardState, Members};
use raft_log::{GroupWrite, Mark, RaftLog};
use std::fs;
use std::sync::Arc;
use types::{LogIndex, NodeId, ReplicaId, Term};

/// The folder of a voter of three, which has run.
fn voter() -> Node {
    let node = Node::new();
    for group in [GroupId::CONTROL, DATA] {
        name_members(&node, group, &Members::founding([1, 2, 3].map(NodeId)));
    }
    node
}

fn name_members(node: &Node, group: GroupId, members: &Members) {
    let store = node.state(group);
    store.commit(store.batch(), store.applied(), Some(&members.encode())).expect("committed");
}

fn log(node: &Node) -> Arc<RaftLog> {
    Arc::new(RaftLog::open(&node.meta("raft"), NODE).expect("the log opens").0)
}

fn planned(node: &Node, group: Option<u32>) -> Done<Plan> {
    let site = Site::load(&node.path).expect("a node");
    let mut findings = Findings::default();
    let found = metadata(&site, &mut findings, true).expect("it can be looked at");
    sound(&findings)?;
    Plan::new(&site, &found, group.map(GroupId))
}

fn refused(node: &Node, group: Option<u32>) -> String {
    planned(node, group).expect_err("it is refused").message
}

#[test]
fn all_groups_are_planned_and_one_group_is() {
    let node = voter();
    let plan = planned(&node, None).expect("a plan");
    let groups: Vec<_> = plan.groups.iter().map(|group| (group.group, group.start)).collect();
    let start = Beginning { index: LogIndex(ENTRIES + 1), term: Term(2) };
    assert_eq!(groups, [(0, start), (1, start)]);
    assert_eq!((plan.lost.clone(), plan.removes), (vec![1, 3], true));
    let cluster = Site::load(&node.path).expect("a node").cluster.expect("a cluster file").cluster;
    assert_eq!(plan.sentence, format!("lose ALL of {cluster}"));
    let text = plan.text();
    for part in
        ["group 0 (control)", "last entry 5 of term 1, 5 known", "bucket 1: 1 files, 8.8 KiB", "Nodes 1, 3 are removed"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let plan = planned(&node, Some(1)).expect("a plan");
    assert_eq!((plan.groups.len(), plan.removes, plan.sentence), (1, false, format!("lose GROUP-1 of {cluster}")));
}

#[test]
fn a_group_that_is_not_lost_or_not_ready_is_left_alone() {
    let node = Node::new();
    assert!(refused(&node, Some(1)).contains("does not say who votes"));
    assert!(refused(&node, Some(9)).contains("not in this node's log"));
    assert!(refused(&node, None).contains("nothing to recover"));

    let node = voter();
    name_members(&node, DATA, &Members::founding([1, 3].map(NodeId)));
    assert!(refused(&node, Some(1)).contains("does not vote"));
    let plan = planned(&node, None).expect("the other group can be");
    assert_eq!(plan.groups.iter().map(|group| group.group).collect::<Vec<_>>(), [0]);
    assert!(plan.text().contains("group 1 is left as it is"));

    name_members(&node, DATA, &Members::founding([NODE]));
    assert!(refused(&node, Some(1)).contains("only voter"));
}

#[test]
fn whoever_is_to_vote_by_the_last_entries_is_asked_too() {
    let node = voter();
    let (old, new) = (ReplicaId::founding(NodeId(3)), ReplicaId::new(NodeId(7), LogIndex(3)));
    let change = Change::EnterJoint { promote: vec![new], demote: vec![old] };
    let (term, index) = (Term(4), LogIndex(ENTRIES + 1));
    let entries = vec![Entry { term, index, kind: EntryKind::ConfChange, data: change.encode().into() }];
    let hard_state = Some(HardState { term, vote: ReplicaId::founding(NodeId(1)), commit: LogIndex(ENTRIES) });
    log(&node).write(&[GroupWrite { group: DATA, entries, hard_state, must_sync: true }]).expect("written");
    let plan = planned(&node, Some(1)).expect("a plan");
    assert_eq!((plan.lost.clone(), plan.groups[0].start.term), (vec![1, 3, 7], Term(5)));
    assert!(plan.text().contains("1 entries are kept and become committed"));
}

#[test]
fn a_log_that_has_lost_what_it_promised_is_told_first_and_other_damage_ends_it() {
    let node = voter();
    let log = log(&node);
    let vote = ReplicaId::founding(NodeId(1));
    // Acknowledged, and gone since.
    let entry = |index| Entry { term: Term(9), index: LogIndex(index), kind: EntryKind::Normal, data: "x".into() };
    let hard_state = Some(HardState { term: Term(9), vote, commit: LogIndex(ENTRIES) });
    let more = GroupWrite { group: DATA, entries: vec![entry(6), entry(7)], hard_state, must_sync: true };
    log.write(&[more]).expect("written");
    log.acknowledged(&[(DATA, Mark { term: Term(9), vote, last: LogIndex(7) })]);
    log.settle().expect("settled");
    drop(log);
    let whole = voter();
    for slot in ["WATERMARK-0", "WATERMARK-1"] {
        fs::copy(node.meta("raft").join(slot), whole.meta("raft").join(slot)).expect("copied");
    }
    let plan = planned(&whole, Some(1)).expect("a plan");
    assert_eq!(plan.groups[0].start.term, Term(10), "not a term in which it may have voted");
    assert!(plan.text().contains("HAS LOST ENTRIES: it had acknowledged entries up to 7"));

    fs::write(whole.meta("raft/IDENTITY"), "SAGORLOG").expect("written");
    let failure = planned(&whole, None).expect_err("damage");
    assert_eq!(failure.kind, Kind::Damaged);
    assert!(failure.message.contains("log-identity-damaged"), "{}", failure.message);
}

#[test]
fn what_is_written_is_one_step_and_is_not_written_twice() {
    let node = voter();
    let site = Site::load(&node.path).expect("a node");
    let plan = planned(&node, None).expect("a plan");
    write::write(&site, &plan).expect("written");
    let log = log(&node);
    for group in [GroupId::CONTROL, DATA] {
        let loaded = log.load(group).expect("there");
        let replica = ReplicaId::new(NODE, LogIndex(ENTRIES + 1));
        let hard_state = HardState { term: Term(2), vote: ReplicaId(0), commit: LogIndex(ENTRIES + 2) };
        assert_eq!((loaded.replica, loaded.hard_state, loaded.last), (Some(replica), hard_state, hard_state.commit));
        let (from, to) = (LogIndex(ENTRIES + 1), LogIndex(ENTRIES + 3));
        let entries = log.reader(group).entries(from, to, u64::MAX).expect("readable");
        assert_eq!(Change::decode(&entries[0].data), Ok(Change::Only(replica)));
        let told: LogBatch = proto::decode(&entries[1].data).expect("a batch");
        let voters = vec![(GroupId::CONTROL, vec![NODE]), (DATA, vec![NODE])];
        let recovery = Recovery { voters, lost: vec![NodeId(1), NodeId(3)] };
        assert_eq!(told.commands, [LogCommand::Recover(recovery)]);
        let name = format!("recovered-{}-{}.before", group.0, ENTRIES + 1);
        let noted: serde_json::Value =
            serde_json::from_slice(&fs::read(node.meta(&name)).expect("a note")).expect("JSON");
        assert_eq!(noted["before"]["hard_state"]["term"], 1);
    }
    drop(log);
    let mut findings = Findings::default();
    drop(metadata(&site, &mut findings, true).expect("it can be looked at"));
    assert_eq!(findings, Findings::default(), "the folder is as sound as before");
    assert!(refused(&node, None).contains("only voter"), "it was done");
}

#[test]
fn only_the_whole_sentence_is_a_yes() {
    let sentence = "lose ALL of 00112233445566778899aabbccddeeff";
    let typed = |text: &str| confirmed(sentence, &mut text.as_bytes());
    assert!(typed(&format!("{sentence}\n")).is_ok() && typed(sentence).is_ok());
    let long = "x".repeat(1 << 20);
    for text in ["", "\n", "y\n", "yes\n", "lose ALL\n", &sentence.to_lowercase(), &format!("{sentence}!\n"), &long] {
        assert_eq!(typed(text).map_err(|failure| failure.kind), Err(Kind::Usage), "{:.40}", text);
    }
}

#[test]
fn it_is_not_begun_without_the_word() {
    let node = voter();
    let args = RecoverArgs { path: node.path.clone(), unsafely: false, group: None, all: true, plan: true };
    let refused = run(recover(&args, Output { json: true }));
    assert_eq!(refused.map_err(|failure| failure.kind), Err(Kind::Usage));
}
