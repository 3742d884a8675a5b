//! `sago durability`: how long the data may be expected to last, from the map, the failure rates and the time of repair.
//!
//! `model` is the chain, `estimate` takes it from a placement map; both are arithmetic. Here the cluster is asked, or imagined, and the result is
//! printed with everything it was made from.

mod estimate;
mod model;

use crate::cli::DurabilityArgs;
use crate::connect::{connect_with, load};
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, bytes};
use estimate::{Assumed, Estimate, estimate};
use futures::future::join_all;
use gateway_core::StoreConfig;
use placement::{InitialPlan, PlannedNode};
use proto::control::{ControlAnswer, ControlQuery};
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use transport::Class;
use types::{DiskId, NodeId, PlacementMap};

/// How long a node is waited for.
const ASK_MAX: Duration = Duration::from_secs(3);
/// What one node copies in a second where nothing caps it and nothing was measured: what a spinning disk does beside its other work.
const COPY_RATE: u64 = 64 << 20;

#[derive(Serialize)]
struct Shown {
    /// Percent a year.
    annual_failure_rate: f64,
    node_failure_rate: f64,
    /// Bytes a second of one node; none if the time of repair was given.
    copy_rate: Option<u64>,
    replace_hours: f64,
    /// Disks whose bytes are not known, because their node does not answer: they are taken to be empty.
    silent_disks: usize,
    #[serde(flatten)]
    estimate: Estimate,
}

/// A map, and the bytes on its disks.
struct Basis {
    map: PlacementMap,
    bytes: BTreeMap<DiskId, u64>,
}

/// Carries out `sago durability`.
///
/// # Errors
/// [`Failure`]: the cluster does not answer, or nothing can be estimated.
pub async fn durability(args: DurabilityArgs, output: Output) -> Done {
    let mut basis = match args.nodes {
        Some(nodes) => imagine(nodes, args.disks)?,
        None => ask(&args).await?,
    };
    let disks: Vec<_> = basis.map.nodes.iter().flat_map(|node| &node.disks).map(|disk| disk.id).collect();
    if let Some(size) = args.disk_bytes {
        basis.bytes = disks.iter().map(|disk| (*disk, size.0)).collect();
    }
    let cap = Some(basis.map.options.copy_bytes_per_second).filter(|cap| *cap > 0);
    let copy_rate = args.copy_rate.map(|rate| rate.0).or(cap).unwrap_or(COPY_RATE);
    let assumed = Assumed {
        disk_failures: args.annual_failure_rate / 100.0,
        node_failures: args.node_failure_rate / 100.0,
        copy_rate: copy_rate as f64,
        replace_seconds: args.replace_hours * 3600.0,
        repair_seconds: args.repair_hours.map(|hours| hours * 3600.0),
        bytes: basis.bytes,
    };
    let estimate = estimate(&basis.map, &assumed).map_err(|error| Failure::new(Kind::Usage, error))?;
    let shown = Shown {
        annual_failure_rate: args.annual_failure_rate,
        node_failure_rate: args.node_failure_rate,
        copy_rate: args.repair_hours.is_none().then_some(copy_rate),
        replace_hours: args.replace_hours,
        silent_disks: disks.iter().filter(|disk| !assumed.bytes.contains_key(disk)).count(),
        estimate,
    };
    output.show(&shown, text)
}

/// A cluster that is not there.
fn imagine(nodes: u16, disks: u16) -> Done<Basis> {
    let disk = |node: u64, disk: u16| DiskId(((u128::from(node) << 64) | u128::from(disk)).to_be_bytes());
    let planned = |id: u64| PlannedNode {
        id: NodeId(id),
        addr: format!("node-{id}:1"),
        domain: format!("domain-{id}"),
        disks: (0..disks).map(|number| disk(id, number)).collect(),
    };
    let planned: Vec<_> = (1..=u64::from(nodes)).map(planned).collect();
    let map = placement::initial(&planned, &InitialPlan::default());
    let map = map.map_err(|error| Failure::new(Kind::Usage, error))?;
    Ok(Basis { map, bytes: BTreeMap::new() })
}

