//! Writes that one node's disk answers with success and loses, or puts somewhere else: what was to be there, and what was there before, is
//! found by a read or the scrub and written anew; nobody gets wrong bytes. T11 of the battery.

use anyhow::{Context, ensure};
use cluster::{Campaign, on_fault_disks, places};
use harness::{Stray, must, until};
use std::time::{Duration, Instant};

/// Writes of chunks that go astray in a round.
const STRAYS: u64 = 12;
/// Longest time until the load has written so much.
const STRAYED_MAX: Duration = Duration::from_secs(120);
/// Between two looks at where the segments lie now: new ones are made, and others go.
const AIM_EVERY: Duration = Duration::from_secs(1);
/// Longest time until what the scrub found is written anew ("It heals": 60 s).
const REWRITTEN_MAX: Duration = Duration::from_secs(60);
/// What a node says of a copy that is not what it should be, and of one that is again.
const DAMAGED: &str = "damaged replica";
const REWRITTEN: &str = "a damaged replica was written anew";

#[test]
fn writes_that_go_astray_are_found_and_written_anew() {
    if !harness::in_tier_two("T11") {
        return;
    }
    let _turn = harness::exclusive();
    let Some(options) = on_fault_disks() else { return };
    must(run(options));
}

fn run(options: harness::Options) -> anyhow::Result<()> {
    let mut campaign = Campaign::start(options)?;
    let rounds = if harness::battery() { 10 } else { 1 };
    for _ in 0..rounds {
        stray(&mut campaign, Stray::Lost)?;
        // Back: over records that stand there. On: into space that is written later, so only its own place is wrong.
        stray(&mut campaign, Stray::Misdirected(-(512 << 10)))?;
        if harness::battery() {
            stray(&mut campaign, Stray::Misdirected(1 << 20))?;
        }
    }
    campaign.judge_all()
}

fn stray(campaign: &mut Campaign, fate: Stray) -> anyhow::Result<()> {
    let (load, round) = (campaign.load()?, campaign.rounds());
    let cluster = &campaign.cluster;
    let victim = round % cluster.nodes();
    let disk = cluster.disk(victim);
    let before = (disk.counts().strays, cluster.said(victim, DAMAGED), cluster.said(victim, REWRITTEN));
    let mut aimed: Option<Instant> = None;
    until("writes go astray", STRAYED_MAX, || {
        let left = (before.0 + STRAYS).saturating_sub(disk.counts().strays);
        if left > 0
            && aimed.is_none_or(|at| at.elapsed() >= AIM_EVERY)
            && let Ok(places) = places(cluster, victim)
        {
            disk.stray_writes(places, left as u32, fate);
            aimed = Some(Instant::now());
        }
        left == 0
    })?;
    disk.mend();
    // The load ends here: a scrub yields to it, and each round would leave more to scrub than the one before.
    campaign.judge_reads(load)?;
    let (cluster, disk) = (&campaign.cluster, campaign.cluster.disk(victim));
    cluster.sago(&["scrub", "--wait", "--json"]).with_context(|| cluster.last_words())?;
    let scrubbed = Instant::now();
    until("what went astray is written anew", REWRITTEN_MAX, || {
        (0..cluster.nodes()).all(|at| {
            let page = cluster.status(at);
            page.is_ok_and(|page| page.lost_count == 0 && page.disks.iter().all(|disk| disk.quarantined == 0))
        })
    })
    .with_context(|| cluster.last_words())?;
    let rewritten = cluster.said(victim, REWRITTEN) - before.2;
    // The second of the two sayings has the first in it.
    let found = cluster.said(victim, DAMAGED) - before.1 - rewritten;
    println!(
        "round {}: {} writes, {fate:?}; {found} times a copy was found damaged, {rewritten} were written anew, all {:.1} s after the scrub",
        round + 1,
        disk.counts().strays - before.0,
        scrubbed.elapsed().as_secs_f64()
    );
    ensure!(found > 0 && rewritten > 0, "nobody has noticed anything");
    // A start reads the segments without what the process knew.
    campaign.cluster.kill(victim)?;
    campaign.cluster.restart(victim)?;
    campaign.whole_again()
}
