//! A cluster of real processes: `sago demo --json` starts it, the harness does the violence.

mod power;
mod site;
mod status;

pub use status::{DiskPage, NodePage};

use crate::network::Network;
use crate::{binary, process, until, within};
use anyhow::{Context, ensure};
use fault_disk::FaultDisk;
use loadgen::s3::{Payload, S3Client};
use loadgen::target::Target;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Longest start of a cluster: a dev build on a busy machine, with recovery of what a kill left.
const READY_MAX: Duration = Duration::from_secs(120);
/// Longest time until a cluster whose majority is back takes writes again (rule R3b allows 30 s).
const WRITABLE_MAX: Duration = Duration::from_secs(60);
/// Longest orderly end.
const STOP_MAX: Duration = Duration::from_secs(20);
/// The role of a leader on the status page.
const LEADER: &str = "leader";
/// The variable that holds a node to a feature level.
const LEVEL: &str = "SAGO_NODE_FEATURE_LEVEL";
/// The bucket that is made and mounted.
const BUCKET: &str = "test";

/// What is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Node processes.
    pub nodes: usize,
    /// Whether the bucket is mounted; needs /dev/fuse.
    pub mount: bool,
    /// Each node on a [`FaultDisk`] of so many bytes (sparse); needs what [`fault_disk::missing`] looks for.
    pub disk_bytes: Option<u64>,
    /// Whether everything between the processes goes through a [`Network`].
    pub network: bool,
    /// Decides what the network loses and damages.
    pub seed: u64,
    /// The feature level that the nodes do at first, if it is not the newest; those that are started again do the newest.
    pub level: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 3, mount: false, disk_bytes: None, network: false, seed: 0, level: None }
    }
}

/// Exit code of a test program that cannot run here; `xtask planted` knows it.
const CANNOT_RUN: i32 = 77;

/// A running cluster in a temporary folder. Dropping it ends every process, unmounts and removes the folder.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    port: u16,
    sago: PathBuf,
    demo: Child,
    target: Target,
    /// Nodes that the harness has started again; the others are children of `demo`.
    restarted: BTreeMap<usize, Child>,
    /// What nodes are started with from their next start on.
    environments: BTreeMap<usize, Vec<(&'static str, OsString)>>,
    // The disks before the folder that they lie in, and both after every process has ended.
    site: site::Site,
    folder: TempDir,
}

/// A disk that fills up fails a test in ways that say nothing of it: writes are refused, as they must be. Ends the test program where there is no room, by a code of its own: such a
/// failure says nothing of what is tested, and is not to be taken for a mistake that was found.
fn check_room(folder: &Path) -> anyhow::Result<()> {
    let gib = if crate::battery() { 40 } else { 4 };
    let room = rustix::fs::statvfs(folder)?;
    let free = (room.f_bavail * room.f_frsize) >> 30;
    if free < gib {
        // Not by a macro: what those print is kept until a test has ended, and it never does.
        writeln!(
            std::io::stderr(),
            "{} has {free} GiB free, the test wants {gib}: make room or set TMPDIR",
            folder.display()
        )?;
        std::process::exit(CANNOT_RUN);
    }
    Ok(())
}

