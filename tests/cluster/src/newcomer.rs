//! A node that joins a running cluster, by the operator's commands.

use anyhow::{Context, ensure};
use harness::{Cluster, until};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest time until a command has begun what it waits for.
const BEGUN_MAX: Duration = Duration::from_secs(60);

/// A process that is killed with the test, and the file that has what it said.
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Background { child: command.spawn().context("sago cannot be started")?, log })
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// Not in time, or not well; the error carries what it said.
    pub fn ended(&mut self, bound: Duration) -> anyhow::Result<()> {
        let said = || fs::read_to_string(&self.log).unwrap_or_default();
        let mut end: Option<ExitStatus> = None;
        until("the command ends", bound, || {
            end = self.child.try_wait().ok().flatten();
            end.is_some()
        })
        .with_context(said)?;
        ensure!(end.is_some_and(|end| end.success()), "it failed: {}", said());
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that is to join.
pub struct Newcomer {
    /// Its number.
    pub id: u64,
    addr: SocketAddr,
    folder: PathBuf,
}

impl Newcomer {
    /// A node of this number, at a free address.
    ///
    /// # Errors
    /// There is none.
    pub fn new(cluster: &Cluster, id: u64) -> anyhow::Result<Self> {
        let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Newcomer { id, addr, folder: cluster.folder().to_owned() })
    }

    /// As the commands name it.
    #[must_use]
    pub fn spec(&self) -> String {
        format!("{}={}", self.id, self.addr)
    }

    /// Where its token is written.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.folder.join(format!("node-{}.token", self.id))
    }

    /// The folder of the authority.
    #[must_use]
    pub fn site(&self) -> PathBuf {
        self.folder.join("cluster")
    }

    /// What a command of this node says is kept here.
    #[must_use]
    pub fn log(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{what}-{}.log", self.id))
    }

    /// Invites it, has it join, and starts it.
    ///
    /// # Errors
    /// A command failed.
    pub fn come(&self, cluster: &Cluster) -> anyhow::Result<Background> {
        let mut invite = cluster.command();
        invite.args(["node", "invite", &self.spec(), "--site"]).arg(self.site()).arg("--token").arg(self.token());
        let mut inviting = Background::start(&mut invite, self.log("invite"))?;
        self.join(cluster)?;
        inviting.ended(BEGUN_MAX)?;
        self.serve(cluster)
    }

    /// Joins with the token, once there is one.
    ///
    /// # Errors
    /// There is none, or it is not let in.
    pub fn join(&self, cluster: &Cluster) -> anyhow::Result<()> {
        until("there is a token", BEGUN_MAX, || self.token().exists())?;
        let mut join = cluster.command();
        join.args(["node", "join", "--admin", "127.0.0.1:0", "--token"])
            .arg(self.token())
            .arg("--dir")
            .arg(self.home());
        let joined = join.output()?;
        ensure!(joined.status.success(), "sago node join: {}", String::from_utf8_lossy(&joined.stderr));
        small_segments(&self.home().join("node.toml"), &cluster.node_folder(0).join("node.toml"))
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn serve(&self, cluster: &Cluster) -> anyhow::Result<Background> {
        let mut serve = cluster.command();
        serve.args(["node", "--with-parent", &std::process::id().to_string(), "--config"]);
        Background::start(serve.arg(self.home().join("node.toml")), self.log("node"))
    }

    fn home(&self) -> PathBuf {
        self.folder.join(format!("joined-{}", self.id))
    }
}

/// Has a node keep its chunks as the nodes of the demo do: several of them share a small disk.
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
