//! The new machine's side of a join: a key of its own, a request, and the files of a node.

use super::invite::now;
use super::progress;
use crate::cli::JoinArgs;
use crate::cluster::{FIRST_START, NODE_HEAD, save_toml};
use crate::config::{
    ClusterFile, GarbageSection, MemorySection, NodeFile, RaftSection, StoreSection, TokenFile, save_private,
};
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use bytes::Bytes;
use proto::join::{JoinAnswer, JoinError};
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;
use transport::{Class, Endpoint, NodeKey, Role, TransportConfig, join_proof};
use types::{ClusterId, FeatureLevel, NodeId, PlacementMap};

/// How long one node is waited for.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Pause between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(500);

/// What a joiner is given.
struct Admitted {
    cluster: ClusterId,
    cert: String,
    map: PlacementMap,
}

/// Carries out `sago node join`.
///
/// # Errors
/// [`Failure`]: the token is used or over, or nobody lets the node in before it is.
pub async fn join(args: JoinArgs, output: Output) -> Done {
    let token = TokenFile::load(&args.token)?;
    let config = args.dir.join("node.toml");
    if config.exists() {
        return Err(Failure::new(Kind::Usage, format!("{} is a node already", args.dir.display())));
    }
    std::fs::create_dir_all(&args.dir)?;
    let (key, request) = NodeKey::in_folder(&args.dir).map_err(Failure::failed)?;
    progress(output, &format!("asking to be let in as node {}", token.node));
    let Admitted { cluster, cert, map } = knock(&token, &request).await?;
    let credentials = key.credentials(token.credentials().ca, cert);
    if credentials.identity().map_err(Failure::failed)? != (cluster, Role::Node(NodeId(token.node))) {
        return Err(Failure::new(Kind::Failed, "the certificate that was given is another's"));
    }
    if map.level > FeatureLevel::NEWEST {
        let message =
            format!("the cluster is at level {}, this program does {} at most", map.level, FeatureLevel::NEWEST);
        return Err(Failure::new(Kind::Failed, message));
    }
    credentials.save(&args.dir).map_err(Failure::failed)?;
    write(&args, token.node, cluster, map)?;
    let joined = json!({ "node": token.node, "config": config });
    output.show(&joined, |_| format!("node {} may be started: sago node --config {}", token.node, config.display()))
}

/// Asks the nodes in turn until one says yes for good or no for good.
async fn knock(token: &TokenFile, request: &[u8]) -> Done<Admitted> {
    let proof = join_proof(token.secret(), request);
    let endpoint = Endpoint::client(&token.credentials(), TransportConfig::default()).map_err(Failure::failed)?;
    let asked = ask(&endpoint, token, request, proof).await;
    let cluster = endpoint.cluster();
    endpoint.close().await;
    asked.map(|(cert, map)| Admitted { cluster, cert, map })
}

async fn ask(endpoint: &Endpoint, token: &TokenFile, request: &[u8], proof: [u8; 32]) -> Done<(String, PlacementMap)> {
    let call = Request::Node(NodeRequest::Join { request: request.to_vec(), proof });
    while now() < token.expires {
        for node in &token.peer {
            let peer = endpoint.peer(NodeId(node.id), &node.addr);
            match peer.call(Class::Small, &call, Bytes::new(), ASK_MAX).await {
                Ok((Reply::Node(NodeReply::Join(Ok(JoinAnswer::Admitted { cert, map, .. }))), _)) => {
                    return Ok((cert, *map));
                }
                Ok((Reply::Node(NodeReply::Join(Err(error @ (JoinError::Void | JoinError::Used)))), _)) => {
                    return Err(Failure::new(Kind::Failed, error));
                }
                // Not yet, or not this one.
                Ok(_) | Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }
    Err(Failure::new(Kind::Unavailable, "the token's time is over and nobody has let the node in"))
}

/// The files of the node, as `sago cluster init` would have made them; `node.toml` comes last.
fn write(args: &JoinArgs, node: u64, cluster: ClusterId, mut map: PlacementMap) -> Done {
    let disks = map.node(NodeId(node)).map_or(0, |entry| entry.disks.len());
    if disks == 0 {
        return Err(Failure::new(Kind::Failed, "the map that was given does not know the node"));
    }
    for group in &mut map.raft_groups {
        // What changes at the moment is not what anything begins with.
        group.voters.clone_from(&group.wanted);
    }
    let file = ClusterFile { cluster, map, joined: true };
    save_private(&args.dir.join("cluster.toml"), &file.encode())?;
    save_private(&args.dir.join(FIRST_START), "")?;
    save_toml(&args.dir.join("node.toml"), NODE_HEAD, &node_file(args, node, disks))
}

fn node_file(args: &JoinArgs, id: u64, disks: usize) -> NodeFile {
    NodeFile {
        id,
        cluster: Path::new("cluster.toml").to_owned(),
        credentials: ".".into(),
        listen: None,
        admin: args.admin,
        meta: "data/meta".into(),
        disks: (0..disks).map(|disk| format!("data/disk-{disk}").into()).collect(),
        added: Vec::new(),
        gone: Vec::new(),
        memory: MemorySection::default(),
        store: StoreSection::default(),
        garbage: GarbageSection::default(),
        raft: RaftSection::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use types::{DiskId, GroupId, GroupPlacement, Member, NodeEntry, PgEpoch, PgId, PlacementGroup};

    #[test]
    fn the_files_of_a_node_that_joined_are_those_of_a_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let node = |id: u8| {
            let disks = [DiskId([id; 16]), DiskId([id + 100; 16])];
            NodeEntry::new(NodeId(u64::from(id)), format!("n{id}:7400"), format!("d{id}"), disks)
        };
        let mut group = GroupPlacement::founding(GroupId::CONTROL, [1, 2, 3].map(NodeId).into());
        group.voters = [1, 2, 3, 5].map(NodeId).into();
        let members = [1, 2, 3].map(|id| Member { node: NodeId(id), disk: 0 });
        let map = PlacementMap {
            nodes: (1..=5).map(node).collect(),
            groups: vec![PlacementGroup::settled(PgId(0), PgEpoch(1), members.into())],
            slots: vec![0],
            raft_groups: vec![group],
            ..PlacementMap::default()
        };
        let admin = "127.0.0.1:7409".parse().expect("an address");
        let args = JoinArgs { token: "token".into(), dir: folder.path().to_owned(), admin };
        write(&args, 4, ClusterId([1; 16]), map.clone()).expect("written");
        let file: NodeFile = load(&folder.path().join("node.toml")).expect("a node file");
        assert_eq!((file.id, file.disks.len(), file.admin), (4, 2, admin));
        let cluster = ClusterFile::load(&folder.path().join("cluster.toml")).expect("a cluster file");
        assert_eq!(cluster.map.voters(GroupId::CONTROL), [1, 2, 3].map(NodeId));
        assert!(cluster.joined && folder.path().join(FIRST_START).exists());
        assert!(write(&args, 9, ClusterId([1; 16]), map).is_err());
    }
}
