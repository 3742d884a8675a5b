//! Replicas that are taken in and let go while the services run, on real disks.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use meta_core::kv::{Kv, KvRead};
use meta_server::MetaServer;
use proto::meta::Command;
use state_store::{SharedCache, StateStore};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;
use types::{GroupId, GroupPlacement, LogIndex, NodeId, PlacementMap, ReplicaId};

/// What a node does twice a second, for all of them: says who shall vote, and lets replicas go that their group has let go.
async fn round(cluster: &Cluster, wanted: &[u64]) {
    let wanted: Vec<_> = wanted.iter().copied().map(NodeId).collect();
    let group = |id| GroupPlacement { wanted: wanted.clone(), ..GroupPlacement::founding(GroupId(id), wanted.clone()) };
    let map = PlacementMap { raft_groups: vec![group(1)], ..PlacementMap::default() };
    let cut = cluster.wires.cut.read().clone();
    let servers = cluster.wires.servers.read().clone();
    for (_, server) in servers.iter().filter(|(node, _)| !cut.contains(node)) {
        assert!(server.set_map(&map));
        let here = server.memberships().into_iter().find(|membership| membership.group == GROUP);
        let Some(here) = here.filter(|here| !here.leads) else { continue };
        let Some(leader) = cluster.leader() else { continue };
        let asked = cluster.server(leader);
        let members = tokio::time::timeout(Duration::from_secs(3), asked.members(GROUP)).await;
        if let Ok(Ok(members)) = members
            && !members.contains(here.replica)
        {
            server.let_go(GROUP, here.replica);
        }
    }
}

fn replica(cluster: &Cluster, node: u64) -> Option<ReplicaId> {
    let server = cluster.wires.servers.read().get(&NodeId(node)).cloned()?;
    server.memberships().into_iter().find(|membership| membership.group == GROUP).map(|membership| membership.replica)
}

fn settled(cluster: &Cluster, wanted: &[u64]) -> bool {
    let servers = cluster.wires.servers.read().clone();
    let wanted: BTreeSet<_> = wanted.iter().copied().map(NodeId).collect();
    servers.iter().all(|(node, server)| {
        let here = server.memberships().into_iter().find(|membership| membership.group == GROUP);
        match here {
            None => !wanted.contains(node),
            Some(here) => {
                let voters: BTreeSet<_> = here.members.voters.iter().map(|voter| voter.node()).collect();
                wanted.contains(node) && voters == wanted && here.members.all().count() == wanted.len()
            }
        }
    })
}

/// Where everyone stands, for the last words of a test.
fn standing(cluster: &Cluster) -> String {
    let servers = cluster.wires.servers.read().clone();
    let line = |(node, server): (&NodeId, &Arc<MetaServer>)| {
        let status = server.statuses().into_iter().find(|status| status.group == GROUP);
        let membership = server.memberships().into_iter().find(|membership| membership.group == GROUP);
        format!("\n{node}: {membership:?}\n   {status:?}")
    };
    servers.iter().map(line).collect()
}

