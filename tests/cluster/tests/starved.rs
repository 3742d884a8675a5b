//! One node gets a twentieth of a processor, and one is killed by the kernel because it has used up its memory: no wrong data, the cluster goes
//! on, and whoever has to wait is told so in time. T33 of the battery.

use anyhow::{Context, ensure};
use cluster::{Campaign, Shelf};
use harness::{Bounded, Cgroup, Options, must, schedule, until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Percent of one processor that a node is left with.
const PERCENT: u64 = 5;
/// Longest time until writes go on although a node is that slow.
const WRITES_MAX: Duration = Duration::from_secs(20);
/// Memory that a node may use beyond what it holds when it is bounded.
const HEADROOM: u64 = 4 << 20;
/// Longest time until the kernel has killed it.
const KILLED_MAX: Duration = Duration::from_secs(180);
/// Longest time until the kernel has taken back enough of the page cache for the bound to stand.
const BOUND_MAX: Duration = Duration::from_secs(30);
/// What a client says that got no answer at all: the server has shed nothing and told nothing.
const SILENCE: [&str; 2] = ["no answer in time", "no whole answer"];

/// How long a node is slow.
fn lasts() -> Duration {
    Duration::from_secs(if harness::battery() { 60 } else { 10 })
}

#[test]
fn a_node_without_processor_or_memory_harms_nobody() {
    if !harness::in_tier_two("T33") {
        return;
    }
    let _turn = harness::exclusive();
    // Seen once, before anything is started.
    for bounded in [Bounded::Processor, Bounded::Memory] {
        if let Err(error) = Cgroup::new(bounded) {
            return harness::skip(&format!("{error:#}"));
        }
    }
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(Options { mount: false, ..cluster::options() })?;
    let rounds = if harness::battery() { 5 } else { 1 };
    for _ in 0..rounds {
        for leads in [false, true] {
            little_processor(&mut campaign, leads)?;
        }
        out_of_memory(&mut campaign)?;
    }
    campaign.judge_all()
}

fn little_processor(campaign: &mut Campaign, leads: bool) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let leader = campaign.cluster.leader()?;
    let victim = if leads { leader } else { (leader + 1) % campaign.cluster.nodes() };
    let group = Cgroup::new(Bounded::Processor)?;
    group.set_processor(PERCENT)?;
    group.add(campaign.cluster.pid(victim))?;
    let start = Instant::now();
    let took = campaign.cluster.wait_writable()?;
    let before = load.writes();
    schedule(start + lasts());
    let during = load.writes() - before;
    drop(group);
    campaign.whole_again()?;
    campaign.judge(load)?;
    let report = campaign.last().context("a round was judged")?;
    println!(
        "round {}: {} at {PERCENT} % of a processor: writes after {:.1} s, {during} in {} s; {} writes unknown, {} reads failed",
        campaign.rounds(),
        if leads { "the leader" } else { "a follower" },
        took.as_secs_f64(),
        lasts().as_secs(),
        report.failed_writes,
        report.failed_reads.len()
    );
    for (error, count) in &report.write_errors {
        println!("  {count} writes unknown: {error}");
    }
    ensure!(took <= WRITES_MAX, "no write for {took:?} because one node is slow");
    ensure!(during > 0, "nothing is written while one node is slow");
    ensure!(leads || report.failed_reads.is_empty(), "a slow follower fails reads: {:?}", report.failed_reads);
    let silent = |error: &&String| SILENCE.iter().any(|silence| error.contains(silence));
    let silent: Vec<&String> = report.write_errors.keys().chain(&report.failed_reads).filter(silent).collect();
    ensure!(silent.is_empty(), "clients were left without an answer: {silent:?}");
    Ok(())
}

fn out_of_memory(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = (campaign.cluster.leader()? + 1) % campaign.cluster.nodes();
    let group = Cgroup::new(Bounded::Memory)?;
    campaign.cluster.kill(victim)?;
    campaign.cluster.restart(victim)?;
    group.add(campaign.cluster.pid(victim))?;
    campaign.whole_again()?;
    let mut bound = 0;
    until("the bound stands", BOUND_MAX, || {
        group.held_bytes().is_ok_and(|held| {
            bound = held + HEADROOM;
            group.set_memory(Some(bound)).is_ok()
        })
    })?;
    // More at once than the load, so that buffers fill.
    let shelf = Shelf::new(&campaign.cluster, "large", |_| 4 << 20)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pressing = scope.spawn(|| {
            let mut refused = 0;
            while !over.load(Ordering::Relaxed) {
                // What is refused meanwhile is refused rightly; only the load is judged.
                refused += usize::from(shelf.store(0..16).is_err());
            }
            refused
        });
        let killed = until("the kernel kills the node", KILLED_MAX, || !campaign.cluster.runs(victim));
        over.store(true, Ordering::Relaxed);
        let refused = pressing.join().expect("the uploads do not panic");
        println!("  {refused} rounds of uploads were refused");
        killed
    })?;
    let kills = group.kills()?;
    ensure!(kills > 0, "the node has ended, and not by the kernel\n{}", campaign.cluster.last_words());
    let took = campaign.serves_again(Instant::now())?;
    println!(
        "round {}: a node was killed {kills} times at {} MiB, served after {:.1} s",
        campaign.rounds() + 1,
        bound >> 20,
        took.as_secs_f64()
    );
    // Reaped, so that it can be started again; outside of the group.
    campaign.cluster.kill(victim)?;
    campaign.cluster.restart(victim)?;
    campaign.whole_again()?;
    campaign.judge_reads(load)
}
