//! The leader is stopped (SIGSTOP) for a second to a minute, and a gateway that speaks with it as well; others lead meanwhile. When both go on
//! they do not know that they were away, and still nobody is shown what was overwritten. T32 of the battery.

use anyhow::ensure;
use cluster::Campaign;
use harness::{Contest, Gateway, Options, must, schedule, until};
use std::time::{Duration, Instant};

/// Longest time until somebody else leads, and until the cluster serves after the old leader is back.
const LEADER_MAX: Duration = Duration::from_secs(10);
/// Operations of the contest before, while and after the leader is stopped.
const OPERATIONS: usize = 60;
/// Longest time for them: those of the gateway that was stopped wait for their time-outs.
const OPERATIONS_MAX: Duration = Duration::from_secs(120);

/// For how long, in seconds: below an election, about as long as one, and far beyond all deadlines.
fn lengths() -> &'static [u64] {
    if harness::battery() { &[1, 2, 3, 5, 8, 12, 20, 35, 60] } else { &[1, 6] }
}

#[test]
fn a_leader_that_was_stopped_shows_nothing_stale() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(Options { mount: false, ..cluster::options() })?;
    let gateway = Gateway::start(&campaign.cluster, "gateway-2")?;
    let rounds = if harness::battery() { 3 } else { 1 };
    for _ in 0..rounds {
        for seconds in lengths() {
            freeze(&mut campaign, &gateway, Duration::from_secs(*seconds))?;
        }
    }
    campaign.judge_all()
}

fn freeze(campaign: &mut Campaign, gateway: &Gateway, lasts: Duration) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let bucket = campaign.cluster.target().bucket.clone();
    let prefix = format!("contest{}", campaign.rounds());
    let faces = vec![campaign.cluster.s3(), gateway.s3()];
    let contest = Contest::start(faces, &bucket, &prefix, campaign.seed);
    until("the contest has begun", OPERATIONS_MAX, || contest.operations() >= OPERATIONS)?;

    let leader = campaign.cluster.leader()?;
    let start = Instant::now();
    campaign.cluster.pause(leader);
    gateway.pause();
    schedule(start + lasts);
    let during = contest.operations();
    // The gateway first: what it sends waits at the leader when that goes on.
    gateway.resume();
    campaign.cluster.resume(leader);
    let took = campaign.serves_again(Instant::now())?;
    ensure!(took <= LEADER_MAX, "no leader for {took:?} after the old one was back\n{}", campaign.cluster.last_words());
    until("the contest goes on", OPERATIONS_MAX, || contest.operations() >= during + OPERATIONS)?;
    let report = contest.finish();
    let still = campaign.cluster.leader()? == leader;
    println!(
        "the leader was stopped for {} s, {}; serves {:.1} s after; {} operations on {} keys judged, {} unknown, {} undecided",
        lasts.as_secs(),
        if still { "and leads" } else { "and leads no more" },
        took.as_secs_f64(),
        report.operations,
        report.keys,
        report.unknown,
        report.undecided
    );
    ensure!(report.undecided == 0, "{} histories were not judged", report.undecided);
    ensure!(report.faults.is_empty(), "seed {}, {lasts:?}: {:#?}", campaign.seed, report.faults);
    campaign.whole_again()?;
    campaign.judge(load)
}
