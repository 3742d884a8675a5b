//! `sago cluster init`: the files of a new cluster.
//!
//! ```text
//! DIR/cluster.toml                          the same on every node
//! DIR/ca.pem, ca.key.pem                    the authority; keep the key away from the machines
//! DIR/node-N/{ca,cert,key}.pem, node.toml   goes to machine N
//! DIR/node-N/first-start                    the node may make its data directories; it removes this once it has
//! DIR/client/{ca,cert,key}.pem, client.toml goes to gateways, mounts and tools
//! DIR/operator/...                          the same for the people who run the cluster: may purge trash, stays with them
//! ```
//! Without `first-start` a node never makes a data directory: a disk that is not mounted must not look like a new one.

use crate::cli::{InitArgs, NodeSpec};
use crate::config::{
    ClientFile, ClientLimits, ClusterFile, ConfigError, GarbageSection, GatewaySection, MemorySection, MountSection,
    NodeAddress, NodeFile, RaftSection, StoreSection, save_private,
};
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use placement::{InitialPlan, PlacementError, PlannedNode};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use transport::{ClusterCa, Credentials, Role};
use types::{ClusterId, DiskId, NodeEntry, NodeId, REPLICAS};

/// The file that allows a node to make its data directories.
pub const FIRST_START: &str = "first-start";
/// The name in the certificate of clients made here.
const CLIENT_NAME: &str = "client";
/// The name in the certificate of operators made here.
const OPERATOR_NAME: &str = "operator";
/// Its folder.
pub const OPERATOR_FOLDER: &str = "operator";
const ADMIN_PORT: u16 = 7401;

/// A cluster to make.
pub struct NewCluster {
    /// Its nodes.
    pub nodes: Vec<NewNode>,
    /// Disks of each.
    pub disks: u16,
    /// Metadata groups.
    pub meta_groups: u32,
    /// How its nodes keep chunks.
    pub store: StoreSection,
    /// How its gateways run.
    pub gateway: GatewaySection,
}

/// A node of it.
pub struct NewNode {
    /// Its id.
    pub id: u64,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain.
    pub domain: String,
    /// Where it listens, if not at all addresses.
    pub listen: Option<SocketAddr>,
    /// Where it serves its admin pages.
    pub admin: SocketAddr,
}

impl From<NodeSpec> for NewNode {
    fn from(spec: NodeSpec) -> Self {
        let admin = spec.admin.unwrap_or(SocketAddr::from(([127, 0, 0, 1], ADMIN_PORT)));
        let domain = spec.zone.unwrap_or_else(|| format!("node-{}", spec.id));
        NewNode { id: spec.id, addr: spec.addr, domain, listen: None, admin }
    }
}

/// Carries out `sago cluster init`.
///
/// # Errors
/// [`Failure`].
pub fn init(args: InitArgs, output: Output) -> Done {
    if std::fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(Kind::Usage, format!("{} is not empty", args.dir.display())));
    }
    let new = NewCluster {
        nodes: nodes(&args).into_iter().map(NewNode::from).collect(),
        disks: args.disks,
        meta_groups: args.meta_groups,
        store: StoreSection::default(),
        gateway: GatewaySection::default(),
    };
    let cluster = make(&args.dir, &new)?;
    let nodes: Vec<_> = new
        .nodes
        .iter()
        .map(|node| json!({ "id": node.id, "addr": node.addr, "config": node_folder(&args.dir, node.id).join("node.toml") }))
        .collect();
    let client = args.dir.join("client");
    let made = json!({ "cluster": cluster.cluster.to_string(), "dir": args.dir, "nodes": nodes, "client": client });
    output.show(&made, |_| next_steps(&args.dir, &new, &cluster))
}

/// The nodes that are asked for, those of machines numbered from 1.
fn nodes(args: &InitArgs) -> Vec<NodeSpec> {
    let mut nodes = args.nodes.clone();
    for machine in &args.machines {
        nodes.extend(machine.nodes(nodes.len() as u64 + 1));
    }
    nodes
}

/// What to say of nodes that no map can be made of.
fn refused(error: PlacementError) -> Failure {
    let hint = match error {
        PlacementError::TooFewDomains { .. } => {
            "; fewer machines need three disks with a node on each: --machine NAME=HOST:PORT,disks=3. One copy, or two, are not offered"
        }
        PlacementError::NodeId(_)
        | PlacementError::Disks { .. }
        | PlacementError::DiskTwice(_)
        | PlacementError::Plan(_) => "",
    };
    Failure::new(Kind::Usage, format!("{error}{hint}"))
}