impl Cluster {
    /// Starts a fresh cluster and waits until it takes writes. The breaker of its bucket is off: a load overwrites and deletes more in minutes
    /// than any application does.
    ///
    /// # Errors
    /// There is no binary, or it does not get ready; the error carries the last words of its log.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let sago = binary::sago()?;
        check_room(&std::env::temp_dir())?;
        let mut folder = tempfile::Builder::new().prefix("sago-test.").tempdir()?;
        if std::env::var_os("SAGO_KEEP").is_some() {
            folder.disable_cleanup(true);
            println!("kept: {}", folder.path().display());
        }
        let port = free_port()?;
        let site = site::prepare(&sago, folder.path(), port, &options)?;
        let (demo, target) = launch(&sago, folder.path(), port, &options)?;
        let (restarted, environments) = (BTreeMap::new(), BTreeMap::new());
        let cluster = Self { options, port, sago, demo, target, restarted, environments, site, folder };
        cluster.wait_writable()?;
        cluster.operate(&["bucket", "breaker", "set", &cluster.target.bucket, "--limit", "off"])?;
        Ok(cluster)
    }

    /// What `sago demo` said: endpoint, keys, mount, nodes.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A client with the demo's key.
    ///
    /// # Panics
    /// If an HTTP client cannot be made.
    #[must_use]
    pub fn s3(&self) -> S3Client {
        self.target.s3().expect("a client of a loopback address")
    }

    /// A `sago` command that is yet to be given its words.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.sago)
    }

    /// Runs a `sago` command on this cluster and returns what it printed.
    ///
    /// # Errors
    /// It cannot be run or failed; the error carries what it said.
    pub fn sago(&self, words: &[&str]) -> anyhow::Result<String> {
        self.sago_with(words, Path::new(self.target.config.as_ref().context("sago demo told no config")?))
    }

    fn sago_with(&self, words: &[&str], config: &Path) -> anyhow::Result<String> {
        let output = Command::new(&self.sago).args(words).arg("--config").arg(config).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "sago {}: {said}", words.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a `sago` command that speaks with no cluster: how it ended, and what it printed on standard output.
    ///
    /// # Errors
    /// It cannot be run, or was ended by a signal.
    pub fn sago_alone(&self, words: &[&str]) -> anyhow::Result<(i32, String)> {
        let output = Command::new(&self.sago).args(words).output()?;
        let code = output.status.code().with_context(|| format!("sago {} was killed", words.join(" ")))?;
        Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// As [`Self::sago`] with an operator's certificate.
    ///
    /// # Errors
    /// As [`Self::sago`].
    pub fn operate(&self, words: &[&str]) -> anyhow::Result<String> {
        self.sago_with(words, &self.operator()?)
    }

    /// The folder of an operator's certificate, as commands take it after `--config`.
    ///
    /// # Errors
    /// The demo told none.
    pub fn operator(&self) -> anyhow::Result<PathBuf> {
        let config = self.target.config.as_ref().context("sago demo told no config")?;
        let client = Path::new(config);
        let client = if client.is_dir() { client } else { client.parent().context("a folder")? };
        Ok(client.with_file_name("operator"))
    }

    /// The folder of the cluster and of its logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many node processes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.target.nodes.len()
    }

    /// The process of node `at` (an index, not an id).
    #[must_use]
    pub fn pid(&self, at: usize) -> u32 {
        self.target.nodes[at].pid
    }

    /// What node `at` says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self, at: usize) -> anyhow::Result<NodePage> {
        status::ask(&self.target.nodes[at].admin)
    }

    /// The node that leads most groups, by what all nodes say that answer.
    ///
    /// # Errors
    /// Nobody leads anything.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let led = |at: usize| {
            let groups = self.status(at).map(|page| page.groups).unwrap_or_default();
            groups.iter().filter(|group| group.role == LEADER).count()
        };
        let most = (0..self.nodes()).map(|at| (led(at), at)).max().filter(|(led, _)| *led > 0);
        most.map(|(_, at)| at).context("no node leads a group")
    }

    /// Whether each other node knows a leader of each group, and none that is node `at`.
    #[must_use]
    pub fn led_without(&self, at: usize) -> bool {
        let own = self.target.nodes[at].id;
        (0..self.nodes()).filter(|other| *other != at).all(|other| {
            let groups = self.status(other).map(|page| page.groups).unwrap_or_default();
            !groups.is_empty() && groups.iter().all(|group| group.leader.is_some_and(|leader| leader.0 != own))
        })
    }

    /// Whether every node answers, knows a leader of each of its groups, votes in them, and has no disk out of service.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (0..self.nodes()).all(|at| {
            self.status(at).is_ok_and(|page| {
                page.groups.iter().all(|group| group.leader.is_some() && !group.is_quarantined())
                    && page.disks.iter().all(|disk| !disk.fenced)
            })
        })
    }

    /// Whether the process of node `at` runs.
    #[must_use]
    pub fn runs(&self, at: usize) -> bool {
        process::runs(self.pid(at))
    }

    /// How often the logs of node `at` have a text, in all its lives.
    #[must_use]
    pub fn said(&self, at: usize, text: &str) -> usize {
        let id = self.target.nodes[at].id;
        self.said_in(&format!("cluster/logs/node-{id}.log"), text) + self.said_in(&format!("node-{id}.log"), text)
    }

    /// How often the log of the demo's own gateway has a text.
    #[must_use]
    pub fn gateway_said(&self, text: &str) -> usize {
        self.said_in("cluster/logs/gateway.log", text)
    }

    fn said_in(&self, log: &str, text: &str) -> usize {
        let log = fs::read(self.folder.path().join(log)).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(text).count()
    }

    /// The disk of node `at`.
    ///
    /// # Panics
    /// If the cluster was started without.
    #[must_use]
    pub fn disk(&self, at: usize) -> &FaultDisk {
        &self.site.disks[at]
    }

    /// The network between the processes.
    ///
    /// # Panics
    /// If the cluster was started without.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.site.network.as_ref().expect("the cluster was started with a network")
    }

    /// The folder of node `at`: its settings, and its data in `data`.
    #[must_use]
    pub fn node_folder(&self, at: usize) -> PathBuf {
        site::node_folder(self.folder.path(), at)
    }

    /// SIGKILL to one node; returns when it is gone.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self, at: usize) -> anyhow::Result<()> {
        process::send(self.pid(at), Signal::KILL);
        self.gone(&[at])
    }

    /// SIGTERM to one node: it hands over what it leads; returns when it has ended.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self, at: usize) -> anyhow::Result<()> {
        process::send(self.pid(at), Signal::TERM);
        self.gone(&[at])
    }

    /// SIGKILL to all nodes, as close together as a loop can; returns when all are gone.
    ///
    /// # Errors
    /// One does not end.
    pub fn kill_nodes(&mut self) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.nodes()).collect();
        all.iter().for_each(|at| process::send(self.pid(*at), Signal::KILL));
        self.gone(&all)
    }

    fn gone(&mut self, which: &[usize]) -> anyhow::Result<()> {
        let pids: Vec<u32> = which.iter().map(|at| self.pid(*at)).collect();
        process::ended(&pids)?;
        for at in which {
            if let Some(mut child) = self.restarted.remove(at) {
                child.wait()?;
            }
            // The number may be given to somebody else from now on, who must not get our signals.
            self.target.nodes[*at].pid = 0;
        }
        Ok(())
    }

    /// SIGSTOP to one node: it answers nothing and knows nothing of it.
    pub fn pause(&self, at: usize) {
        process::send(self.pid(at), Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self, at: usize) {
        process::send(self.pid(at), Signal::CONT);
    }

    /// Starts a killed node again, by the command that the demo told.
    ///
    /// # Errors
    /// The demo told none, or the process does not start.
    pub fn restart(&mut self, at: usize) -> anyhow::Result<()> {
        ensure!(!process::runs(self.pid(at)), "node {at} still runs");
        let node = &self.target.nodes[at];
        let (program, arguments) = node.start.split_first().context("sago demo told no command in nodes[].start")?;
        let log = self.log(&format!("node-{}", node.id))?;
        let child = Command::new(program)
            .args(arguments)
            // A test that is killed leaves no node behind, and no node keeps a disk of it.
            .args(["--with-parent", &std::process::id().to_string()])
            .envs(self.environments.get(&at).into_iter().flatten().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        self.target.nodes[at].pid = child.id();
        self.restarted.insert(at, child);
        Ok(())
    }

    /// Has node `at` do no more than a program of this feature level, from its next start on; `None`: all that its program can do.
    pub fn set_level(&mut self, at: usize, level: Option<u32>) {
        let variable = level.map(|level| (LEVEL, level.to_string().into()));
        self.set_environment(at, variable.into_iter().collect());
    }

    /// Has node `at` run with these variables from its next start on.
    pub fn set_environment(&mut self, at: usize, variables: Vec<(&'static str, OsString)>) {
        self.environments.insert(at, variables);
    }

    /// Changes a setting in the `node.toml` of node `at`, from its next start on. The value is as it stands in the file.
    ///
    /// # Errors
    /// The file has no such setting.
    pub fn configure(&self, at: usize, key: &str, value: &str) -> anyhow::Result<()> {
        let file = self.node_folder(at).join("node.toml");
        let text = fs::read_to_string(&file)?;
        let is = |line: &str| line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        ensure!(text.lines().filter(|line| is(line)).count() == 1, "{} has no setting {key}", file.display());
        let lines = text.lines().map(|line| if is(line) { format!("{key} = {value}") } else { line.to_owned() });
        Ok(fs::write(&file, lines.map(|line| line + "\n").collect::<String>())?)
    }

    /// Kills and starts one node after the other, each once the one before is back at work: so that all of them run with what was configured.
    ///
    /// # Errors
    /// One does not end, or does not come back.
    pub fn restart_each(&mut self) -> anyhow::Result<()> {
        for at in 0..self.nodes() {
            self.kill(at)?;
            self.restart(at)?;
            until("a node is back", READY_MAX, || self.is_whole()).with_context(|| self.last_words())?;
        }
        self.wait_writable().map(drop)
    }

    /// SIGKILL to everything, the gateway, the mount and the demo included: a power cut as far as processes know.
    ///
    /// # Errors
    /// One does not end.
    pub fn kill_everything(&mut self) -> anyhow::Result<()> {
        let pids = self.everything();
        pids.iter().for_each(|pid| process::send(*pid, Signal::KILL));
        self.demo.wait()?;
        for child in self.restarted.values_mut() {
            child.wait()?;
        }
        self.restarted.clear();
        process::ended(&pids)
    }

    /// A second start on the same folder; waits until it takes writes and returns how long that took in all.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_again(&mut self) -> anyhow::Result<Duration> {
        let start = std::time::Instant::now();
        let (demo, target) = launch(&self.sago, self.folder.path(), self.port, &self.options)?;
        self.demo = demo;
        self.target = target;
        self.wait_writable()?;
        Ok(start.elapsed())
    }

    /// Waits until a small object can be stored; returns how long that took.
    ///
    /// # Errors
    /// Not within a minute; the error carries the last words of the logs.
    pub fn wait_writable(&self) -> anyhow::Result<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (s3, bucket) = (self.s3(), self.target.bucket.clone());
        let payload = Payload::new("ready");
        let mut refused = String::new();
        let probe = || match runtime.block_on(s3.put(&bucket, "harness-ready", &payload)) {
            Ok(_) => true,
            Err(error) => {
                refused = error.to_string();
                false
            }
        };
        let waited = until("the cluster takes writes", WRITABLE_MAX, probe);
        waited.with_context(|| format!("{refused}\n{}", self.last_words()))
    }

    /// The ends of all logs in the folder.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(self.folder.path())
    }

    /// A log beside those of the nodes; its end is among the last words.
    pub(crate) fn log(&self, name: &str) -> anyhow::Result<File> {
        log(self.folder.path(), name)
    }

    /// The demo and every server process that still runs.
    fn everything(&self) -> Vec<u32> {
        let servers = self.target.processes().into_iter().map(|process| process.pid);
        servers.chain([self.demo.id()]).filter(|pid| process::runs(*pid)).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A process with a request in a disk that hangs cannot even be killed.
        self.site.disks.iter().for_each(FaultDisk::mend);
        let everything = self.everything();
        everything.iter().for_each(|pid| process::send(*pid, Signal::CONT));
        process::send(self.demo.id(), Signal::TERM);
        self.restarted.values().for_each(|child| process::send(child.id(), Signal::TERM));
        let orderly = until("an orderly end", STOP_MAX, || everything.iter().all(|pid| !process::runs(*pid)));
        if orderly.is_err() {
            let left: Vec<u32> = everything.iter().copied().filter(|pid| process::runs(*pid)).collect();
            let names = self.target.processes().into_iter().filter(|process| left.contains(&process.pid));
            let names: Vec<String> = names.map(|process| process.name).collect();
            eprintln!("harness: {names:?} of {left:?} did not end by SIGTERM within {} s: SIGKILL", STOP_MAX.as_secs());
            everything.iter().for_each(|pid| process::send(*pid, Signal::KILL));
        }
        let _ = self.demo.wait();
        self.restarted.values_mut().for_each(|child| drop(child.wait()));
        if let Some(mount) = self.target.mount.as_ref().filter(|mount| is_mounted(mount)) {
            let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn launch(sago: &Path, folder: &Path, port: u16, options: &Options) -> anyhow::Result<(Child, Target)> {
    let ready = folder.join("ready.json");
    let mut command = demo_command(sago, folder, port, options);
    if options.mount {
        let mount = folder.join("mount");
        // A stale mount of a killed run is there but cannot be looked at; the demo clears it.
        let _ = std::fs::create_dir(&mount);
        command.arg("--mount").arg(mount);
    } else {
        command.arg("--no-mount");
    }
    command.stdin(Stdio::null()).stdout(File::create(&ready)?).stderr(log(folder, "demo")?);
    let mut demo = command.spawn().with_context(|| format!("cannot start {}", sago.display()))?;
    let line = within("sago demo gets ready", READY_MAX, || {
        let text = std::fs::read_to_string(&ready).unwrap_or_default();
        let whole = text.split_once('\n').map(|(line, _)| Some(line.to_owned()));
        // Ended without a line: no use to wait on.
        whole.or_else(|| matches!(demo.try_wait(), Ok(Some(_))).then_some(None))
    });
    let target = line.and_then(|(line, _)| Target::parse(&line.context("sago demo ended before it was ready")?));
    match target {
        Ok(target) => Ok((demo, target)),
        Err(error) => {
            process::send(demo.id(), Signal::TERM);
            demo.wait()?;
            Err(error.context(last_words(folder)))
        }
    }
}

/// What every start of the demo has in common.
fn demo_command(sago: &Path, folder: &Path, port: u16, options: &Options) -> Command {
    let mut command = Command::new(sago);
    command.arg("demo").arg("--dir").arg(folder.join("cluster")).args(["--bucket", BUCKET, "--no-sample", "--json"]);
    command.args(["--nodes", &options.nodes.to_string(), "--s3-port", &port.to_string()]);
    command.envs(options.level.map(|level| (LEVEL, level.to_string())));
    command
}

/// A log file that later starts add to.
fn log(folder: &Path, name: &str) -> anyhow::Result<File> {
    Ok(File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?)
}

fn last_words(folder: &Path) -> String {
    const LINES: usize = 15;
    let mut out = String::from("last words of the logs:\n");
    let folders = [folder.to_path_buf(), folder.join("cluster/logs")];
    for entry in folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
        if entry.path().extension().is_some_and(|ext| ext == "log") {
            let text = std::fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(LINES)..].join("\n");
            out.push_str(&format!("-- {}\n{end}\n", entry.file_name().to_string_lossy()));
        }
    }
    out
}

/// A port that was free a moment ago, below the range from which the kernel serves clients: it is still free when what listened on it was
/// killed and starts again.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    const TRIES_MAX: usize = 1_000;
    let mut tries = std::iter::repeat_with(|| rand::random_range(10_000..17_000_u16)).take(TRIES_MAX);
    tries.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no free port")
}

pub(crate) fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let text = path.to_string_lossy();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(text.as_ref()))
}