async fn change_to(cluster: &Cluster, wanted: &[u64]) {
    let begun = Instant::now();
    while !settled(cluster, wanted) {
        assert!(begun.elapsed() < PATIENCE, "the members did not become {wanted:?}:{}", standing(cluster));
        round(cluster, wanted).await;
        tokio::time::sleep(Duration::from_millis(50)).await; // wait-ok: polls a condition, bounded by PATIENCE
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn state(cluster: &Cluster, node: u64) -> std::path::PathBuf {
    cluster.path(NodeId(node)).join("state").join(GROUP.0.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t21_a_replica_that_was_let_go_never_comes_back_under_its_name() {
    let cluster = Cluster::new(10_000);
    cluster.start(NodeId(4));
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    for i in 0..50 {
        cluster.put(&format!("{i}"), &format!("value {i}")).await;
    }
    assert_eq!(replica(&cluster, 4), None);
    change_to(&cluster, &[1, 2, 4]).await;
    cluster.caught_up(NodeId(4)).await;
    for i in 0..50 {
        let value = format!("value {i}");
        assert_eq!(cluster.stale_get(NodeId(4), &format!("{i}")).as_deref(), Some(value.as_bytes()));
    }
    assert!(!state(&cluster, 3).exists(), "its store is still there");
    // Nor is anything there after a restart of everybody, though the first map names node 3.
    for node in 1..=4 {
        cluster.stop(NodeId(node)).await;
    }
    for node in 1..=4 {
        cluster.start(NodeId(node));
    }
    assert_eq!(replica(&cluster, 3), None);
    assert_eq!(cluster.get("7").await.as_deref(), Some(&b"value 7"[..]));
    // It may be taken in again, as another one.
    change_to(&cluster, &[2, 3, 4]).await;
    let again = replica(&cluster, 3).unwrap();
    assert!(again.node() == NodeId(3) && again.life() > LogIndex(0), "{again}");
    cluster.put("after", "all").await;
    cluster.caught_up(NodeId(3)).await;
    assert_eq!(cluster.stale_get(NodeId(3), "after").as_deref(), Some(&b"all"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t20_an_old_copy_of_a_folder_is_replaced_before_it_counts() {
    let cluster = Cluster::new(10_000);
    cluster.start(NodeId(4));
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    cluster.put("old", "1").await;
    cluster.stop(NodeId(3)).await;
    let aside = cluster.dir.path().join("aside");
    copy(&cluster.path(NodeId(3)), &aside);
    cluster.start(NodeId(3));
    change_to(&cluster, &[1, 2, 4]).await;
    change_to(&cluster, &[1, 3, 4]).await;
    let now = replica(&cluster, 3).unwrap();
    cluster.put("new", "2").await;
    cluster.stop(NodeId(3)).await;
    std::fs::remove_dir_all(cluster.path(NodeId(3))).unwrap();
    copy(&aside, &cluster.path(NodeId(3)));
    cluster.start(NodeId(3));
    // The copy is of a replica that the group let go, and the one it knows is lost with what it voted and acknowledged: it is let
    // go as well, and a third begins.
    let begun = Instant::now();
    while cluster.stale_get(NodeId(3), "new").is_none() {
        assert!(begun.elapsed() < PATIENCE, "it was not filled");
        round(&cluster, &[1, 3, 4]).await;
        tokio::time::sleep(Duration::from_millis(50)).await; // wait-ok: polls a condition, bounded by PATIENCE
    }
    change_to(&cluster, &[1, 3, 4]).await;
    assert!(replica(&cluster, 3).unwrap().life() > now.life());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_voters_are_replaced_under_writes_and_nothing_is_lost() {
    let cluster = Arc::new(Cluster::new(60));
    for node in 4..=6 {
        cluster.start(NodeId(node));
    }
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn(write(cluster.clone(), stop.clone(), written.clone()));
    let begun = Instant::now();
    while written.load(Ordering::Relaxed) < 150 {
        assert!(begun.elapsed() < PATIENCE, "no writes");
        tokio::time::sleep(Duration::from_millis(20)).await; // wait-ok: polls a condition, bounded by PATIENCE
    }
    change_to(&cluster, &[4, 5, 6]).await;
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    for node in 1..=3 {
        cluster.stop(NodeId(node)).await;
    }
    for i in 0..written.load(Ordering::Relaxed) {
        assert_eq!(cluster.get(&format!("{i:05}")).await.as_deref(), Some(i.to_string().as_bytes()));
    }
}

/// Removes the row of a name from the state of a node that does not run, as a bug or a bit on the disk might.
fn plant_divergence(cluster: &Cluster, node: NodeId, name: &[u8]) {
    let store = StateStore::open(&state(cluster, node.0), &SharedCache::new(1 << 20)).unwrap();
    let mut batch = store.batch();
    let rows = batch.scan(&[], &[0xff; 64], 100_000).unwrap();
    let named: Vec<_> = rows.iter().filter(|(key, _)| key.windows(name.len()).any(|part| part == name)).collect();
    assert!(!named.is_empty(), "there is no such name");
    named.iter().for_each(|(key, _)| batch.delete(key));
    let point = store.applied();
    store.commit(batch, point, None).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_state_differs_is_found_let_go_and_made_anew() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    cluster.put("planted", "old").await;
    for i in 0..40 {
        cluster.put(&format!("{i}"), "same").await;
    }
    let all = [1, 2, 3];
    round(&cluster, &all).await;
    assert!((1..=3).all(|node| replica(&cluster, node) == Some(ReplicaId(node))), "one was accused wrongly");
    let leader = cluster.leader().unwrap();
    let victim = all.into_iter().find(|node| NodeId(*node) != leader).unwrap();
    cluster.caught_up(NodeId(victim)).await;
    cluster.stop(NodeId(victim)).await;
    plant_divergence(&cluster, NodeId(victim), b"planted");
    cluster.start(NodeId(victim));
    cluster.caught_up(NodeId(victim)).await;
    assert_eq!(cluster.stale_get(NodeId(victim), "planted"), None);
    // What this changes differs there, and so does the hash from then on.
    cluster.put("planted", "new").await;
    let begun = Instant::now();
    let mut puts = 0;
    while replica(&cluster, victim).is_none_or(|replica| replica.life() == LogIndex(0)) || !settled(&cluster, &all) {
        assert!(begun.elapsed() < PATIENCE, "it was not made anew");
        round(&cluster, &all).await;
        puts += 1;
        cluster.put(&format!("more {puts}"), "same").await;
    }
    assert!((1..=3).filter(|node| *node != victim).all(|node| replica(&cluster, node) == Some(ReplicaId(node))));
    cluster.caught_up(NodeId(victim)).await;
    assert_eq!(cluster.stale_get(NodeId(victim), "planted").as_deref(), Some(&b"new"[..]));
    assert_eq!(cluster.stale_get(NodeId(victim), "7").as_deref(), Some(&b"same"[..]));
}

/// T02 for one group: planned transfers of leadership while a client writes. The longest time between two answers is measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t02_a_planned_transfer_keeps_writers_waiting_for_less_than_200_ms() {
    let cluster = Arc::new(Cluster::new(10_000));
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    cluster.put("first", "x").await;
    let answers = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (cluster, stop, answers) = (cluster.clone(), stop.clone(), answers.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                cluster.put("key", "value").await;
                answers.lock().unwrap().push(Instant::now());
            }
        })
    };
    let mut gaps = Vec::new();
    for _ in 0..10 {
        let old = cluster.leader().unwrap();
        cluster.caught_up(old).await;
        let before = answers.lock().unwrap().len();
        cluster.server(old).hand_over_group(GROUP);
        let moved = || cluster.leader().is_some_and(|leader| leader != old);
        cluster.until("another leader", moved).await;
        cluster.until("a few answers", || answers.lock().unwrap().len() > before + 20).await;
        let answers = answers.lock().unwrap();
        let gap = answers[before.saturating_sub(1)..].windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        gaps.push(gap);
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    gaps.sort_unstable();
    println!("gaps of planned transfers: {gaps:?}");
    // The median: a busy machine may delay any single one.
    assert!(gaps[gaps.len() / 2] <= Duration::from_millis(200), "{gaps:?}");
}

/// Chooses by a seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Three of five nodes.
    fn three(&mut self) -> Vec<u64> {
        let mut nodes = vec![1, 2, 3, 4, 5];
        while nodes.len() > 3 {
            nodes.remove(self.below(nodes.len() as u64) as usize);
        }
        nodes
    }
}

/// What happens to a node while members change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    CutOff(NodeId),
    Dead(NodeId),
}

impl Trouble {
    async fn begin(cluster: &Cluster, dice: &mut Dice) -> Trouble {
        let any = NodeId(1 + dice.below(5));
        let leader = cluster.leader().unwrap_or(any);
        let trouble = match dice.below(8) {
            0 => Trouble::None,
            1..4 => Trouble::CutOff(leader),
            4..6 => Trouble::Dead(leader),
            6 => Trouble::CutOff(any),
            _ => Trouble::Dead(any),
        };
        match trouble {
            Trouble::None => {}
            Trouble::CutOff(node) => {
                cluster.wires.cut.write().insert(node);
            }
            Trouble::Dead(node) => cluster.stop(node).await,
        }
        trouble
    }

    fn end(self, cluster: &Cluster) {
        match self {
            Trouble::None => {}
            Trouble::CutOff(node) => {
                cluster.wires.cut.write().remove(&node);
            }
            Trouble::Dead(node) => cluster.start(node),
        }
    }
}

async fn rounds(cluster: &Cluster, wanted: &[u64], count: u64) {
    for _ in 0..count {
        round(cluster, wanted).await;
        tokio::time::sleep(Duration::from_millis(50)).await; // wait-ok: the schedule of the faults
    }
}

/// T22. Which nodes shall vote changes five times, mostly before the change before has come to its end, while leaders are cut off or die and come
/// back. Nobody has to know how far each change has come: in the end there is one configuration, one leader, and every acknowledged write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_members_change_while_leaders_are_cut_off_and_die() {
    let seeds = if std::env::var_os("SAGO_BATTERY").is_some() { 30 } else { 3 };
    for seed in 0..seeds {
        let cluster = Arc::new(Cluster::new(60));
        (4..=5).for_each(|node| cluster.start(NodeId(node)));
        cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = tokio::spawn(write(cluster.clone(), stop.clone(), written.clone()));
        let mut dice = Dice(seed);
        let mut troubles = Vec::new();
        let mut wanted = vec![1, 2, 3];
        for _ in 0..5 {
            wanted = dice.three();
            rounds(&cluster, &wanted, dice.below(4)).await;
            let trouble = Trouble::begin(&cluster, &mut dice).await;
            rounds(&cluster, &wanted, 10 + dice.below(30)).await;
            trouble.end(&cluster);
            troubles.push(trouble);
        }
        change_to(&cluster, &wanted).await;
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        let leaders = || cluster.wires.servers.read().values().filter(|server| server.is_leader(GROUP)).count();
        cluster.until("one leads", || leaders() == 1).await;
        let written = written.load(Ordering::Relaxed);
        println!("seed {seed}: {troubles:?}; {wanted:?} vote in the end; {written} writes");
        assert!(written > 0 && settled(&cluster, &wanted), "seed {seed}");
        for node in &wanted {
            cluster.caught_up(NodeId(*node)).await;
            for i in 0..written {
                let value = cluster.stale_get(NodeId(*node), &format!("{i:05}"));
                assert_eq!(value.as_deref(), Some(i.to_string().as_bytes()), "seed {seed}, node {node}, write {i}");
            }
        }
        for node in 1..=5 {
            cluster.stop(NodeId(node)).await;
        }
    }
}

/// Writes one name after the other; counts those that were acknowledged.
async fn write(cluster: Arc<Cluster>, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let i = written.load(Ordering::Relaxed);
        cluster.put(&format!("{i:05}"), &format!("{i}")).await;
        written.store(i + 1, Ordering::Relaxed);
    }
}
