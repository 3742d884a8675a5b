//! `sago node`.

use super::{shutdown, stop_with_parent};
use crate::cli::NodeArgs;
use crate::cluster::FIRST_START;
use crate::config::{ClusterFile, ConfigError, NodeFile, Size, beside, load, load_credentials};
use crate::exit::{Done, Failure, Kind};
use node_server::{GarbageConfig, MemoryConfig, NodeConfig, NodeServer, RaftConfig, StartError, StoreConfig};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use types::{FeatureLevel, NodeId, PlacementMap};

/// What is said of a node that comes back after it was removed.
const REMOVED: &str = "was removed from the cluster, for ever: no other node listens to it. Its folder may be deleted; to use the machine \
     again, invite it under a new number (sago node invite)";

/// What is said where a node ends so that whoever keeps it running starts it again.
const ROOM_AGAIN: &str = "had no room and has some again: a start takes it back";

/// Carries out `sago node`: serves until told to stop.
///
/// # Errors
/// [`Failure`]: wrong configuration, or the node does not start.
pub async fn node(args: NodeArgs) -> Done {
    stop_with_parent(args.with_parent)?;
    let stop = shutdown()?;
    let path = args.config.clone().ok_or_else(|| ConfigError::value("--config", "say which node: its node.toml"))?;
    let file: NodeFile = load(&path)?;
    let mut cluster = ClusterFile::load(&beside(&path, &file.cluster))?;
    file.add_to(&mut cluster.map)?;
    let config = resolve(&args, &path, &file, cluster)?;
    let node = NodeServer::start(config).await.map_err(failure)?;
    allow_no_new_folders(&path)?;
    let id = node.node();
    let ended = tokio::select! {
        () = stop => Ok(()),
        () = node.removed() => Err(Failure::new(Kind::Failed, format!("{id} {REMOVED}"))),
        disk = node.room_again() => Err(Failure::new(Kind::Failed, format!("{id} ends because of {disk}, which {ROOM_AGAIN}"))),
    };
    node.stop().await;
    ended
}

/// From now on a folder that is empty is one that is not mounted.
fn allow_no_new_folders(config: &Path) -> Done {
    match std::fs::remove_file(beside(config, FIRST_START.as_ref())) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::from(error).while_doing(format!("removing {FIRST_START}")))
        }
        _ => Ok(()),
    }
}

fn failure(error: StartError) -> Failure {
    let kind = match &error {
        StartError::Config(_) | StartError::Credentials(_) => Kind::Usage,
        StartError::MetaMissing(_)
        | StartError::ImportUnfinished(_)
        | StartError::MetaThere(_)
        | StartError::TooOld { .. }
        | StartError::Meta { .. }
        | StartError::Locked(_)
        | StartError::Bind { .. }
        | StartError::Admin { .. }
        | StartError::Chunks(_)
        | StartError::Metadata(_) => Kind::Failed,
    };
    Failure::new(kind, format!("{:#}", anyhow::Error::from(error)))
}

/// Flags and variables over the file over the defaults.
fn resolve(args: &NodeArgs, path: &Path, file: &NodeFile, cluster: ClusterFile) -> Result<NodeConfig, ConfigError> {
    let node = NodeId(file.id);
    let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    let listen = match args.listen.or(file.listen) {
        Some(listen) => listen,
        None => everywhere(node, &cluster, path)?,
    };
    let memory = &file.memory;
    let level = args.feature_level.map_or(FeatureLevel::NEWEST, FeatureLevel);
    let config = NodeConfig {
        node,
        credentials: load_credentials(&beside(path, &file.credentials))?,
        listen,
        admin: args.admin.unwrap_or(file.admin),
        meta: beside(path, &file.meta),
        disks: file.disks.iter().map(|disk| beside(path, disk)).collect(),
        gone: file.gone.clone(),
        create: beside(path, FIRST_START.as_ref()).exists(),
        memory: MemoryConfig {
            state_cache_bytes: bytes(args.state_cache.unwrap_or(memory.state_cache)),
            index_cache_bytes: bytes(args.index_cache.unwrap_or(memory.index_cache)),
            network_bytes: bytes(args.network.unwrap_or(memory.network)),
            read_bytes: bytes(memory.read),
            disk_queue_bytes: bytes(args.disk_queue.unwrap_or(memory.disk_queue)),
        },
        store: StoreConfig {
            segment_bytes: file.store.segment.0,
            reserve_bytes: file.store.reserve.0,
            direct_io: file.store.direct_io,
            compact_percent: file.store.compact_percent,
            compact_rate_bytes: file.store.compact_rate.0,
            scrub_days: file.store.scrub_days,
            audit: Duration::from_hours(24 * file.store.audit_days.min(1000)),
            nearfull_percent: file.store.nearfull_percent,
            backfillfull_percent: file.store.backfillfull_percent,
            full_percent: file.store.full_percent,
        },
        garbage: GarbageConfig {
            session_lease: Duration::from_millis(file.garbage.session_lease),
            round: Duration::from_millis(file.garbage.round),
            sweep: Duration::from_millis(file.garbage.sweep),
        },
        raft: RaftConfig {
            log_entries: file.raft.log_entries,
            log_bytes: file.raft.log_bytes.0,
            lease_reads: file.raft.lease_reads,
        },
        // A cluster that begins is at the level of the program that begins it.
        map: PlacementMap { level: cluster.map.level.min(level), ..cluster.map },
        level,
    };
    config.validate().map_err(|error| ConfigError::value(path.display(), error.to_string()))?;
    Ok(config)
}

