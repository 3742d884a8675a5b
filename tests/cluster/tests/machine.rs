//! A cluster of one machine, a node on each of three disks: it keeps three copies and three votes, says what hangs on the machine, does without one of
//! the disks; and when two machines join, it does without the first.

use anyhow::{Context, ensure};
use cluster::Background;
use harness::{must, until, within};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest start of the cluster, and of what follows a loss.
const READY_MAX: Duration = Duration::from_secs(120);
/// Longest time until a machine that joined has its copies and votes.
const SPREAD_MAX: Duration = Duration::from_secs(300);
const FILES: usize = 12;

#[test]
fn one_machine_of_three_disks_becomes_three_machines() {
    let _turn = harness::exclusive();
    must(run());
}

/// The folder of the cluster, and what speaks with it.
struct Site {
    sago: PathBuf,
    folder: PathBuf,
}

impl Site {
    fn says(&self, words: &[&str], role: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.sago);
        command.args(words).arg("--config").arg(self.folder.join("site").join(role));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "sago {}: {said}", words.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn serve(&self, home: &Path, name: &str) -> anyhow::Result<Background> {
        let mut command = Command::new(&self.sago);
        command.args(["node", "--with-parent", &std::process::id().to_string(), "--config"]);
        Background::start(command.arg(home.join("node.toml")), self.folder.join(format!("{name}.log")))
    }

    fn home(&self, id: u64) -> PathBuf {
        self.folder.join("site").join(format!("node-{id}"))
    }

    /// The warnings of `sago cluster status`, once it says that so many nodes are up.
    fn warnings(&self, up: usize) -> Option<Vec<String>> {
        let status = self.says(&["cluster", "status", "--json"], "client").ok()?;
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        let nodes = status["nodes"].as_array()?;
        let are_up = nodes.iter().filter(|node| node["state"] == "up" && node["answers"] == true).count();
        let lines = status["warnings"].as_array()?.iter().filter_map(|line| line.as_str().map(str::to_owned));
        (are_up == up).then(|| lines.collect())
    }

    fn content(n: usize) -> Vec<u8> {
        posix::sample(20_000 + 1000 * n, n as u64)
    }

    fn put(&self, n: usize) -> anyhow::Result<()> {
        let file = self.folder.join("upload");
        fs::write(&file, Self::content(n))?;
        let file = file.to_str().context("a path that is text")?;
        self.says(&["put", file, &format!("books/{n}")], "client").map(drop)
    }

    fn check(&self, count: usize) -> anyhow::Result<()> {
        let file = self.folder.join("download");
        let path = file.to_str().context("a path that is text")?;
        for n in 0..count {
            let _ = fs::remove_file(&file);
            self.says(&["get", &format!("books/{n}"), path], "client")?;
            ensure!(fs::read(&file)? == Self::content(n), "{n} has other bytes");
        }
        Ok(())
    }

    /// Has a machine of one node join, and starts it.
    fn join(&self, id: u64, addr: &str) -> anyhow::Result<Background> {
        let (token, home) = (self.folder.join(format!("{id}.token")), self.folder.join(format!("joined-{id}")));
        let mut invite = Command::new(&self.sago);
        invite.args(["node", "invite", &format!("{id}={addr}"), "--site"]).arg(self.folder.join("site"));
        invite.arg("--token").arg(&token);
        let mut inviting = Background::start(&mut invite, self.folder.join(format!("invite-{id}.log")))?;
        until("there is a token", READY_MAX, || token.exists())?;
        let mut join = Command::new(&self.sago);
        join.args(["node", "join", "--admin", "127.0.0.1:0", "--token"]).arg(&token).arg("--dir").arg(&home);
        let joined = join.output()?;
        ensure!(joined.status.success(), "sago node join: {}", String::from_utf8_lossy(&joined.stderr));
        inviting.ended(READY_MAX)?;
        small_segments(&home)?;
        // Clients that start from now on find the cluster by it too.
        let client = self.folder.join("site/client/client.toml");
        let known = fs::read_to_string(&client)?;
        fs::write(&client, format!("{known}\n[[node]]\nid = {id}\naddr = \"{addr}\"\n"))?;
        self.serve(&home, &format!("node-{id}"))
    }
}

