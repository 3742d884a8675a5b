//! The power goes, under load: what the disks had not flushed is lost, torn and out of order. What was acknowledged is there afterwards.
//!
//! T03 and T06 of the battery. Each node has its meta folder and its chunks on one fault disk.

use cluster::{Campaign, on_fault_disks};
use harness::{Kept, must};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Instant;

/// How a disk loses its power: mostly torn, sometimes with nothing of its cache.
fn kept(rng: &mut StdRng) -> Kept {
    let percent = if rng.random_range(0..5) == 0 { 0 } else { rng.random_range(1..100) };
    Kept::Share { seed: rng.random(), percent }
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let _turn = harness::exclusive();
    let Some(options) = on_fault_disks() else { return };
    let (single, whole) = if harness::battery() { (50, 50) } else { (2, 2) };
    must(run(options, single, whole));
}

/// Rounds of one node, then rounds of all nodes, on one cluster; the ledger is carried through all of them.
fn run(options: harness::Options, single: usize, whole: usize) -> anyhow::Result<()> {
    let mut campaign = Campaign::start(options)?;
    let mut rng = StdRng::seed_from_u64(campaign.seed);
    for _ in 0..single {
        let victim = rng.random_range(0..campaign.cluster.nodes());
        cut(&mut campaign, &[victim], &mut rng)?;
    }
    for _ in 0..whole {
        let all: Vec<usize> = (0..campaign.cluster.nodes()).collect();
        cut(&mut campaign, &all, &mut rng)?;
    }
    campaign.judge_all()
}

fn cut(campaign: &mut Campaign, nodes: &[usize], rng: &mut StdRng) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let chosen: Vec<Kept> = (0..campaign.cluster.nodes()).map(|_| kept(rng)).collect();
    let lost = campaign.cluster.power_off(nodes, |at| chosen[at])?;
    let back = Instant::now();
    campaign.cluster.power_on(nodes)?;
    let took = campaign.serves_again(back)?;
    let sectors: Vec<String> = lost.iter().map(|lost| format!("{} of {}", lost.lost, lost.lost + lost.kept)).collect();
    println!(
        "round {}: power cut of nodes {nodes:?}, {} sectors lost, serves after {:.1} s",
        campaign.rounds() + 1,
        sectors.join(" and "),
        took.as_secs_f64()
    );
    campaign.judge(load)
}