/// All addresses of the machine, with the port under which the others know the node.
fn everywhere(node: NodeId, cluster: &ClusterFile, path: &Path) -> Result<SocketAddr, ConfigError> {
    let entry = cluster.map.node(node);
    let port = entry.and_then(|entry| entry.addr.rsplit_once(':')).and_then(|(_, port)| port.parse().ok());
    let port: u16 =
        port.ok_or_else(|| ConfigError::value(path.display(), format!("{node} is not in the cluster file")))?;
    Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, InitArgs};
    use crate::cluster::{init, node_folder};
    use crate::output::Output;
    use clap::Parser;

    fn site(dir: &Path) {
        let nodes = ["1=a:7400", "2=b:7400", "3=c:7400"].map(|node| node.parse().expect("a node")).to_vec();
        let args = InitArgs { dir: dir.to_owned(), nodes, machines: Vec::new(), disks: 1, meta_groups: 4 };
        init(args, Output { json: true }).expect("a cluster");
    }

    fn resolved(dir: &Path, flags: &[&str]) -> Result<NodeConfig, ConfigError> {
        let config = node_folder(dir, 2).join("node.toml");
        let line =
            ["sago", "node", "--config", config.to_str().expect("text")].into_iter().chain(flags.iter().copied());
        let Command::Node(args) = Cli::parse_from(line).command else { panic!("not a node") };
        resolve(&args, &config, &load(&config)?, ClusterFile::load(&dir.join("cluster.toml"))?)
    }

    #[test]
    fn a_node_of_a_new_cluster_is_ready_to_start() {
        let folder = tempfile::tempdir().expect("a folder");
        site(folder.path());
        let config = resolved(folder.path(), &[]).expect("settings");
        assert_eq!((config.node, config.listen.port(), config.create), (NodeId(2), 7400, true));
        assert!(config.meta.ends_with("node-2/data/meta"));
        assert_eq!(config.memory, MemoryConfig::default());
        assert_eq!(config.store, StoreConfig::default());
        assert_eq!(config.garbage, GarbageConfig::default());
        assert_eq!(config.raft, RaftConfig::default());
        let config = resolved(folder.path(), &["--state-cache", "1GiB", "--admin", "0.0.0.0:80"]).expect("flags");
        assert_eq!((config.memory.state_cache_bytes, config.admin.port()), (1 << 30, 80));
        assert!(resolved(folder.path(), &["--network", "1KiB"]).is_err());
        let old = resolved(folder.path(), &["--feature-level", "2"]).expect("a level");
        assert_eq!((old.level, old.map.level), (FeatureLevel::RESTS, FeatureLevel::RESTS));
        assert_eq!((config.level, config.map.level), (FeatureLevel::NEWEST, FeatureLevel::NEWEST));
        std::fs::remove_file(node_folder(folder.path(), 2).join(FIRST_START)).expect("started once");
        assert!(!resolved(folder.path(), &[]).expect("settings").create);
    }

    #[test]
    fn an_exposed_key_and_a_node_of_another_cluster_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        site(folder.path());
        let key = node_folder(folder.path(), 2).join("key.pem");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(resolved(folder.path(), &[]).is_err_and(|error| error.to_string().contains("0600")));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        let file = node_folder(folder.path(), 2).join("node.toml");
        let text = std::fs::read_to_string(&file).expect("the file").replace("id = 2", "id = 7");
        std::fs::write(&file, text).expect("changed");
        assert!(resolved(folder.path(), &[]).is_err());
    }
}
