//! The folder of a cluster before its first start: nodes moved onto disks and behind a network that fail on command.
//!
//! `sago demo` makes the folder as for any cluster and is stopped at once; what its nodes may have begun is thrown away. Then each
//! node's `data` becomes the mount point of a [`FaultDisk`], and its `listen` an address behind the relay that has taken its place.

use super::{Options, demo_command};
use crate::network::{Network, Relayed};
use crate::{process, until};
use anyhow::{Context, ensure};
use fault_disk::FaultDisk;
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Longest time until `sago demo` has made its files: certificates, no data.
const MADE_MAX: Duration = Duration::from_secs(60);
/// The file that lets a node make its data folders; a node removes it once it has.
const FIRST_START: &str = "first-start";
/// The setting of node.toml that tells where a node listens.
const LISTEN: &str = "listen = \"";

/// What can fail on command.
#[derive(Debug, Default)]
pub(super) struct Site {
    pub(super) disks: Vec<FaultDisk>,
    pub(super) network: Option<Network>,
}

/// Makes the folder if anything of it has to be different from what `sago demo` makes.
pub(super) fn prepare(sago: &Path, folder: &Path, port: u16, options: &Options) -> anyhow::Result<Site> {
    let mut site = Site::default();
    if options.disk_bytes.is_none() && !options.network {
        return Ok(site);
    }
    make(sago, folder, port, options)?;
    for node in node_folders(folder, options) {
        fs::remove_dir_all(node.join("data")).or_else(absent_is_fine)?;
        fs::write(node.join(FIRST_START), "")?;
    }
    if let Some(bytes) = options.disk_bytes {
        fault_disk::clear_leftovers();
        for (at, node) in node_folders(folder, options).iter().enumerate() {
            let disk = FaultDisk::new(&folder.join(format!("disk-{}", at + 1)), bytes, &node.join("data"));
            site.disks.push(disk.with_context(|| format!("the disk of node {}", at + 1))?);
        }
    }
    if options.network {
        let relayed: Vec<Relayed> =
            node_folders(folder, options).iter().map(|node| behind_relay(node)).collect::<Result<_, _>>()?;
        site.network = Some(Network::start(&relayed, options.seed)?);
    }
    Ok(site)
}

pub(super) fn node_folder(folder: &Path, at: usize) -> PathBuf {
    folder.join(format!("cluster/node-{}", at + 1))
}

fn node_folders(folder: &Path, options: &Options) -> Vec<PathBuf> {
    (0..options.nodes).map(|at| node_folder(folder, at)).collect()
}

/// Starts a demo and stops it as soon as it has made its files, the cluster file last.
fn make(sago: &Path, folder: &Path, port: u16, options: &Options) -> anyhow::Result<()> {
    let mut command = demo_command(sago, folder, port, options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(super::log(folder, "make")?);
    let mut demo = command.spawn().with_context(|| format!("cannot start {}", sago.display()))?;
    let made = folder.join("cluster/cluster.toml");
    let waited = until("sago demo makes its files", MADE_MAX, || made.exists() || !process::runs(demo.id()));
    process::send(demo.id(), Signal::TERM);
    demo.wait()?;
    waited?;
    ensure!(made.exists(), "sago demo made no cluster: {}", super::last_words(folder));
    Ok(())
}

/// Moves a node to a free port; the relay takes the one that everybody knows.
fn behind_relay(node: &Path) -> anyhow::Result<Relayed> {
    let file = node.join("node.toml");
    let text = fs::read_to_string(&file)?;
    let start = text.find(LISTEN).context("node.toml tells no address")? + LISTEN.len();
    let end = start + text[start..].find('"').context("node.toml tells no address")?;
    let public: SocketAddr = text[start..end].parse()?;
    // Free a moment ago, and held by nobody in between: nothing else asks for ports by number.
    let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    fs::write(&file, format!("{}{own}{}", &text[..start], &text[end..]))?;
    Ok(Relayed { public, own })
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