/// Makes all files of a cluster in `dir`; `cluster.toml` comes last, so that its presence says that the others are there.
///
/// # Errors
/// [`Failure`]: impossible nodes, or files that cannot be written.
pub fn make(dir: &Path, new: &NewCluster) -> Done<ClusterFile> {
    let planned: Vec<_> = new.nodes.iter().map(|node| planned(node, new.disks)).collect();
    let plan = InitialPlan { meta_groups: new.meta_groups, ..InitialPlan::default() };
    let map = placement::initial(&planned, &plan).map_err(refused)?;
    let cluster = ClusterFile { cluster: ClusterId(rand::random()), map, joined: false };
    let ca = ClusterCa::create(cluster.cluster).map_err(Failure::failed)?;
    std::fs::create_dir_all(dir)?;
    ca.save(dir).map_err(Failure::failed)?;
    for node in &new.nodes {
        let folder = node_folder(dir, node.id);
        save(&ca, Role::Node(NodeId(node.id)), &folder)?;
        save_toml(&folder.join("node.toml"), NODE_HEAD, &node_file(node, new))?;
        save_private(&folder.join(FIRST_START), "")?;
    }
    for role in [Role::Client(CLIENT_NAME.to_owned()), Role::Operator(OPERATOR_NAME.to_owned())] {
        let folder = dir.join(if matches!(role, Role::Operator(_)) { OPERATOR_FOLDER } else { "client" });
        save(&ca, role, &folder)?;
        save_toml(&folder.join("client.toml"), CLIENT_HEAD, &client_file(new))?;
    }
    save_private(&dir.join("cluster.toml"), &cluster.encode())?;
    Ok(cluster)
}

/// The folder of a node.
#[must_use]
pub fn node_folder(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("node-{id}"))
}

fn planned(node: &NewNode, disks: u16) -> PlannedNode {
    PlannedNode {
        id: NodeId(node.id),
        addr: node.addr.clone(),
        domain: node.domain.clone(),
        disks: (0..disks).map(|_| DiskId(rand::random())).collect(),
    }
}

fn save(ca: &ClusterCa, role: Role, folder: &Path) -> Done {
    let credentials: Credentials = ca.issue(&role).map_err(Failure::failed)?;
    credentials.save(folder).map_err(Failure::failed)
}

pub(crate) const NODE_HEAD: &str =
    "# A node of a Sago cluster; docs/CONFIGURATION.md explains every key. Relative paths count from here.\n\n";
const CLIENT_HEAD: &str =
    "# The way to a Sago cluster; docs/CONFIGURATION.md explains every key. Relative paths count from here.\n\n";

pub(crate) fn save_toml(path: &Path, head: &str, value: &impl serde::Serialize) -> Done {
    let text = toml::to_string(value).map_err(|error| ConfigError::value(path.display(), error.to_string()))?;
    Ok(save_private(path, &format!("{head}{text}"))?)
}

fn node_file(node: &NewNode, new: &NewCluster) -> NodeFile {
    NodeFile {
        id: node.id,
        cluster: "../cluster.toml".into(),
        credentials: ".".into(),
        listen: node.listen,
        admin: node.admin,
        meta: "data/meta".into(),
        disks: (0..new.disks).map(|disk| format!("data/disk-{disk}").into()).collect(),
        added: Vec::new(),
        gone: Vec::new(),
        memory: MemorySection::default(),
        store: new.store.clone(),
        garbage: GarbageSection::default(),
        raft: RaftSection::default(),
    }
}

fn client_file(new: &NewCluster) -> ClientFile {
    ClientFile {
        credentials: ".".into(),
        node: new.nodes.iter().map(|node| NodeAddress { id: node.id, addr: node.addr.clone() }).collect(),
        limits: ClientLimits::default(),
        gateway: new.gateway.clone(),
        mount: MountSection::default(),
    }
}

