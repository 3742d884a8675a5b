//! `sago scrub`: asks nodes to look at every chunk now, and waits for it if told to.

use crate::cli::ScrubArgs;
use crate::connect::{connect_with, load};
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, bytes, table};
use futures::future::join_all;
use gateway_core::StoreConfig;
use proto::control::{ControlAnswer, ControlQuery};
use proto::node::{NodeReply, NodeRequest, NodeStatus};
use proto::{Reply, Request};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::sleep;
use transport::{Class, Endpoint};
use types::{DiskId, NodeEntry, NodeId};

/// How long a node is waited for.
const ASK_MAX: Duration = Duration::from_secs(3);
/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(500);
/// A node that does not answer for so many looks in a row is given up.
const SILENT_LOOKS_MAX: u32 = 120;

#[derive(Serialize)]
struct Shown {
    disks: Vec<ShownDisk>,
}

/// One disk; of a pass that is over the counts are those of the next one, so only what is left damaged is shown.
#[derive(Clone, Serialize)]
struct ShownDisk {
    node: u64,
    path: String,
    done: bool,
    chunks: u64,
    scrubbed: u64,
    bytes: u64,
    quarantined: u64,
    lost: u64,
}

/// A disk, and the number of passes that are over when it is done.
type Wanted = BTreeMap<(NodeId, DiskId), u64>;

/// Carries out `sago scrub`.
///
/// # Errors
/// A node that was asked did not answer; with `--wait` also: chunks have no intact copy.
pub async fn scrub(args: ScrubArgs, output: Output) -> Done {
    let (file, path) = load(&args.client)?;
    let session = connect_with(&file, &path, "tool", StoreConfig::default()).await?;
    let map = session.cluster.control_query(ControlQuery::Map).await;
    let map = match map? {
        ControlAnswer::Map(Some(map)) => *map,
        _ => return Err(Failure::new(Kind::Unavailable, "the cluster has no placement map yet")),
    };
    let nodes: Vec<_> = map.nodes.iter().filter(|node| args.node.is_none_or(|id| node.id.0 == id)).collect();
    if nodes.is_empty() {
        return Err(Failure::new(Kind::NotFound, "no such node"));
    }
    let wanted = begin(session.endpoint(), &nodes).await?;
    let shown = match args.wait {
        true => wait(session.endpoint(), &nodes, &wanted, output).await,
        false => look(session.endpoint(), &nodes, &wanted).await,
    };
    session.close().await;
    let shown = shown?;
    let lost = shown.disks.iter().map(|disk| disk.lost).max().unwrap_or(0);
    output.show(&shown, text)?;
    match args.wait && lost > 0 {
        true => {
            Err(Failure::new(Kind::Failed, format!("{lost} chunks have no intact copy; see `sago cluster status`")))
        }
        false => Ok(()),
    }
}

async fn begin(endpoint: &Endpoint, nodes: &[&NodeEntry]) -> Done<Wanted> {
    let mut wanted = Wanted::new();
    for node in nodes {
        match ask(endpoint, node, NodeRequest::Scrub).await {
            Some(NodeReply::Scrubbing(disks)) => {
                wanted.extend(disks.into_iter().map(|(disk, passes)| ((node.id, disk), passes)));
            }
            _ => return Err(Failure::new(Kind::Unavailable, format!("{} does not answer", node.id))),
        }
    }
    Ok(wanted)
}

async fn wait(endpoint: &Endpoint, nodes: &[&NodeEntry], wanted: &Wanted, output: Output) -> Done<Shown> {
    let mut silent = 0;
    loop {
        match look(endpoint, nodes, wanted).await {
            Ok(shown) => {
                silent = 0;
                progress(&shown, output);
                if shown.disks.iter().all(|disk| disk.done) {
                    return Ok(shown);
                }
            }
            Err(failure) => {
                silent += 1;
                if silent > SILENT_LOOKS_MAX {
                    return Err(failure);
                }
            }
        }
        // wait-ok: between two looks at the progress
        sleep(LOOK).await;
    }
}

async fn look(endpoint: &Endpoint, nodes: &[&NodeEntry], wanted: &Wanted) -> Done<Shown> {
    let mut disks = Vec::new();
    let asked = nodes.iter().map(|node| async { (node.id, ask(endpoint, node, NodeRequest::Status).await) });
    for (id, reply) in join_all(asked).await {
        let Some(NodeReply::Status(status)) = reply else {
            return Err(Failure::new(Kind::Unavailable, format!("{id} does not answer")));
        };
        disks.extend(shown(&status, wanted));
    }
    Ok(Shown { disks })
}

fn shown(status: &NodeStatus, wanted: &Wanted) -> Vec<ShownDisk> {
    let disk = |disk: &proto::node::DiskStatus| {
        let target = wanted.get(&(status.node, disk.disk)).copied().unwrap_or(0);
        // A disk that failed will not come to an end.
        let done = disk.scrub.passes >= target || disk.fenced;
        ShownDisk {
            node: status.node.0,
            path: disk.path.clone(),
            done,
            chunks: disk.chunks,
            scrubbed: if done { disk.chunks } else { disk.scrub.chunks.min(disk.chunks) },
            bytes: disk.bytes,
            quarantined: disk.quarantined,
            lost: status.lost_count,
        }
    };
    status.disks.iter().map(disk).collect()
}

async fn ask(endpoint: &Endpoint, node: &NodeEntry, request: NodeRequest) -> Option<NodeReply> {
    let peer = endpoint.peer(node.id, &node.addr);
    match peer.call(Class::Small, &Request::Node(request), bytes::Bytes::new(), ASK_MAX).await {
        Ok((Reply::Node(reply), _)) => Some(reply),
        Ok(_) | Err(_) => None,
    }
}

fn progress(shown: &Shown, output: Output) {
    if output.json || !std::io::stderr().is_terminal() {
        return;
    }
    let (scrubbed, chunks) =
        shown.disks.iter().fold((0, 0), |(done, all), disk| (done + disk.scrubbed, all + disk.chunks));
    let percent = scrubbed * 100 / chunks.max(1);
    let _ = write!(std::io::stderr(), "\r{percent} % of {chunks} chunks ");
    if shown.disks.iter().all(|disk| disk.done) {
        let _ = writeln!(std::io::stderr());
    }
}

fn text(shown: &Shown) -> String {
    let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![cells(&["NODE", "DISK", "CHUNKS", "BYTES", "SCRUB", "DAMAGED", "NO INTACT COPY"])];
    for disk in &shown.disks {
        let state = if disk.done { "done".to_owned() } else { format!("{} chunks", disk.scrubbed) };
        rows.push(vec![
            disk.node.to_string(),
            disk.path.clone(),
            disk.chunks.to_string(),
            bytes(disk.bytes),
            state,
            disk.quarantined.to_string(),
            disk.lost.to_string(),
        ]);
    }
    table(&rows)
}
