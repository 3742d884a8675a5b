//! A node that died is replaced by the operator's commands, as they stand in docs/OPERATIONS.md, under load; then it comes back (T21).

use anyhow::{Context, ensure};
use cluster::Campaign;
use harness::{must, until};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest time until a command has begun what it waits for.
const BEGUN_MAX: Duration = Duration::from_secs(60);
/// Longest time until all copies and votes of the dead node are on the new one.
const REPLACED_MAX: Duration = Duration::from_secs(300);

/// A process that is killed with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
    let folder = campaign.cluster.folder().to_owned();
    let (token, home) = (folder.join("node-4.token"), folder.join("node-4"));
    let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut replace = campaign.cluster.command();
    replace.args(["node", "replace", "3", &format!("4={addr}"), "--site"]).arg(folder.join("cluster"));
    let mut replacing = start(replace.arg("--token").arg(&token), &folder.join("replace.log"))?;
    until("there is a token", BEGUN_MAX, || token.exists())?;

    let mut join = campaign.cluster.command();
    join.args(["node", "join", "--admin", "127.0.0.1:0", "--token"]).arg(&token).arg("--dir").arg(&home);
    let joined = join.output()?;
    ensure!(joined.status.success(), "sago node join: {}", String::from_utf8_lossy(&joined.stderr));
    // Nobody else joins with it.
    let mut again = campaign.cluster.command();
    again.args(["node", "join", "--token"]).arg(&token).arg("--dir").arg(folder.join("other"));
    let again = again.output()?;
    let said = String::from_utf8_lossy(&again.stderr);
    ensure!(!again.status.success() && said.contains("used by another machine"), "a second machine joined: {said}");

    small_segments(&home.join("node.toml"), &campaign.cluster.node_folder(0).join("node.toml"))?;
    let mut serve = campaign.cluster.command();
    serve.args(["node", "--with-parent", &std::process::id().to_string(), "--config"]).arg(home.join("node.toml"));
    let _node = start(&mut serve, &folder.join("node-4.log"))?;
    until("the node is replaced", REPLACED_MAX, || !matches!(replacing.0.try_wait(), Ok(None)))
        .with_context(|| fs::read_to_string(folder.join("replace.log")).unwrap_or_default())?;
    let ended = replacing.0.wait()?;
    ensure!(ended.success(), "sago node replace: {}", fs::read_to_string(folder.join("replace.log"))?);
    let status = campaign.cluster.sago(&["cluster", "status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let node = |at: usize| status["nodes"][at].clone();
    ensure!(node(2)["mode"] == "removed" && node(3)["state"] == "up", "{status:#}");
    comes_back(&mut campaign, DEAD)?;
    let finalized = campaign.cluster.operate(&["cluster", "finalize", "--json"])?;
    ensure!(serde_json::from_str::<serde_json::Value>(&finalized)?["level"] == 1, "{finalized}");
    campaign.judge(load)?;

    // The new one has what the dead one had: with another node dead every byte is still there.
    campaign.cluster.kill(0)?;
    campaign.cluster.wait_writable()?;
    campaign.judge_all()
}

/// T21. The dead node is started again though it was removed: nobody listens to it, and it ends.
fn comes_back(campaign: &mut Campaign, dead: usize) -> anyhow::Result<()> {
    campaign.cluster.restart(dead)?;
    until("the removed node ends", BEGUN_MAX, || !campaign.cluster.runs(dead))?;
    let said = campaign.cluster.said(dead, "was removed from the cluster");
    ensure!(said > 0, "it did not say why\n{}", campaign.cluster.last_words());
    campaign.cluster.kill(dead)
}

fn start(command: &mut Command, log: &Path) -> anyhow::Result<Ended> {
    let log = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Ended(command.spawn().context("sago cannot be started")?))
}

/// Has a node keep its chunks as the nodes of the demo do: four of them share a small disk.
fn small_segments(file: &Path, like: &Path) -> anyhow::Result<()> {
    let (text, like) = (fs::read_to_string(file)?, fs::read_to_string(like)?);
    let setting = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        line.with_context(|| format!("no {key} in node.toml"))
    };
    let mut small = text.clone();
    for key in ["segment = ", "reserve = "] {
        small = small.replace(&setting(&text, key)?, &setting(&like, key)?);
    }
    Ok(fs::write(file, small)?)
}
