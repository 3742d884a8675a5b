//! Three nodes on real disks behind real connections: what nobody needs leaves the disks, what somebody may need stays.

use bytes::Bytes;
use cluster_client::{Client, ClientConfig, Cluster};
use node_server::{GarbageConfig, MemoryConfig, NodeConfig, NodeServer, RaftConfig, StoreConfig};
use placement::{InitialPlan, PlannedNode};
use proto::control::{ControlAnswer, ControlCommand, ControlOutcome, ControlQuery};
use proto::meta::{Answer, BadChunk, Command, Outcome, Query, Refusal};
use proto::object::{ETag, FileKind, NewContent, NewExtent, Precondition};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use transport::{ClusterCa, Endpoint, Role, TransportConfig};
use types::{BucketId, ClusterId, DiskId, FeatureLevel, GroupId, Ino, NodeId, SessionId, UploadId};

/// Far more than anything here takes, also on a busy machine.
const BOUND: Duration = Duration::from_secs(120);
/// Long enough for a client that renews its session often to keep it on a busy machine.
const LEASE: Duration = Duration::from_secs(8);
const CHUNK_BYTES: usize = 9_000;

struct Site {
    nodes: Vec<NodeServer>,
    ca: ClusterCa,
    addrs: Vec<(NodeId, String)>,
    bucket: BucketId,
    group: GroupId,
    /// Chunks that were on each node before the test wrote any; they go once garbage is collected.
    before: Vec<u64>,
    _folder: TempDir,
}

impl Site {
    /// A cluster that collects garbage as fast as it can.
    async fn start() -> (Site, Arc<Client>) {
        let sockets: Vec<_> = (0..3).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
        let planned: Vec<_> = (1..=3u8)
            .zip(&sockets)
            .map(|(id, socket)| PlannedNode {
                id: NodeId(u64::from(id)),
                addr: socket.local_addr().expect("an address").to_string(),
                domain: id.to_string(),
                disks: vec![DiskId([id; 16])],
            })
            .collect();
        drop(sockets);
        let map = placement::initial(&planned, &InitialPlan::default()).expect("a map");
        let folder = tempfile::tempdir().expect("a folder");
        let ca = ClusterCa::create(ClusterId([1; 16])).expect("an authority");
        let config = |node: &PlannedNode| NodeConfig {
            node: node.id,
            credentials: ca.issue(&Role::Node(node.id)).expect("credentials"),
            listen: node.addr.parse().expect("an address"),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            meta: folder.path().join(format!("{}/meta", node.id)),
            gone: Vec::new(),
            disks: vec![folder.path().join(format!("{}/disk", node.id))],
            create: true,
            memory: MemoryConfig::default(),
            store: StoreConfig { segment_bytes: 8 << 20, reserve_bytes: 0, direct_io: false, ..StoreConfig::default() },
            garbage: GarbageConfig {
                session_lease: LEASE,
                round: Duration::from_millis(100),
                sweep: Duration::from_millis(500),
            },
            raft: RaftConfig::default(),
            level: FeatureLevel::NEWEST,
            map: map.clone(),
        };
        let starting = planned.iter().map(|node| NodeServer::start(config(node)));
        let nodes = futures::future::try_join_all(starting).await.expect("nodes");
        let addrs = planned.iter().map(|node| (node.id, node.addr.clone())).collect();
        let mut site =
            Site { nodes, ca, addrs, bucket: BucketId(0), group: GroupId(0), before: Vec::new(), _folder: folder };
        let client = site.client(Duration::from_millis(200));
        let made = until("a bucket", async || {
            let create = ControlCommand::CreateBucket {
                name: "books".into(),
                owner: "kim".into(),
                nonce: 1,
                rule: types::RuleId::DEFAULT,
            };
            match client.control(create).await {
                Ok(Ok(ControlOutcome::Bucket(bucket))) => Some(bucket),
                _ => None,
            }
        })
        .await;
        (site.bucket, site.group) = (made.id, made.group);
        client.command(site.group, Command::EnsureBucket { bucket: made.id }).await.expect("a leader").expect("made");
        garbage(&client, None, Some(0)).await;
        // A node that has no lease yet takes no chunks, and what is written elsewhere as well would have to be counted.
        let first = site.client(BOUND);
        until("all nodes take chunks", async || {
            let written = first.write_chunk(site.group.into(), data(255)).await.ok()?;
            (written.at(0).missing == 0).then_some(())
        })
        .await;
        site.before = site.chunks(&client).await;
        (site, client)
    }

    /// A client that renews its session so often.
    fn client(&self, renew: Duration) -> Arc<Client> {
        let credentials = self.ca.issue(&Role::Operator("test".to_owned())).expect("credentials");
        let endpoint = Endpoint::client(&credentials, TransportConfig::default()).expect("an endpoint");
        let mut config = ClientConfig::new(endpoint, self.addrs.clone(), "test");
        config.session_renew = renew;
        config.deadline = Duration::from_secs(30);
        // A slow member is waited for: what is written elsewhere as well would have to be counted.
        config.write_lag = BOUND;
        Client::connect(config)
    }

