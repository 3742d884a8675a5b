//! `sago node restart`: one node after the other, each once the one before is as good as before.
//!
//! ```text
//! nothing amiss -> it may rest -> COMMAND: SIGTERM (it hands over what it leads), start -> a new life is heard -> nothing amiss -> the next
//! ```
//! Whatever is amiss stops it in front of the next node: with one node away, a second one is the loss of a majority.

use super::progress;
use super::rest::let_rest;
use super::wholeness::{Amiss, Reached, amiss, reached};
use crate::cli::RestartArgs;
use crate::cluster::ask_all;
use crate::connect::{Session, connect};
use crate::copies;
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout_at};
use types::{FeatureLevel, Incarnation, NodeEntry, NodeId, NodeMode, PlacementMap};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Carries out `sago node restart`.
///
/// # Errors
/// [`Failure`]: a node did not come back, the command failed, or something is amiss and stays so. The nodes behind it were left alone.
pub async fn restart(args: RestartArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let done = one_after_the_other(&session, &args, output).await;
    session.close().await;
    let done: Vec<_> =
        done?.iter().map(|(node, took)| json!({ "node": node.0, "seconds": took.as_secs_f64() })).collect();
    output.show(&json!({ "restarted": done }), |_| format!("{} nodes were restarted, and nothing is amiss", done.len()))
}

async fn one_after_the_other(session: &Session, args: &RestartArgs, output: Output) -> Done<Vec<(NodeId, Duration)>> {
    let nodes = chosen(&copies::map(session).await?, &args.nodes)?;
    let within = Duration::from_secs(args.within.0);
    until_whole(session, Instant::now() + within, "before anything was restarted").await?;
    let mut done = Vec::new();
    for node in nodes {
        let start = Instant::now();
        one(session, node, args, start + within, output).await?;
        progress(output, &format!("{node} is back after {:.1} s, and has caught up", start.elapsed().as_secs_f64()));
        done.push((node, start.elapsed()));
    }
    Ok(done)
}

/// The nodes in the order in which they are restarted.
fn chosen(map: &PlacementMap, said: &[u64]) -> Done<Vec<NodeId>> {
    let here = |node: &NodeEntry| node.mode != NodeMode::Removed;
    if said.is_empty() {
        return Ok(map.nodes.iter().filter(|node| here(node)).map(|node| node.id).collect());
    }
    let known = |id: &u64| match map.node(NodeId(*id)).filter(|node| here(node)) {
        Some(node) => Ok(node.id),
        None => Err(Failure::new(Kind::NotFound, format!("there is no node {id}"))),
    };
    said.iter().map(known).collect()
}

async fn one(session: &Session, node: NodeId, args: &RestartArgs, until: Instant, output: Output) -> Done {
    let map = copies::map(session).await?;
    let entry = map.node(node).ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no {node}")))?;
    let before = entry.incarnation;
    let rests = map.level >= FeatureLevel::RESTS;
    if rests {
        let_rest(session, node, args.within.0).await?;
    }
    progress(output, &format!("restarting {node}"));
    run(&args.each, entry, until).await?;
    until_restarted(session, node, before, until).await?;
    until_whole(session, until, &format!("after {node} was restarted")).await?;
    if rests { let_rest(session, node, 0).await } else { Ok(()) }
}

/// Runs the operator's command for a node.
async fn run(each: &str, node: &NodeEntry, until: Instant) -> Done {
    let host = node.addr.rsplit_once(':').map_or(&*node.addr, |(host, _)| host);
    let mut command = Command::new("sh");
    command.args(["-c", each]).env("NODE", node.id.0.to_string()).env("HOST", host.trim_matches(['[', ']']));
    // A group of its own, so that what the shell has started can be ended with it.
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).kill_on_drop(true).spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let waited = timeout_at(until, child.wait()).await;
    if let (Err(_), Some(group)) = (&waited, group) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    match waited {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failure::new(Kind::Failed, format!("the command for {} failed: {status}", node.id))),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Failure::new(Kind::Failed, format!("the command for {} has not ended in time", node.id))),
    }
}

/// Waits until the cluster has heard of a new life of the node. The one that was asked may be the one that ends.
async fn until_restarted(session: &Session, node: NodeId, before: Incarnation, until: Instant) -> Done {
    while Instant::now() < until {
        let map = copies::map(session).await;
        if map.is_ok_and(|map| map.node(node).is_some_and(|entry| entry.incarnation > before)) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    let message = format!("{node} was not started again in time: look at its log; the nodes behind it were left alone");
    Err(Failure::new(Kind::Failed, message))
}

/// Waits until nothing is amiss, everybody having caught up with what was committed at the first look.
async fn until_whole(session: &Session, until: Instant, when: &str) -> Done {
    let mut target: Option<Reached> = None;
    let mut seen: Option<Amiss> = None;
    while Instant::now() < until {
        if let Ok(map) = copies::map(session).await {
            let statuses = ask_all(session.endpoint(), &map).await;
            let target = target.get_or_insert_with(|| reached(&statuses));
            seen = amiss(&map, &statuses, target);
            if seen.is_none() {
                return Ok(());
            }
        }
        sleep(LOOK).await;
    }
    let what = seen.map_or("the cluster does not answer".to_owned(), |amiss| amiss.to_string());
    Err(Failure::new(Kind::Failed, format!("{when}: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::DiskId;

    fn entry(id: u64, addr: &str) -> NodeEntry {
        NodeEntry::new(NodeId(id), addr.to_owned(), id.to_string(), [DiskId([id as u8; 16])])
    }

    #[test]
    fn all_nodes_are_restarted_or_those_that_were_named_in_their_order() {
        let mut map = PlacementMap { nodes: (1..=4).map(|id| entry(id, "h:1")).collect(), ..PlacementMap::default() };
        map.nodes[2].mode = NodeMode::Removed;
        let ids =
            |said: &[u64]| chosen(&map, said).map(|nodes| nodes.iter().map(|node| node.0).collect::<Vec<_>>()).ok();
        assert_eq!((ids(&[]), ids(&[4, 1])), (Some(vec![1, 2, 4]), Some(vec![4, 1])));
        assert_eq!((ids(&[3]), ids(&[9])), (None, None), "removed, unknown");
    }

    #[tokio::test]
    async fn the_command_is_told_which_node_and_where_and_is_not_waited_for_for_ever() {
        let soon = || Instant::now() + Duration::from_secs(20);
        let here = entry(7, "10.0.0.7:7400");
        run("test \"$NODE at $HOST\" = '7 at 10.0.0.7'", &here, soon()).await.expect("the variables");
        run("test \"$HOST\" = '::1'", &entry(7, "[::1]:7400"), soon()).await.expect("an address of version 6");
        assert!(run("exit 3", &here, soon()).await.is_err_and(|error| error.message.contains("3")));
        let late = run("sleep 600", &here, Instant::now() + Duration::from_millis(50)).await;
        assert!(late.is_err_and(|error| error.message.contains("in time")));
    }
}
