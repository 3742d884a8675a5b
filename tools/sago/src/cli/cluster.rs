//! `sago cluster`.

use super::ClientArgs;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Set up a cluster, or see how it is.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make the files of a new cluster: its authority, and a folder for each node and for clients.
    Init(InitArgs),
    /// Show nodes, Raft groups and disks.
    Status(StatusArgs),
    /// Go to the feature level that all nodes can do, after the last was upgraded; there is no way back.
    Finalize(StatusArgs),
    /// Show or change how what was deleted for good is collected.
    Garbage(GarbageArgs),
}

/// How garbage is to be collected; without a change it is shown.
#[derive(Debug, Args)]
pub struct GarbageArgs {
    /// Collect garbage.
    #[arg(long, conflicts_with = "off")]
    pub on: bool,
    /// Collect none: nothing is deleted from the disks any more. A cluster whose metadata were restored starts so.
    #[arg(long)]
    pub off: bool,
    /// Seconds that readers may go on reading what was deleted: 0 to a year. At first a day.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=31_536_000))]
    pub grace: Option<u32>,
    /// Let nodes delete the orphans they hold back because they are too many. Look where they come from first.
    #[arg(long)]
    pub lift: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

const INIT_EXAMPLES: &str = "\
Example:
  sago cluster init --dir site --disks 2 \\
    --node 1=10.0.0.1:7400,zone=a --node 2=10.0.0.2:7400,zone=b --node 3=10.0.0.3:7400,zone=c

One machine with three disks, a node on each; more machines may join later (sago node invite), and copies and votes spread over them:
  sago cluster init --dir site --machine a=10.0.0.1:7400,disks=3

Then copy site/cluster.toml and site/node-N to machine N, and site/client to where gateways, mounts and tools run.
Keep ca.key.pem away from all of them: whoever has it can join as anyone.";

/// What a new cluster is made of.
#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub struct InitArgs {
    /// Folder to make; it must be empty or missing.
    #[arg(long)]
    pub dir: PathBuf,
    /// A node: ID=HOST:PORT, then optionally ,zone=ZONE and ,admin=ADDR:PORT. Copies lie in different zones; without one a node is its own.
    #[arg(long = "node", required_unless_present = "machines", value_name = "NODE")]
    pub nodes: Vec<NodeSpec>,
    /// A machine with a node of its own for each disk, for clusters of fewer than three machines: NAME=HOST:PORT, then ,disks=N and optionally
    /// ,admin=ADDR:PORT. Its nodes listen at PORT, PORT+2 and so on, and serve their admin pages at the next ports; without admin at 127.0.0.1.
    /// Copies and votes lie on different disks, and on different machines as far as there are.
    #[arg(long = "machine", conflicts_with_all = ["nodes", "disks"], value_name = "MACHINE")]
    pub machines: Vec<MachineSpec>,
    /// Disks of each node: data directories data/disk-0, data/disk-1, ... in the node's folder. Change the paths in node.toml.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub disks: u16,
    /// Metadata groups; more spread the load of many buckets over more leaders.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub meta_groups: u32,
}

/// Whom to ask.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A node as given by `--node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its id.
    pub id: u64,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain.
    pub zone: Option<String>,
    /// Where it serves its admin pages.
    pub admin: Option<SocketAddr>,
}

/// A machine as given by `--machine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSpec {
    /// Its name: the zone of its nodes.
    pub name: String,
    /// Its host name or address.
    pub host: String,
    /// The port of its first node.
    pub port: u16,
    /// How many nodes, each with a disk.
    pub disks: u16,
    /// Where its first node serves its admin pages.
    pub admin: Option<SocketAddr>,
}

impl MachineSpec {
    /// Nodes of one machine.
    const DISKS_MAX: u16 = 64;

    /// Its nodes, with ids from `first` on.
    #[must_use]
    pub fn nodes(&self, first: u64) -> Vec<NodeSpec> {
        let node = |at: u16| {
            let base = self.admin.unwrap_or(SocketAddr::from(([127, 0, 0, 1], self.port + 1)));
            NodeSpec {
                id: first + u64::from(at),
                addr: format!("{}:{}", self.host, self.port + 2 * at),
                zone: Some(format!("{}/disk-{at}", self.name)),
                admin: Some(SocketAddr::new(base.ip(), base.port() + 2 * at)),
            }
        };
        (0..self.disks).map(node).collect()
    }
}

