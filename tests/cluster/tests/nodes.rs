//! A node that died is replaced by the operator's commands, as they stand in docs/OPERATIONS.md, under load; then it comes back (T21).

use anyhow::ensure;
use cluster::{Background, Campaign, Newcomer};
use harness::{must, until};
use std::time::Duration;

/// Longest time until all copies and votes of the dead node are on the new one.
const REPLACED_MAX: Duration = Duration::from_secs(300);
/// Longest time until a node that was removed has heard of it.
const ENDS_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_dead_node_is_replaced_by_one_that_joins() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    const DEAD: usize = 2;
    let mut campaign = Campaign::start(cluster::options())?;
    let load = campaign.load()?;
    campaign.cluster.kill(DEAD)?;
    let new = Newcomer::new(&campaign.cluster, 4)?;
    let mut replace = campaign.cluster.command();
    replace.args(["node", "replace", "3", &new.spec(), "--site"]).arg(new.site()).arg("--token").arg(new.token());
    let mut replacing = Background::start(&mut replace, new.log("replace"))?;
    new.join(&campaign.cluster)?;
    // Nobody else joins with it.
    let mut again = campaign.cluster.command();
    again.args(["node", "join", "--token"]).arg(new.token()).arg("--dir").arg(campaign.cluster.folder().join("other"));
    let again = again.output()?;
    let said = String::from_utf8_lossy(&again.stderr);
    ensure!(!again.status.success() && said.contains("used by another machine"), "a second machine joined: {said}");

    let _node = new.serve(&campaign.cluster)?;
    replacing.ended(REPLACED_MAX)?;
    let status = campaign.cluster.sago(&["cluster", "status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let node = |at: usize| status["nodes"][at].clone();
    ensure!(node(2)["mode"] == "removed" && node(3)["state"] == "up", "{status:#}");
    comes_back(&mut campaign, DEAD)?;
    let finalized = campaign.cluster.operate(&["cluster", "finalize", "--json"])?;
    // The one that joined does what the others do.
    let level = &status["level"];
    ensure!(serde_json::from_str::<serde_json::Value>(&finalized)?["level"] == *level, "{finalized}, {level}");
    campaign.judge(load)?;

    // The new one has what the dead one had: with another node dead every byte is still there.
    campaign.cluster.kill(0)?;
    campaign.cluster.wait_writable()?;
    campaign.judge_all()
}

/// T21. The dead node is started again though it was removed: nobody listens to it, and it ends.
fn comes_back(campaign: &mut Campaign, dead: usize) -> anyhow::Result<()> {
    campaign.cluster.restart(dead)?;
    until("the removed node ends", ENDS_MAX, || !campaign.cluster.runs(dead))?;
    let said = campaign.cluster.said(dead, "was removed from the cluster");
    ensure!(said > 0, "it did not say why\n{}", campaign.cluster.last_words());
    campaign.cluster.kill(dead)
}
