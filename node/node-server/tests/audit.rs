//! Three nodes on real disks: rows of one disk's index are gone, nobody reads what they named, and the copies come back all the same.

mod support;

use cluster_client::{Client, ClientConfig, Cluster};
use proto::meta::Command;
use rocksdb::{DB, Options};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use support::load::{GROUP, sample, whole};
use support::{Site, page};
use transport::Role;
use types::ChunkRef;

const NODES: [u64; 3] = [1, 2, 3];
const CHUNKS: u64 = 40;
/// The node that forgets.
const FORGETFUL: u64 = 2;
/// Every so many of its chunks it has never heard of.
const FORGOTTEN_EACH: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_gone_from_an_index_are_made_anew_though_nobody_reads_them() {
    let mut site = Site::new(3);
    site.audit = Duration::from_millis(200);
    let mut nodes = BTreeMap::new();
    for id in NODES {
        nodes.insert(id, site.start(id, true).await);
    }
    let endpoint = site.endpoint(&Role::Operator("test".to_owned()));
    let seeds = site.map.nodes.iter().map(|node| (node.id, node.addr.clone())).collect();
    let mut config = ClientConfig::new(endpoint.clone(), seeds, "test");
    config.deadline = Duration::from_secs(30);
    let client = Client::connect(config);
    client.ready().await.expect("the cluster answers");
    let mut chunks = BTreeMap::new();
    for number in 0..CHUNKS {
        let written = client.write_chunk(GROUP.into(), sample(number)).await.expect("written");
        let stage = Command::Stage { chunks: vec![(written.chunk, written.missing)] };
        client.command(GROUP, stage).await.expect("a leader").expect("staged");
        chunks.insert(number, written.chunk);
    }
    whole(&site, &endpoint, &NODES, &chunks).await;

    nodes.remove(&FORGETFUL).expect("it runs").stop().await;
    let forgotten: Vec<ChunkRef> = chunks.values().step_by(FORGOTTEN_EACH).copied().collect();
    forget(&site.path(FORGETFUL, "disk"), &forgotten);
    nodes.insert(FORGETFUL, site.start(FORGETFUL, false).await);
    whole(&site, &endpoint, &NODES, &chunks).await;
    // All nodes of this process count together.
    let made = async || {
        let (_, text) = page(nodes[&FORGETFUL].admin_addr(), "/metrics").await;
        let count = text.lines().find_map(|line| line.strip_prefix("sago_audit_made_total "));
        count.and_then(|count| count.parse().ok()).is_some_and(|count: usize| count >= forgotten.len())
    };
    support::until("they were made by the audit", made).await;
    for (_, node) in nodes {
        node.stop().await;
    }
}

/// Takes the rows of these chunks out of the index of a disk that nobody uses.
fn forget(disk: &Path, chunks: &[ChunkRef]) {
    let index = DB::open(&Options::default(), disk.join("index")).expect("the index opens");
    for chunk in chunks {
        let row = [&b"c"[..], &chunk.id.to_bytes()].concat();
        assert!(index.get(&row).expect("readable").is_some(), "the index has the chunk");
        index.delete(&row).expect("deleted");
    }
    index.flush().expect("flushed");
}
