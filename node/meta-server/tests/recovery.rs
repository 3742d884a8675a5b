//! The majority of a group is gone for good, and one voter is made the only one: on real disks, as `sago recover` does it.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use proto::log::{LogBatch, LogCommand, Recovery};
use proto::meta::{Answer, Command, MetaReply, Query};
use raft_core::{Change, Entry, EntryKind, Members};
use raft_log::{Replacement, check, replace_voters};
use support::*;
use types::{Findings, GroupId, LogIndex, NodeId, ReplicaId, Term, Timestamp};

const LEFT: NodeId = NodeId(1);

/// Makes the voter the only one of its groups. Returns its new name in [`GROUP`].
fn recover(cluster: &Cluster) -> ReplicaId {
    let path = cluster.path(LEFT).join("raft");
    let log = check(&path, LEFT, &mut Findings::default(), &mut |_| {}).unwrap();
    let replacement = |group: &GroupId| {
        let log = &log.groups()[group];
        let (index, term) = (LogIndex(log.last.0 + 1), Term(log.newest_term.0 + 1));
        let replica = ReplicaId::new(LEFT, index);
        let commands = vec![LogCommand::Recover(Recovery::default())];
        let told = proto::encode(&LogBatch { time: Timestamp(0), commands });
        let entries = vec![
            Entry { term, index, kind: EntryKind::ConfChange, data: Change::Only(replica).encode().into() },
            Entry { term, index: LogIndex(index.0 + 1), kind: EntryKind::Normal, data: Bytes::from(told) },
        ];
        Replacement { group: *group, replica, entries }
    };
    let replacements: Vec<_> = log.groups().keys().map(replacement).collect();
    drop(log);
    replace_voters(&path, LEFT, &replacements).unwrap();
    replacements.iter().find(|replacement| replacement.group == GROUP).unwrap().replica
}

fn leads(cluster: &Cluster, node: NodeId) -> bool {
    cluster.wires.servers.read().get(&node).is_some_and(|server| server.is_leader(GROUP))
}

async fn stop_all(cluster: &Cluster) {
    for node in 1..=3 {
        cluster.stop(NodeId(node)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_is_left_leads_alone_with_all_it_had_and_former_voters_do_not_reach_it() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    for i in 0..30 {
        cluster.put(&format!("{i}"), "had").await;
    }
    cluster.caught_up(LEFT).await;
    cluster.stop(LEFT).await;
    // Acknowledged without it: its log is the worse one.
    for i in 0..30 {
        cluster.put(&format!("lost {i}"), "lost").await;
    }
    stop_all(&cluster).await;
    let replica = recover(&cluster);

    cluster.start(LEFT);
    cluster.until("it leads", || leads(&cluster, LEFT)).await;
    let members = cluster.server(LEFT).members(GROUP).await.unwrap();
    assert_eq!(members, Members { voters: vec![replica], ..Members::default() });
    for i in 0..30 {
        assert_eq!(cluster.get(&format!("{i}")).await.as_deref(), Some(&b"had"[..]));
        assert_eq!(cluster.get(&format!("lost {i}")).await, None);
    }
    cluster.put("after", "it").await;
    let held = |cluster: &Cluster| match cluster.server(LEFT).query(GROUP, &Query::Garbage).unwrap() {
        MetaReply::Answer(Ok(answer)) => matches!(*answer, Answer::Garbage(status) if status.held),
        other => panic!("{other:?}"),
    };
    assert!(held(&cluster));

    // Both of the others turn up. They elect a leader, in a later term and with a better log, and are not heard.
    cluster.start(NodeId(2));
    cluster.start(NodeId(3));
    cluster.until("the others elect", || leads(&cluster, NodeId(2)) || leads(&cluster, NodeId(3))).await;
    assert!(leads(&cluster, LEFT));
    for node in [2, 3] {
        cluster.stop(NodeId(node)).await;
    }
    cluster.put("undisturbed", "it goes on").await;
    assert_eq!(cluster.stale_get(LEFT, "lost 7"), None);

    // It comes back as what it is.
    cluster.stop(LEFT).await;
    cluster.start(LEFT);
    cluster.until("it leads again", || leads(&cluster, LEFT)).await;
    assert_eq!(cluster.get("after").await.as_deref(), Some(&b"it"[..]));
    assert_eq!(cluster.server(LEFT).members(GROUP).await.unwrap().voters, [replica]);
    assert!(held(&cluster));
    cluster.command(Command::ReleaseHold).await.unwrap();
    assert!(!held(&cluster));
}