    /// Chunks on each node.
    async fn chunks(&self, client: &Client) -> Vec<u64> {
        let mut chunks = Vec::new();
        for node in &self.nodes {
            let status = client.node_status(node.node()).await.expect("a node that answers");
            chunks.push(status.disks.iter().map(|disk| disk.chunks).sum());
        }
        chunks
    }

    /// Waits until each node has just so many chunks.
    async fn come_to(&self, client: &Client, live: usize) {
        self.come_to_each(client, vec![live as u64; 3]).await;
    }

    async fn come_to_each(&self, client: &Client, wanted: Vec<u64>) {
        let mut seen = Vec::new();
        let begin = Instant::now();
        while seen != wanted {
            assert!(begin.elapsed() < BOUND, "{seen:?} chunks, not {wanted:?}");
            // wait-ok: a pause between two looks, bounded above
            sleep(Duration::from_millis(50)).await;
            seen = self.chunks(client).await;
        }
    }

    async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begin.elapsed() < BOUND, "{what}");
        // wait-ok: a pause between two looks, bounded above
        sleep(Duration::from_millis(50)).await;
    }
}

async fn garbage(client: &Client, on: Option<bool>, grace: Option<i64>) {
    let set = ControlCommand::SetGarbage { on, grace, lift: false };
    client.control(set).await.expect("a leader").expect("set");
}

fn data(number: usize) -> Bytes {
    Bytes::from(vec![number as u8; CHUNK_BYTES])
}

/// Writes chunks; their numbers are their content.
async fn write(client: &Client, group: GroupId, numbers: std::ops::Range<usize>) -> Vec<NewExtent> {
    let mut extents = Vec::new();
    for number in numbers {
        let written = client.write_chunk(group.into(), data(number)).await.expect("written");
        extents.push(written.at((extents.len() * CHUNK_BYTES) as u64));
    }
    extents
}

fn put(bucket: BucketId, key: &str, extents: Vec<NewExtent>) -> Command {
    Command::PutObject {
        bucket,
        key: Bytes::copy_from_slice(key.as_bytes()),
        content: NewContent::Chunks(extents),
        etag: ETag::Md5([1; 16]),
        xattrs: Vec::new(),
        precondition: Precondition::default(),
    }
}

async fn run(client: &Client, group: GroupId, command: Command) -> Outcome {
    client.command(group, command).await.expect("a leader").expect("taken")
}

/// The numbers that the chunks of a file hold.
async fn read(client: &Client, group: GroupId, ino: Ino) -> Vec<u8> {
    let answer = client.query(group, Query::Content { ino, offset: 0, len: u64::MAX }).await.expect("a leader");
    let Ok(Answer::Content(view)) = answer else { panic!("{answer:?}") };
    let mut numbers = Vec::new();
    for extent in view.extents {
        let range = extent.chunk_offset..extent.chunk_offset + extent.len;
        let bytes = client.read_chunk(extent.chunk, range).await.expect("intact");
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        numbers.push(bytes[0]);
    }
    numbers
}

async fn file(client: &Client, site: &Site, name: &str, extents: Vec<NewExtent>) -> Ino {
    let root = client.query(site.group, Query::BucketRoot { bucket: site.bucket }).await.expect("a leader");
    let Ok(Answer::Attr(root)) = root else { panic!("{root:?}") };
    let create = Command::Create {
        parent: root.ino,
        name: Bytes::copy_from_slice(name.as_bytes()),
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: NewContent::Chunks(extents),
        exclusive: true,
    };
    match run(client, site.group, create).await {
        Outcome::Created { attr, .. } => attr.ino,
        other => panic!("{other:?}"),
    }
}

