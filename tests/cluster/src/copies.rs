//! What the planner says of the copies, and how long they take to be whole or even again.

use harness::{Cluster, until, within};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Longest repair, and longest levelling.
const MOVED_MAX: Duration = Duration::from_secs(1800);
/// By how much a disk may differ from its share, in percent, or by one group.
const LEVEL_PERCENT: f64 = 5.0;

/// Longest time until what a write has left out is made up for.
const MADE_MAX: Duration = Duration::from_secs(120);

/// Waits until no chunk is on record as lacking a copy: where a node was not heard for a moment, two copies were enough for a write.
///
/// # Errors
/// There are such for two minutes, or nobody says.
pub fn every_copy_is_made(cluster: &Cluster) -> anyhow::Result<()> {
    let made = || {
        let Ok(status) = cluster.sago(&["cluster", "status", "--json"]) else { return false };
        let Ok(status) = serde_json::from_str::<Value>(&status) else { return false };
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        // The control group has no chunks.
        groups.len() > 1 && groups[1..].iter().all(|group| group["lacking"] == 0)
    };
    until("every copy is made", MADE_MAX, made).map(drop)
}

/// What `sago placement status` tells.
pub struct Copies(Value);

impl Copies {
    /// Asks.
    ///
    /// # Errors
    /// There is no answer.
    pub fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Copies(serde_json::from_str(&cluster.sago(&["placement", "status", "--json"])?)?))
    }

    /// Whether every group has three copies and nothing moves.
    #[must_use]
    pub fn are_whole(&self) -> bool {
        let copies = &self.0["groups_by_copies"];
        let moves = self.0["moves"].as_array().is_none_or(|moves| !moves.is_empty());
        (0..3).all(|few| copies[few] == 0) && copies[3] != 0 && !moves
    }

    /// Groups on one disk of a node; none if it is not known.
    #[must_use]
    pub fn on(&self, node: u64, number: u64) -> Option<u64> {
        let disks = self.0["disks"].as_array()?;
        disks.iter().find(|disk| disk["node"] == node && disk["number"] == number)?["groups"].as_u64()
    }

    /// The id of a disk of a node.
    #[must_use]
    pub fn disk(&self, node: u64, number: u64) -> Option<&str> {
        let disks = self.0["disks"].as_array()?;
        disks.iter().find(|disk| disk["node"] == node && disk["number"] == number)?["id"].as_str()
    }

    /// Whether everything is where its rule wants it, and nothing waits to move.
    #[must_use]
    pub fn are_as_asked(&self) -> bool {
        let none = |what: &str| self.0[what].as_object().is_some_and(serde_json::Map::is_empty);
        self.are_whole() && none("unmet") && none("blocked")
    }

    /// Groups on each disk that has any or may take some: node, and how many.
    fn by_disk(&self) -> Vec<(u64, f64)> {
        let disks = self.0["disks"].as_array().cloned().unwrap_or_default();
        let counts = disks.iter().map(|disk| {
            let groups = disk["groups"].as_u64().unwrap_or(u64::MAX) as f64;
            (disk["node"].as_u64().unwrap_or_default(), groups)
        });
        counts.collect()
    }

    /// Whether these nodes, of one disk and the same weight each, have even shares, and nobody else has anything.
    #[must_use]
    pub fn are_even_on(&self, nodes: &[u64]) -> bool {
        let disks = self.by_disk();
        let share = disks.iter().map(|(_, groups)| groups).sum::<f64>() / nodes.len() as f64;
        let slack = (share * LEVEL_PERCENT / 100.0).max(1.0);
        disks.iter().all(|(node, groups)| match nodes.contains(node) {
            true => (groups - share).abs() <= slack,
            false => *groups == 0.0,
        })
    }
}

/// Waits until every group has three copies and these nodes share them evenly; how long that took.
///
/// # Errors
/// Not within half an hour.
pub fn levelled_on(cluster: &Cluster, nodes: &[u64]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let level = |copies: Copies| copies.are_whole() && copies.are_even_on(nodes);
    within("even shares", MOVED_MAX, || Copies::of(cluster).is_ok_and(level).then_some(()))?;
    Ok(start.elapsed())
}

/// How long it took until what was lost was there again.
#[derive(Clone, Copy, Debug)]
pub struct Repaired {
    /// Until copies were given up: the silence after which a node is out, and what it takes to notice.
    pub noticed: Duration,
    /// From then on, until every group had three copies.
    pub copied: Duration,
}

/// Waits until a copy is missed and every group has three again.
///
/// # Errors
/// Not within half an hour.
pub fn repaired(cluster: &Cluster) -> anyhow::Result<Repaired> {
    let start = Instant::now();
    let whole = || Copies::of(cluster).map(|copies| copies.are_whole());
    within("a copy is missed", MOVED_MAX, || whole().is_ok_and(|whole| !whole).then_some(()))?;
    let noticed = start.elapsed();
    within("three copies of every group", MOVED_MAX, || whole().is_ok_and(|whole| whole).then_some(()))?;
    Ok(Repaired { noticed, copied: start.elapsed() - noticed })
}
