//! The clock of the node that leads is set an hour back, an hour on, eight days on, and runs two percent fast; the others' stay right. Writes go
//! on, nothing that waits for its time to be over goes earlier, no session that lives is ended, and gateways judge signatures by their own
//! clock. T31 of the battery.

use anyhow::{Context, ensure};
use cluster::{Campaign, Shelf};
use harness::{FakeClock, Options, Pace, S3Error, must, schedule, until};
use std::time::{Duration, Instant};

/// Files that are deleted at first: half of them wait in the trash, half were purged and are garbage that waits.
const FILES: usize = 40;
/// Grace time of the garbage in seconds: far longer than the test, and shorter than any step of a clock.
const GRACE: &str = "3000";
/// Between two operations of a writer: what is written in half an hour has to find room.
const REST: Duration = Duration::from_millis(300);
/// Between two rounds of the collector, in milliseconds.
const COLLECT_EVERY: &str = "1000";
/// Longest time until deleted files are counted as garbage.
const GARBAGE_MAX: Duration = Duration::from_secs(60);
/// How long after a change of the clock writes must go on.
const WRITES_MAX: Duration = Duration::from_secs(10);
/// What a gateway says when its session was ended, and nodes when they hold the collector or the trash back.
const ENDED: &str = "the session was ended by the cluster";
const HALTED: &str = "until the clocks";
/// Longer than a session lives without a sign of life that the leader sees (`garbage.session_lease`, 15 minutes).
const LEASE_AND_MORE: Duration = Duration::from_secs(17 * 60);
/// Longer than from one round of the trash's keeper to the next.
const KEEPER_AND_MORE: Duration = Duration::from_secs(330);

/// What is done to a clock, and for how long it stays.
struct Step {
    pace: Pace,
    lasts: Duration,
}

fn steps() -> Vec<Step> {
    let short = Duration::from_secs(6);
    let (lease, keeper) = if harness::battery() { (LEASE_AND_MORE, KEEPER_AND_MORE) } else { (short, short) };
    let off = |seconds, lasts| Step { pace: Pace::Off(seconds), lasts };
    vec![
        // While its clock is behind, the time of the groups it leads stands still, which must not look like silence.
        off(-3600, lease),
        Step { pace: Pace::Fast(2), lasts: keeper },
        off(3600, short),
        // Beyond the window of the trash.
        off(8 * 86_400, keeper),
    ]
}

#[test]
fn clocks_that_are_wrong_end_nothing_early_and_fail_no_write() {
    if !harness::in_tier_two("T31") {
        return;
    }
    let _turn = harness::exclusive();
    if let Some(what) = FakeClock::missing() {
        return harness::skip(what);
    }
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(Options { mount: false, ..cluster::options() })?;
    campaign.rest = Some(REST);
    let mut clocks = Vec::new();
    for at in 0..campaign.cluster.nodes() {
        let clock = FakeClock::new(&campaign.cluster.folder().join(format!("clock-{}", at + 1)))?;
        campaign.cluster.set_environment(at, clock.environment());
        campaign.cluster.configure(at, "round", COLLECT_EVERY)?;
        clocks.push(clock);
    }
    campaign.cluster.restart_each()?;
    let shelf = Shelf::new(&campaign.cluster, "old", |n| 50_000 + n)?;
    delete_some(&campaign, &shelf)?;
    for step in steps() {
        one_step(&mut campaign, &clocks, &shelf, &step)?;
    }
    // What was deleted before can still be had back, and so was not collected either.
    let restored = campaign.cluster.sago(&["trash", "restore", &shelf.bucket, "--prefix", "old/", "--json"])?;
    let restored: serde_json::Value = serde_json::from_str(&restored)?;
    ensure!(restored["restored"] == FILES / 2 && restored["failed"] == 0, "{restored}");
    shelf.check((0..FILES).filter(|n| n % 2 == 0))?;
    campaign.judge_all()
}

/// Files in the trash, and garbage that waits out its grace time.
fn delete_some(campaign: &Campaign, shelf: &Shelf) -> anyhow::Result<()> {
    let cluster = &campaign.cluster;
    cluster.operate(&["cluster", "garbage", "--grace", GRACE])?;
    let odd = || (0..FILES).filter(|n| n % 2 == 1);
    shelf.store(0..FILES)?;
    shelf.delete(odd())?;
    let purged = cluster.operate(&["trash", "purge", &shelf.bucket, "--prefix", "old/", "--yes", "--json"])?;
    let purged: serde_json::Value = serde_json::from_str(&purged)?;
    ensure!(purged["purged"] == FILES / 2, "{purged}");
    shelf.delete((0..FILES).filter(|n| n % 2 == 0))?;
    until("what was purged waits", GARBAGE_MAX, || waiting(campaign) >= FILES as u64 / 2).map(drop)
}

/// Garbage of all groups that waits, as their leaders see it.
fn waiting(campaign: &Campaign) -> u64 {
    let pages = (0..campaign.cluster.nodes()).filter_map(|at| campaign.cluster.status(at).ok());
    pages.flat_map(|page| page.garbage).map(|(_, status)| status.waiting).sum()
}

fn said(campaign: &Campaign, text: &str) -> usize {
    (0..campaign.cluster.nodes()).map(|at| campaign.cluster.said(at, text)).sum()
}

fn one_step(campaign: &mut Campaign, clocks: &[FakeClock], shelf: &Shelf, step: &Step) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let leader = campaign.cluster.leader()?;
    let halted = said(campaign, HALTED);
    let start = Instant::now();
    clocks[leader].set(step.pace)?;
    let took = campaign.cluster.wait_writable()?;
    ensure!(took <= WRITES_MAX, "{:?}: no write for {took:?}", step.pace);
    signatures(campaign, shelf)?;
    let before = load.writes();
    schedule(start + step.lasts);
    let during = load.writes() - before;
    clocks[leader].set(Pace::Off(0))?;
    schedule(Instant::now() + Duration::from_secs(3));
    // Only what is in the log since before the steps counts: the load adds garbage of its own.
    let left = waiting(campaign);
    println!(
        "round {}: the clock of node {}, which leads, {:?} for {} s: {during} writes, {left} pieces of garbage wait, {} times a node held back",
        campaign.rounds() + 1,
        leader + 1,
        step.pace,
        step.lasts.as_secs(),
        said(campaign, HALTED) - halted
    );
    ensure!(during > 0, "nothing is written while the leader's clock is wrong");
    ensure!(left >= FILES as u64 / 2, "{left} pieces of garbage wait, {} must", FILES / 2);
    let ended = campaign.cluster.gateway_said(ENDED);
    ensure!(ended == 0, "the session of the gateway was ended {ended} times\n{}", campaign.cluster.last_words());
    campaign.whole_again()?;
    campaign.judge_reads(load)
}

/// The gateway's clock is right, and so it accepts who signs by the right one, and nobody else.
fn signatures(campaign: &Campaign, shelf: &Shelf) -> anyhow::Result<()> {
    let put = |ahead: i64| {
        let s3 = campaign.cluster.s3().with_clock(ahead);
        let payload = harness::Payload::new(&b"signed"[..]);
        shelf.runtime.block_on(s3.put(&shelf.bucket, "signed", &payload))
    };
    put(0).context("a client whose clock is right")?;
    for ahead in [-3600, 3600] {
        let refused = put(ahead);
        ensure!(
            matches!(&refused, Err(S3Error::Refused { status: 403, code, .. }) if code == "RequestTimeTooSkewed"),
            "a client whose clock is {ahead} s ahead: {refused:?}"
        );
    }
    Ok(())
}
