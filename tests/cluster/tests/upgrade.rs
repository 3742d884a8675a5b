//! A cluster is restarted and upgraded node by node by the operator's command, under load: no request fails. Until an operator has finalized the upgrade the
//! program before may come back; afterwards it does not start. What is new at this level, records, no command of an operator asks for: that it is refused until
//! then is a test of `node-server`.
//!
//! The program before is this one, held to the level before (`SAGO_NODE_FEATURE_LEVEL`): it says so, answers what came later as if it could not read it, and
//! ends where the cluster has gone on.

use anyhow::{Context, ensure};
use cluster::exit::DONE;
use cluster::{Background, Shelf, Traffic, fsck};
use harness::{Cluster, Options, must, schedule, until};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// The level before, and that of this program.
const OLD: u32 = 2;
const NEW: u32 = 3;
const OBJECTS: usize = 60;
/// The node that goes back, rests, and is held to the level before. An index.
const NODE: usize = 2;
/// Longest time until a node that was stopped is back and the command asks for the next.
const RESTARTED_MAX: Duration = Duration::from_secs(180);
/// Longest time until the cluster knows what has become of a node.
const KNOWN_MAX: Duration = Duration::from_secs(60);
/// Silence after which a node is out.
const OUT_AFTER: Duration = Duration::from_secs(5);
/// The longest a request may wait while nodes are restarted in order: as long as a node that is killed may keep a write.
const WAIT_MAX: Duration = Duration::from_secs(3);

#[test]
fn a_cluster_is_upgraded_node_by_node_under_load_and_no_request_fails() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options { level: Some(OLD), ..Options::default() })?;
    let shelf = Shelf::new(&cluster, "upgraded", |n| 20_000 + 3001 * n)?;
    shelf.store(0..OBJECTS)?;
    let traffic = Traffic::of_readers(&shelf, 0..OBJECTS).and_a_writer(&shelf, "meanwhile", Duration::ZERO);
    let (all, last) = upgrade(&mut cluster).with_context(|| cluster.last_words())?;
    let waits = traffic.finish(&shelf)?;
    println!(
        "all nodes upgraded in {:.1} s; {} requests, none failed, p99 {:.1} ms, the slowest {:.2} s",
        all.as_secs_f64(),
        waits.count(),
        waits.p99_ms(),
        waits.longest().as_secs_f64()
    );
    ensure!(waits.longest() <= WAIT_MAX, "a request took {:?}", waits.longest());
    finalized(&mut cluster, &last).with_context(|| cluster.last_words())?;
    shelf.check(0..OBJECTS)
}

/// From the level before to this one, a node back and forth again. How long that took for all nodes, and the last node's name.
fn upgrade(cluster: &mut Cluster) -> anyhow::Result<(Duration, String)> {
    let last = cluster.target().nodes[NODE].id.to_string();
    speak(cluster, &[OLD; 3])?;
    let start = Instant::now();
    restart_all(cluster, |cluster, upgraded| {
        // So many of them run the new program.
        let spoken: Vec<u32> = (0..cluster.nodes()).map(|at| if at < upgraded { NEW } else { OLD }).collect();
        speak(cluster, &spoken)?;
        nothing_new(cluster)
    })?;
    let all = start.elapsed();
    speak(cluster, &[NEW; 3])?;
    // All can do it, nobody has said so: the way back is open.
    again(cluster, Some(OLD))?;
    speak(cluster, &[NEW, NEW, OLD])?;
    nothing_new(cluster)?;
    again(cluster, None)?;
    speak(cluster, &[NEW; 3])?;
    Ok((all, last))
}