/// The map of the cluster, and what its nodes say of their disks.
async fn ask(args: &DurabilityArgs) -> Done<Basis> {
    let (file, path) = load(&args.client)?;
    let session = connect_with(&file, &path, "tool", StoreConfig::default()).await?;
    let map = match session.cluster.control_query(ControlQuery::Map).await? {
        ControlAnswer::Map(Some(map)) => *map,
        _ => return Err(Failure::new(Kind::Unavailable, "the cluster has no placement map yet")),
    };
    let asked = map.nodes.iter().map(|node| async {
        let peer = session.endpoint().peer(node.id, &node.addr);
        let request = Request::Node(NodeRequest::Status);
        match peer.call(Class::Small, &request, bytes::Bytes::new(), ASK_MAX).await {
            Ok((Reply::Node(NodeReply::Status(status)), _)) => status.disks,
            Ok(_) | Err(_) => Vec::new(),
        }
    });
    let disks = join_all(asked).await.into_iter().flatten();
    let bytes = disks.filter(|disk| !disk.fenced).map(|disk| (disk.disk, disk.bytes)).collect();
    session.close().await;
    Ok(Basis { map, bytes })
}

fn text(shown: &Shown) -> String {
    let found = &shown.estimate;
    let mut text = format!(
        "{} nodes, {} disks with {} each, {} groups on {} sets of three disks; a disk shares groups with {:.0} others\n",
        found.nodes,
        found.disks,
        bytes(found.disk_bytes),
        found.groups,
        found.sets,
        found.scatter
    );
    text.push_str(&format!(
        "assumed: {} % of disks and {} % of nodes are lost a year, all independent of each other\n",
        shown.annual_failure_rate, shown.node_failure_rate
    ));
    if let Some(rate) = shown.copy_rate {
        text.push_str(&format!(
            "repair reckoned at {}/s a node; give --repair-hours once it was measured\n",
            bytes(rate)
        ));
    }
    if !found.heals {
        let hours = shown.replace_hours;
        text.push_str(&format!(
            "a lost node's copies have no place on the others: {hours} h for a person to put one in\n"
        ));
    }
    if shown.silent_disks > 0 {
        text.push_str(&format!("{} disks do not say what they hold and are taken to be empty\n", shown.silent_disks));
    }
    if found.groups_short > 0 {
        text.push_str(&format!(
            "just now {} groups have fewer than three copies; the estimate begins with three\n",
            found.groups_short
        ));
    }
    text.push_str(&format!(
        "\nrepair of a disk {}, of a node {}; with one copy left {} and {}\n",
        span(found.disk_repair_seconds),
        span(found.node_repair_seconds),
        span(found.urgent_disk_repair_seconds),
        span(found.urgent_node_repair_seconds)
    ));
    text.push_str(&format!(
        "a given chunk:    expected to last {:.1e} years, lost within a year with probability {:.1e} ({:.1} nines)\n",
        found.chunk_years,
        found.chunk_loss_a_year,
        nines(found.chunk_loss_a_year)
    ));
    text.push_str(&format!(
        "anything at all:  expected in {:.1e} years, within a year with probability {:.1e}; then {:.2} % of all data\n",
        found.cluster_years,
        found.cluster_loss_a_year,
        found.share_lost * 100.0
    ));
    text
}

/// How many nines the probability of keeping something has.
fn nines(loss: f64) -> f64 {
    -loss.log10()
}

fn span(seconds: f64) -> String {
    if seconds < 5400.0 { format!("{:.0} min", seconds / 60.0) } else { format!("{:.1} h", seconds / 3600.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imagined_cluster_is_estimated_and_told_with_what_was_assumed() {
        let Basis { map, .. } = imagine(6, 2).expect("a map");
        let disks = map.nodes.iter().flat_map(|node| &node.disks).map(|disk| (disk.id, 4 << 40));
        let assumed = Assumed {
            disk_failures: 0.02,
            node_failures: 0.005,
            copy_rate: COPY_RATE as f64,
            replace_seconds: 86_400.0,
            repair_seconds: None,
            bytes: disks.collect(),
        };
        let estimate = estimate(&map, &assumed).expect("an estimate");
        let shown = Shown {
            annual_failure_rate: 2.0,
            node_failure_rate: 0.5,
            copy_rate: Some(COPY_RATE),
            replace_hours: 24.0,
            silent_disks: 0,
            estimate,
        };
        let text = text(&shown);
        assert!(text.contains("6 nodes, 12 disks with 4.0 TiB each") && text.contains("2 % of disks"), "{text}");
        let json = serde_json::to_value(&shown).expect("plain data");
        assert!(json["cluster_years"].as_f64().is_some_and(|years| years > 1.0), "{json}");
    }

    #[test]
    fn spans_and_nines_are_for_people() {
        assert_eq!((span(300.0), span(7200.0)), ("5 min".to_owned(), "2.0 h".to_owned()));
        assert!((nines(1e-9) - 9.0).abs() < 1e-12);
    }
}
