//! A node that joins a running cluster by the operator's commands.

use anyhow::{Context, ensure};
use harness::{Cluster, until};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest time until a command has begun, or ended, what it is asked for.
const STEP_MAX: Duration = Duration::from_secs(60);

/// A process that is killed with the test.
#[derive(Debug)]
pub struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that has joined, and runs.
#[derive(Debug)]
pub struct Joined {
    /// Its folder.
    pub folder: PathBuf,
    _process: Ended,
}

/// Invites node `id`, has it join by its token, and starts it.
///
/// # Errors
/// One of the commands fails or does not end; the error carries what it said.
pub fn join(cluster: &Cluster, id: u64) -> anyhow::Result<Joined> {
    let root = cluster.folder();
    let (token, folder) = (root.join(format!("node-{id}.token")), root.join(format!("node-{id}")));
    let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let log = root.join(format!("invite-{id}.log"));
    let mut invite = cluster.command();
    invite.args(["node", "invite", &format!("{id}={addr}"), "--site"]).arg(root.join("cluster"));
    let mut inviting = start(invite.arg("--token").arg(&token), &log)?;
    let said = || fs::read_to_string(&log).unwrap_or_default();
    until("there is a token", STEP_MAX, || token.exists()).with_context(said)?;
    let mut join = cluster.command();
    join.args(["node", "join", "--admin", "127.0.0.1:0", "--token"]).arg(&token).arg("--dir").arg(&folder);
    let joined = join.output()?;
    ensure!(joined.status.success(), "sago node join: {}", String::from_utf8_lossy(&joined.stderr));
    until("the node is let in", STEP_MAX, || !matches!(inviting.0.try_wait(), Ok(None))).with_context(said)?;
    let admitted = inviting.0.wait()?;
    ensure!(admitted.success(), "sago node invite: {}", said());
    small_segments(&folder.join("node.toml"), &cluster.node_folder(0).join("node.toml"))?;
    let mut serve = cluster.command();
    serve.args(["node", "--with-parent", &std::process::id().to_string(), "--config"]).arg(folder.join("node.toml"));
    let process = start(&mut serve, &root.join(format!("node-{id}.log")))?;
    Ok(Joined { folder, _process: process })
}

fn start(command: &mut Command, log: &Path) -> anyhow::Result<Ended> {
    let log = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Ended(command.spawn().context("sago cannot be started")?))
}

/// Has a node keep its chunks as the nodes of the demo do: all of them share a small disk.
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