/// A node rests as before, and the program before does not start any more.
fn finalized(cluster: &mut Cluster, last: &str) -> anyhow::Result<()> {
    ensure!(finalize(cluster)? == NEW, "not finalized");
    let seconds = OUT_AFTER.as_secs().to_string();
    cluster.operate(&["placement", "set", "--out-after", &seconds])?;

    cluster.operate(&["node", "rest", last, "--for", "1h"])?;
    ensure!(node(cluster, NODE)?["rests_until"].is_string(), "nobody knows of the rest");
    cluster.stop(NODE)?;
    is(cluster, "down")?;
    schedule(Instant::now() + 2 * OUT_AFTER);
    ensure!(node(cluster, NODE)?["state"] == "down", "a node that rests is given up");
    cluster.restart(NODE)?;
    is(cluster, "up")?;
    cluster.operate(&["node", "rest", last, "--over"])?;
    ensure!(node(cluster, NODE)?["rests_until"].is_null(), "it rests on");

    cluster.stop(NODE)?;
    cluster.set_level(NODE, Some(OLD));
    cluster.restart(NODE)?;
    until("a program that is too old ends", KNOWN_MAX, || !cluster.runs(NODE))?;
    let why = format!("the cluster is at level {NEW}, this program does {OLD} at most");
    ensure!(cluster.said(NODE, &why) > 0, "it did not say why");
    cluster.kill(NODE)?;
    // It was the rest that had kept it in.
    is(cluster, "out")?;
    cluster.set_level(NODE, None);
    cluster.restart(NODE)?;
    is(cluster, "up")?;

    // And once more: a rest is in the state of all, and all are sound.
    restart_all(cluster, |_, _| Ok(()))?;
    cluster.operate(&["node", "rest", last, "--for", "1h"])?;
    until("every node has the rest in its state", KNOWN_MAX, || cluster.is_whole())?;
    cluster.kill_nodes()?;
    for at in 0..cluster.nodes() {
        let (code, report) = fsck(cluster, at, &[])?;
        ensure!(code == DONE, "node {at} is damaged: {code}, {report}");
    }
    (0..cluster.nodes()).try_for_each(|at| cluster.restart(at))?;
    cluster.wait_writable().map(drop)
}

/// Has `sago node restart` restart all nodes; what its command would do on their machines is done here. Before each node is stopped `look` is called with
/// the number of those that were restarted.
fn restart_all(
    cluster: &mut Cluster,
    mut look: impl FnMut(&Cluster, usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(cluster.folder())?;
    let path = |what: &str, node: u64| folder.path().join(format!("{what}-{node}"));
    let each = "touch \"$FOLDER/asked-$NODE\"; until test -e \"$FOLDER/done-$NODE\"; do sleep 0.1; done";
    let mut command = cluster.command();
    command.args(["node", "restart", "--each", each, "--within", "3m", "--config"]).arg(cluster.operator()?);
    let log = cluster.folder().join("restart.log");
    let mut restarting = Background::start(command.env("FOLDER", folder.path()), log)?;
    for at in 0..cluster.nodes() {
        let id = cluster.target().nodes[at].id;
        until("the command asks for a node", RESTARTED_MAX, || path("asked", id).exists())?;
        look(cluster, at)?;
        cluster.stop(at)?;
        cluster.restart(at)?;
        fs::write(path("done", id), "")?;
    }
    restarting.ended(RESTARTED_MAX)
}

/// Stops the node and starts it with a program of some level.
fn again(cluster: &mut Cluster, level: Option<u32>) -> anyhow::Result<()> {
    cluster.stop(NODE)?;
    cluster.set_level(NODE, level);
    cluster.restart(NODE)?;
    until("the node is back", RESTARTED_MAX, || cluster.is_whole()).map(drop)
}

/// With the program before on some node nobody gets further.
fn nothing_new(cluster: &Cluster) -> anyhow::Result<()> {
    ensure!(finalize(cluster)? == OLD, "finalized, though a node cannot do it");
    Ok(())
}

/// The level of the cluster after `sago cluster finalize`.
fn finalize(cluster: &Cluster) -> anyhow::Result<u32> {
    let said: Value = serde_json::from_str(&cluster.operate(&["cluster", "finalize", "--json"])?)?;
    Ok(said["level"].as_u64().context("a level")? as u32)
}

fn node(cluster: &Cluster, at: usize) -> anyhow::Result<Value> {
    let status: Value = serde_json::from_str(&cluster.sago(&["cluster", "status", "--json"])?)?;
    Ok(status["nodes"][at].clone())
}

/// Waits until the cluster takes the node for this.
fn is(cluster: &Cluster, state: &str) -> anyhow::Result<()> {
    let known = until(&format!("the node is {state}"), KNOWN_MAX, || {
        node(cluster, NODE).is_ok_and(|node| node["state"] == state)
    });
    known.map(drop)
}

/// Waits until the nodes have said that they can do these levels.
fn speak(cluster: &Cluster, levels: &[u32]) -> anyhow::Result<()> {
    let said = |at: usize| node(cluster, at).ok().and_then(|node| node["speaks"].as_u64());
    let known = until(&format!("the nodes speak {levels:?}"), KNOWN_MAX, || {
        levels.iter().enumerate().all(|(at, level)| said(at) == Some(u64::from(*level)))
    });
    known.map(drop)
}