async fn is_open(client: &Client, session: SessionId) -> bool {
    match client.control_query(ControlQuery::OpenSessions).await {
        Ok(ControlAnswer::OpenSessions { open, .. }) => open.contains(&session),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_for_good_leaves_the_disks_and_content_stays() {
    let (site, client) = Site::start().await;
    let (bucket, group) = (site.bucket, site.group);
    garbage(&client, Some(false), None).await;
    // Content that stays, one copied, one in parts.
    run(&client, group, put(bucket, "kept", write(&client, group, 0..6).await)).await;
    let long = file(&client, &site, "long", write(&client, group, 10..30).await).await;
    let copy = Command::CopyObject {
        source_bucket: bucket,
        source_key: "kept".into(),
        source_precondition: Precondition::default(),
        bucket,
        key: "copy".into(),
        xattrs: None,
        precondition: Precondition::default(),
    };
    run(&client, group, copy).await;
    let (done, aborted) = (UploadId([1; 16]), UploadId([2; 16]));
    let key = Bytes::from_static(b"parts");
    for upload in [done, aborted] {
        run(&client, group, Command::CreateUpload { bucket, key: key.clone(), upload, xattrs: Vec::new() }).await;
    }
    let part = |upload, part, extents| Command::PutPart {
        bucket,
        key: "parts".into(),
        upload,
        part,
        content: NewContent::Chunks(extents),
        md5: [part as u8; 16],
        xattrs: Vec::new(),
    };
    run(&client, group, part(done, 1, write(&client, group, 40..43).await)).await;
    run(&client, group, part(done, 2, write(&client, group, 50..53).await)).await;
    run(&client, group, part(aborted, 1, write(&client, group, 60..69).await)).await;
    // Chunks that go: of an aborted upload, overwritten, cut off.
    run(&client, group, Command::AbortUpload { bucket, key: key.clone(), upload: aborted }).await;
    let over = write(&client, group, 100..104).await;
    run(&client, group, Command::Write { ino: long, inline: None, extents: over, append: false }).await;
    let gone = file(&client, &site, "gone", write(&client, group, 110..120).await).await;
    let cut = Command::SetAttr { ino: gone, mode: None, uid: None, gid: None, size: Some(0), atime: None, mtime: None };
    run(&client, group, cut).await;
    let all = 6 + 20 + 3 + 3 + 9 + 4 + 10;
    let all_of_each: Vec<u64> = site.before.iter().map(|before| before + all as u64).collect();
    site.come_to_each(&client, all_of_each.clone()).await;
    // wait-ok: several rounds and looks for orphans, in which nothing may happen
    sleep(Duration::from_secs(2)).await;
    assert_eq!(site.chunks(&client).await, all_of_each, "it is off");

    garbage(&client, Some(true), None).await;
    let content = all - 9 - 4 - 10;
    site.come_to(&client, content).await;
    let complete = Command::CompleteUpload {
        bucket,
        key,
        upload: done,
        parts: vec![(1, [1; 16]), (2, [2; 16])],
        etag: ETag::Multipart([1; 16], 2),
        xattrs: Vec::new(),
        part_bytes_min: 0,
        precondition: Precondition::default(),
    };
    run(&client, group, complete).await;
    // wait-ok: several rounds and looks for orphans, in which nothing may happen
    sleep(Duration::from_secs(2)).await;
    assert_eq!(site.chunks(&client).await, [content as u64; 3]);
    let mut expected = BTreeMap::from([("kept", (0..6).collect::<Vec<u8>>()), ("copy", (0..6).collect())]);
    expected.insert("parts", (40..43).chain(50..53).collect());
    expected.insert("long", (100..104).chain(14..30).collect());
    for (key, numbers) in expected {
        let wanted = Query::Object { bucket, key: key.into(), content: None };
        let Ok(Ok(Answer::Object(view, _))) = client.query(group, wanted).await else { panic!("{key}") };
        assert_eq!(read(&client, group, view.attr.ino).await, numbers, "{key}");
    }
    client.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_left_behind_goes_when_its_session_is_over_and_its_late_commit_is_refused() {
    let (site, client) = Site::start().await;
    let (bucket, group) = (site.bucket, site.group);
    run(&client, group, put(bucket, "kept", write(&client, group, 0..6).await)).await;
    // One writer dies, another is paused: neither renews its session.
    let dead = site.client(BOUND);
    write(&dead, group, 10..30).await;
    let dead_session = dead.session().expect("it has written");
    drop(dead);
    let paused = site.client(BOUND);
    run(&paused, group, put(bucket, "early", write(&paused, group, 30..32).await)).await;
    let late = write(&paused, group, 40..50).await;
    let session = paused.session().expect("it has written");
    until("both sessions end", async || {
        let over = !is_open(&client, session).await && !is_open(&client, dead_session).await;
        over.then_some(())
    })
    .await;
    assert!(is_open(&client, client.session().expect("it renews")).await, "the living one goes on");
    site.come_to(&client, 6 + 2).await;
    let refused = paused.command(group, put(bucket, "late", late)).await.expect("a leader");
    assert_eq!(refused, Err(Refusal::BadChunk(BadChunk::Session)), "under a session of its own again");
    let wanted = Query::Object { bucket, key: "late".into(), content: None };
    assert_eq!(client.query(group, wanted).await.expect("a leader"), Err(Refusal::NotFound));
    // It may start over.
    run(&paused, group, put(bucket, "late", write(&paused, group, 60..63).await)).await;
    for (key, numbers) in [("kept", (0..6).collect::<Vec<u8>>()), ("early", vec![30, 31]), ("late", vec![60, 61, 62])] {
        let wanted = Query::Object { bucket, key: key.into(), content: None };
        let Ok(Ok(Answer::Object(view, _))) = client.query(group, wanted).await else { panic!("{key}") };
        assert_eq!(read(&client, group, view.attr.ino).await, numbers, "{key}");
    }
    site.come_to(&client, 6 + 2 + 3).await;
    site.stop().await;
}
