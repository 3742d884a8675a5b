//! The network fails: a leader without its peers, one-way cuts, bridges, loss, jitter, doubles, damage.
//!
//! T04, T28 and T29 of the battery, and the history of many clients at the same keys, judged for linearizability.

use anyhow::ensure;
use cluster::{Campaign, behind_a_network};
use harness::{Contest, End, Link, must, schedule};
use std::time::{Duration, Instant};

/// Longest time until there is a leader that can be written to, once a partition stands or is healed.
const LEADER_MAX: Duration = Duration::from_secs(10);
/// Operations of the contest per fault at least, so that there is a history to judge.
const OPERATIONS: usize = 60;

/// How long each fault lasts.
fn lasts() -> Duration {
    Duration::from_secs(if harness::battery() { 30 } else { 6 })
}

#[test]
fn a_failing_network_loses_nothing_and_shows_nothing_stale() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(behind_a_network())?;
    type Fault = fn(&Campaign) -> anyhow::Result<()>;
    let faults: [(&str, Fault); 4] = [
        ("the leader is cut off from its peers, not from clients", isolate_the_leader),
        ("the leader hears one peer no more", one_way),
        ("two nodes see each other only through the third", bridge),
        ("loss, jitter, doubles and damage on every link", noise),
    ];
    for (what, fault) in faults {
        let load = campaign.load()?;
        let target = campaign.cluster.target();
        let prefix = format!("contest{}", campaign.rounds());
        let contest = Contest::start(vec![campaign.cluster.s3()], &target.bucket, &prefix, campaign.seed);
        let (start, before) = (Instant::now(), campaign.cluster.network().carried());
        fault(&campaign)?;
        schedule(start + lasts());
        let during = campaign.cluster.network().carried();
        campaign.cluster.network().mend();
        let healed = campaign.serves_again(Instant::now())?;
        ensure!(healed <= LEADER_MAX, "{what}: healed, and no leader for {healed:?}");
        harness::until("the contest goes on", lasts() * 10, || contest.operations() >= OPERATIONS)?;
        let report = contest.finish();
        println!(
            "{what}: {} datagrams passed, {} dropped, {} damaged; serves {:.1} s after; {} operations on {} keys judged, {} unknown, {} undecided",
            during.sent - before.sent,
            during.dropped - before.dropped,
            during.damaged - before.damaged,
            healed.as_secs_f64(),
            report.operations,
            report.keys,
            report.unknown,
            report.undecided
        );
        ensure!(during.dropped > before.dropped, "{what}: the fault met no datagram");
        ensure!(report.undecided == 0, "{} histories were not judged", report.undecided);
        ensure!(report.faults.is_empty(), "seed {}, {what}: {:#?}", campaign.seed, report.faults);
        campaign.judge(load)?;
    }
    campaign.judge_all()
}

/// T04. The two others elect a leader; the old one is asked all the time and must not answer from what it has.
fn isolate_the_leader(campaign: &Campaign) -> anyhow::Result<()> {
    let leader = campaign.cluster.leader()?;
    campaign.cluster.network().isolate(leader, false);
    writable(campaign)
}

/// T29. What the leader sends arrives, what the peer answers does not.
fn one_way(campaign: &Campaign) -> anyhow::Result<()> {
    let leader = campaign.cluster.leader()?;
    let peer = (leader + 1) % campaign.cluster.nodes();
    campaign.cluster.network().cut(peer, leader);
    writable(campaign)
}

/// T29. The leader and one peer do not see each other; the third node sees both.
fn bridge(campaign: &Campaign) -> anyhow::Result<()> {
    let leader = campaign.cluster.leader()?;
    let peer = (leader + 1) % campaign.cluster.nodes();
    let network = campaign.cluster.network();
    network.cut(leader, peer);
    network.cut(peer, leader);
    writable(campaign)
}

/// T28, on the links of clients too.
fn noise(campaign: &Campaign) -> anyhow::Result<()> {
    let network = campaign.cluster.network();
    let (delay, jitter) = (Duration::from_millis(2), Duration::from_millis(8));
    let link = Link { delay, jitter, loss: 5, duplicate: 5, corrupt: 1, ..Link::default() };
    network.set_all(link, true);
    let worst = Link { loss: 30, ..link };
    network.set(End::Node(0), End::Node(1), worst);
    network.set(End::Clients, End::Node(2), worst);
    writable(campaign)
}

fn writable(campaign: &Campaign) -> anyhow::Result<()> {
    let took = campaign.cluster.wait_writable()?;
    ensure!(took <= LEADER_MAX, "no leader for {took:?}\n{}", campaign.cluster.last_words());
    Ok(())
}