fn run() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("sago-test.").tempdir()?;
    let site = Site { sago: harness::sago()?, folder: folder.path().to_owned() };
    let port = free_ports()?;
    let dir = site.folder.join("site");
    let init = |machine: &str, dir: &Path| {
        Command::new(&site.sago).args(["cluster", "init", "--machine", machine, "--dir"]).arg(dir).output()
    };
    let few = init(&format!("a=127.0.0.1:{port},disks=2"), &dir)?;
    let said = String::from_utf8_lossy(&few.stderr);
    ensure!(few.status.code() == Some(2) && said.contains("disks=3"), "two disks: {said}");
    let made = init(&format!("a=127.0.0.1:{port},disks=3"), &dir)?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (1..=3).try_for_each(|id| small_segments(&site.home(id)))?;
    let mut nodes = (1..=3)
        .map(|id| site.serve(&site.home(id), &format!("node-{id}")))
        .collect::<anyhow::Result<Vec<Background>>>()?;

    let (warnings, _) = within("three nodes are up", READY_MAX, || site.warnings(3))?;
    let lost = warnings.iter().any(|line| line.contains("all copies of all files lie on 127.0.0.1"));
    ensure!(lost && warnings.len() == 2, "{warnings:?}");
    site.says(&["user", "create", "alice"], "client")?;
    site.says(&["bucket", "create", "books"], "client")?;
    (0..FILES).try_for_each(|n| site.put(n))?;
    site.check(FILES)?;

    // A disk less, with the node on it.
    drop(nodes.remove(1));
    until("the cluster goes on without a disk", READY_MAX, || site.put(FILES).is_ok())?;
    site.check(FILES + 1)?;
    nodes.push(site.serve(&site.home(2), "node-2-again")?);
    within("three nodes are up", READY_MAX, || site.warnings(3))?;

    let others = [(4, "127.0.0.2"), (5, "127.0.0.3")].map(|(id, host)| {
        let port = UdpSocket::bind((host, 0))?.local_addr()?.port();
        site.join(id, &format!("{host}:{port}"))
    });
    let others = others.into_iter().collect::<anyhow::Result<Vec<Background>>>()?;
    let spread = || site.warnings(5).is_some_and(|warnings| warnings.is_empty());
    until("no machine has all of anything", SPREAD_MAX, spread)
        .with_context(|| site.says(&["cluster", "status"], "client").unwrap_or_default())?;

    // The first machine less, with all three disks.
    drop(nodes);
    until("the cluster goes on without the machine", READY_MAX, || site.put(FILES + 1).is_ok())?;
    site.check(FILES + 2)?;
    drop(others);
    Ok(())
}

/// A port whose next four are free too: one for each node, and one for each admin page.
fn free_ports() -> anyhow::Result<u16> {
    let free = || {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        let last = port.checked_add(5)?;
        let is_free =
            |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok();
        (port..=last).all(is_free).then_some(port)
    };
    (0..100).find_map(|_| free()).context("six free ports in a row")
}

/// Several nodes share a small disk here.
fn small_segments(home: &Path) -> anyhow::Result<()> {
    let file = home.join("node.toml");
    let small = |line: &str| match line.split_once(" = ") {
        Some(("segment", _)) => "segment = \"64MiB\"".to_owned(),
        Some(("reserve", _)) => "reserve = \"256MiB\"".to_owned(),
        _ => line.to_owned(),
    };
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains("\nsegment = ") && text.contains("\nreserve = "), "{text}");
    Ok(fs::write(&file, text.lines().map(small).collect::<Vec<_>>().join("\n"))?)
}
