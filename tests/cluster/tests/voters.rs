//! Nodes give their votes and copies away and take them back while leaders are cut off from their peers and killed: in the end every group has
//! one configuration, on all its replicas, and nothing acknowledged is lost. T22 of the battery with real processes; many seeds of it run in one
//! process each, in `meta-server`'s tests.

use anyhow::{Context, ensure};
use cluster::Campaign;
use harness::{Options, must, schedule, until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const NODES: usize = 5;
/// How long a leader is cut off.
const CUT: Duration = Duration::from_secs(4);
/// Longest time until all votes of a node that is being emptied are on others.
const MOVED_MAX: Duration = Duration::from_secs(180);
/// Longest time until all replicas of all groups name the same voters.
const SETTLED_MAX: Duration = Duration::from_secs(120);

#[test]
fn votes_move_while_leaders_are_cut_off_and_killed() {
    if !harness::in_tier_two("T22") {
        return;
    }
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let options = Options { nodes: NODES, mount: false, ..cluster::behind_a_network() };
    let mut campaign = Campaign::start(options)?;
    let mut rng = StdRng::seed_from_u64(campaign.seed);
    let rounds = if harness::battery() { 10 } else { 1 };
    for _ in 0..rounds {
        round(&mut campaign, &mut rng)?;
    }
    campaign.judge_all()
}

fn round(campaign: &mut Campaign, rng: &mut StdRng) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let emptied = rng.random_range(0..NODES);
    let id = campaign.cluster.target().nodes[emptied].id.to_string();
    campaign.cluster.operate(&["placement", "node", &id, "drain"])?;
    let start = Instant::now();
    let mut led = Vec::new();
    // While it is on its way: the leader is cut off from its peers, and the next one dies.
    let leader = campaign.cluster.leader()?;
    campaign.cluster.network().isolate(leader, false);
    schedule(Instant::now() + CUT);
    campaign.cluster.network().mend();
    led.push(leader + 1);
    campaign.serves_again(Instant::now())?;
    let leader = campaign.cluster.leader()?;
    campaign.cluster.kill(leader)?;
    campaign.serves_again(Instant::now())?;
    campaign.cluster.restart(leader)?;
    led.push(leader + 1);
    until("the votes are on other nodes", MOVED_MAX, || voters(campaign).is_some_and(|groups| !groups.contains(&id)))
        .with_context(|| campaign.cluster.last_words())?;
    let moved = start.elapsed();
    campaign.cluster.operate(&["placement", "node", &id, "active"])?;
    let groups = settled(campaign)?;
    println!(
        "round {}: node {id} gave its votes away in {:.1} s while the leaders {led:?} were cut off and killed; {groups} groups have one \
         configuration each",
        campaign.rounds() + 1,
        moved.as_secs_f64()
    );
    campaign.whole_again()?;
    campaign.judge(load)
}

/// Every node that votes in some group, by what all nodes say; none while one does not answer.
fn voters(campaign: &Campaign) -> Option<BTreeSet<String>> {
    let pages = (0..NODES).map(|at| campaign.cluster.status(at).ok()).collect::<Option<Vec<_>>>()?;
    let groups = pages.into_iter().flat_map(|page| page.groups);
    Some(groups.flat_map(|group| group.voters).map(|voter| voter.0.to_string()).collect())
}

/// Waits until the replicas of each group name the same three voters, nobody who only learns, and one leader among them. How many groups there are.
fn settled(campaign: &Campaign) -> anyhow::Result<usize> {
    let mut count = 0;
    until("every group has one configuration", SETTLED_MAX, || match configurations(campaign) {
        Some(groups) => {
            count = groups.len();
            groups.values().all(|said| said.len() == 1)
        }
        None => false,
    })
    .with_context(|| format!("{:?}\n{}", configurations(campaign), campaign.cluster.last_words()))?;
    ensure!(count > 1, "{count} groups");
    Ok(count)
}

/// Voters, and the leader among them.
type Configuration = (Vec<u64>, u64);

/// What the replicas of each group say of its voters, learners and leader; none while a node does not answer or a group is not as it should be.
fn configurations(campaign: &Campaign) -> Option<BTreeMap<u32, BTreeSet<Configuration>>> {
    let mut said: BTreeMap<u32, BTreeSet<Configuration>> = BTreeMap::new();
    for at in 0..NODES {
        for group in campaign.cluster.status(at).ok()?.groups {
            let mut voters: Vec<u64> = group.voters.iter().map(|voter| voter.0).collect();
            voters.sort_unstable();
            let leader = group.leader.map(|leader| leader.0).filter(|leader| voters.contains(leader))?;
            if voters.len() != 3 || !group.learners.is_empty() {
                return None;
            }
            said.entry(group.group.0).or_default().insert((voters, leader));
        }
    }
    Some(said)
}