impl FromStr for MachineSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, addr) = first.split_once('=').ok_or("a machine is NAME=HOST:PORT")?;
        if name.is_empty() || name.contains('/') {
            return Err("a machine's name is not empty and has no /".to_owned());
        }
        let (host, port) = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).unwrap_or_default();
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(format!("{addr:?} is not HOST:PORT"))?;
        let mut machine = MachineSpec { name: name.to_owned(), host: host.to_owned(), port, disks: 0, admin: None };
        for part in parts {
            match part.split_once('=') {
                Some(("disks", disks)) => machine.disks = disks.parse().map_err(|_| format!("{disks:?} disks"))?,
                Some(("admin", admin)) => {
                    machine.admin = Some(admin.parse().map_err(|_| format!("{admin:?} is not ADDRESS:PORT"))?);
                }
                _ => return Err(format!("{part:?} is neither disks=N nor admin=ADDRESS:PORT")),
            }
        }
        if !(1..=Self::DISKS_MAX).contains(&machine.disks) {
            return Err(format!("a machine has disks=1 to disks={}", Self::DISKS_MAX));
        }
        let last = machine.admin.map_or(port, |admin| admin.port().max(port));
        if u32::from(last) + 2 * u32::from(machine.disks) > u32::from(u16::MAX) {
            return Err(format!("there are not enough ports behind {last}"));
        }
        Ok(machine)
    }
}

impl FromStr for NodeSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (id, addr) = first.split_once('=').ok_or("a node is ID=HOST:PORT")?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or("a node's id is a number from 1")?;
        let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(format!("{addr:?} is not HOST:PORT"));
        }
        let mut node = NodeSpec { id, addr: addr.to_owned(), zone: None, admin: None };
        for part in parts {
            match part.split_once('=') {
                Some(("zone", zone)) if !zone.is_empty() => node.zone = Some(zone.to_owned()),
                Some(("admin", admin)) => {
                    node.admin = Some(admin.parse().map_err(|_| format!("{admin:?} is not ADDRESS:PORT"))?);
                }
                _ => return Err(format!("{part:?} is neither zone=ZONE nor admin=ADDRESS:PORT")),
            }
        }
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read_and_have_a_node_for_each_disk() {
        let machine: MachineSpec = "a=[::1]:7400,disks=3".parse().expect("a machine");
        let nodes = machine.nodes(4);
        let found: Vec<_> = nodes.iter().map(|node| (node.id, node.addr.as_str(), node.zone.as_deref())).collect();
        let wanted = [
            (4, "[::1]:7400", Some("a/disk-0")),
            (5, "[::1]:7402", Some("a/disk-1")),
            (6, "[::1]:7404", Some("a/disk-2")),
        ];
        assert_eq!(found, wanted);
        assert_eq!(nodes[2].admin, "127.0.0.1:7405".parse().ok());
        let told: MachineSpec = "a=h:7400,admin=0.0.0.0:8000,disks=2".parse().expect("a machine");
        assert_eq!(told.nodes(1)[1].admin, "0.0.0.0:8002".parse().ok());
        for text in [
            "",
            "a",
            "=h:1,disks=3",
            "a/b=h:1,disks=3",
            "a=h,disks=3",
            "a=h:1",
            "a=h:1,disks=0",
            "a=h:1,disks=65",
            "a=h:65530,disks=3",
            "a=h:1,disks=3,admin=1.1.1.1:65533",
            "a=h:1,disks=3,zone=x",
        ] {
            assert!(text.parse::<MachineSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn nodes_are_read() {
        let node = |zone: Option<&str>, admin: Option<&str>| NodeSpec {
            id: 1,
            addr: "host:7400".to_owned(),
            zone: zone.map(str::to_owned),
            admin: admin.map(|admin| admin.parse().expect("an address")),
        };
        assert_eq!("1=host:7400".parse(), Ok(node(None, None)));
        assert_eq!("1=host:7400,zone=a".parse(), Ok(node(Some("a"), None)));
        let full = "1=host:7400,admin=127.0.0.1:7401,zone=a".parse();
        assert_eq!(full, Ok(node(Some("a"), Some("127.0.0.1:7401"))));
        for text in
            ["", "host:1", "0=host:1", "1=host", "1=:1", "1=host:0", "1=h:1,zone=", "1=h:1,rack=a", "1=h:1,admin=x"]
        {
            assert!(text.parse::<NodeSpec>().is_err(), "{text}");
        }
    }
}