fn next_steps(dir: &Path, new: &NewCluster, cluster: &ClusterFile) -> String {
    let dir = dir.display();
    let mut text = format!("Cluster {} is set up in {dir}. Next:\n\n", cluster.cluster);
    for node in &new.nodes {
        let host = node.addr.rsplit_once(':').map_or("", |(host, _)| host);
        text.push_str(&format!(
            "  {dir}/cluster.toml and {dir}/node-{0} to {host}; there: sago node --config node-{0}/node.toml\n",
            node.id
        ));
    }
    let machines: BTreeSet<&str> = cluster.map.nodes.iter().map(NodeEntry::host).collect();
    if machines.len() < REPLICAS {
        text.push_str(&format!(
            "\nData and metadata lie on three disks, but on {} machine(s): with a machine goes what is on it. Put each node's data folder on a disk\n\
             of its own (`disks` and `meta` in node.toml, or mount the disk there), and let two more machines join: sago node invite.\n\n",
            machines.len()
        ));
    }
    text.push_str(&format!("  {dir}/client to gateways, mounts and tools; there: export SAGO_CONFIG=client\n"));
    text.push_str(&format!("  {dir}/operator to those who may purge trash and lift breakers, and to nobody else\n"));
    text.push_str(
        "  sago cluster status\n\nKeep ca.key.pem away from these machines: whoever has it can join as anyone.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::os::unix::fs::PermissionsExt;

    fn args(dir: &Path, nodes: &[&str]) -> InitArgs {
        let nodes = nodes.iter().map(|node| node.parse().expect("a node")).collect();
        InitArgs { dir: dir.to_owned(), nodes, machines: Vec::new(), disks: 2, meta_groups: 4 }
    }

    #[test]
    fn one_machine_is_a_node_for_each_of_three_disks_and_fewer_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let on = |dir: &Path, machines: &[&str]| {
            let machines = machines.iter().map(|machine| machine.parse().expect("a machine")).collect();
            init(InitArgs { nodes: Vec::new(), machines, disks: 1, ..args(dir, &[]) }, OUTPUT)
        };
        let few = on(&folder.path().join("few"), &["a=10.0.0.1:7400,disks=2"]).expect_err("two disks");
        assert!(few.kind == Kind::Usage && few.message.contains("disks=3"), "{}", few.message);
        assert!(!folder.path().join("few").exists());
        let dir = folder.path().join("one");
        on(&dir, &["a=10.0.0.1:7400,disks=3"]).expect("made");
        let map = ClusterFile::load(&dir.join("cluster.toml")).expect("a cluster file").map;
        let domains: Vec<_> = map.nodes.iter().map(|node| node.domain.as_str()).collect();
        assert_eq!(domains, ["a/disk-0", "a/disk-1", "a/disk-2"]);
        assert!(map.raft_groups.iter().all(|group| group.voters.len() == 3));
        for id in 1..=3 {
            let node: NodeFile = load(&node_folder(&dir, id).join("node.toml")).expect("a node file");
            assert_eq!(node.admin.port(), 7399 + 2 * id as u16);
            assert_eq!(node.disks.len(), 1);
        }
        let dir = folder.path().join("two");
        on(&dir, &["a=10.0.0.1:7400,disks=2", "b=10.0.0.2:7400,disks=1"]).expect("made");
        let map = ClusterFile::load(&dir.join("cluster.toml")).expect("a cluster file").map;
        let spread = |group: &types::PlacementGroup| map.spread(group.members.iter().copied());
        assert!(map.groups.iter().all(|group| spread(group) == (3, 2)));
    }

    const OUTPUT: Output = Output { json: true };

    #[test]
    fn all_files_are_made_private_and_readable_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("site");
        init(args(&dir, &["1=a:7400,zone=x", "2=b:7400,zone=y,admin=0.0.0.0:81", "3=c:7400"]), OUTPUT).expect("made");
        let cluster = ClusterFile::load(&dir.join("cluster.toml")).expect("a cluster file");
        assert_eq!(cluster.map.nodes.iter().map(|node| node.domain.as_str()).collect::<Vec<_>>(), ["x", "y", "node-3"]);
        for id in 1..=3 {
            let folder = node_folder(&dir, id);
            let node: NodeFile = load(&folder.join("node.toml")).expect("a node file");
            assert_eq!((node.id, node.disks.len()), (id, 2));
            let identity =
                Credentials::load(&folder).and_then(|credentials| credentials.identity()).expect("credentials");
            assert_eq!(identity, (cluster.cluster, Role::Node(NodeId(id))));
            assert!(folder.join(FIRST_START).exists());
        }
        let (client, path) = ClientFile::load(&dir.join("client")).expect("a client file");
        assert_eq!(client.nodes().len(), 3);
        assert!(client.credentials(&path).is_ok());
        let operator = Credentials::load(&dir.join("operator")).and_then(|credentials| credentials.identity());
        assert_eq!(operator.expect("credentials").1, Role::Operator("operator".into()));
        for file in ["ca.key.pem", "node-1/key.pem", "client/key.pem", "operator/key.pem", "cluster.toml"] {
            let mode = std::fs::metadata(dir.join(file)).expect(file).permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file}");
        }
    }

    #[test]
    fn a_folder_in_use_and_impossible_nodes_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let two = init(args(&folder.path().join("a"), &["1=a:1", "2=b:1"]), OUTPUT).expect_err("two nodes");
        assert_eq!(two.kind, Kind::Usage);
        assert!(!folder.path().join("a").exists());
        let twice =
            init(args(&folder.path().join("a"), &["1=a:1", "1=b:1", "2=c:1"]), OUTPUT).expect_err("one id twice");
        assert_eq!(twice.kind, Kind::Usage);
        std::fs::write(folder.path().join("file"), "").expect("a file");
        let used = init(args(folder.path(), &["1=a:1", "2=b:1", "3=c:1"]), OUTPUT).expect_err("a folder in use");
        assert_eq!(used.kind, Kind::Usage);
    }
}
