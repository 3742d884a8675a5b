//! Memory stays bounded, however many upload at once and however slowly.

use anyhow::ensure;
use harness::{Cluster, Options, Payload, S3Error, must};
use loadgen::usage::{Process, Snapshot, reset_peaks};
use std::time::Duration;

/// What a node may hold beside its caches ("First light"), and the caches it has by default (state and index; docs/CONFIGURATION.md).
const NODE_MIB_MAX: u64 = 512 + 64 + 32;
/// Parallel uploads.
const LARGE: usize = 64;
const SLOW: usize = 1000;

#[test]
fn many_large_and_slow_uploads_do_not_grow_a_node() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let mut rng = rand::rng();
    // 12 GiB on the disk at full length: too much for every machine that only wants to know whether the tests pass.
    let mib = if harness::battery() { 64 } else { 8 };
    let large = Payload::repeated(mib << 20, &mut rng);
    upload(&cluster, "large", &large, LARGE)?;
    // Four pieces of 16 KiB, three seconds apart: all of them are under way at the same time.
    let slow = Payload::slow(vec![7; 16 << 10], 4, Duration::from_secs(3));
    upload(&cluster, "slow", &slow, SLOW)
}

/// Stores `count` objects at once and looks at the peaks meanwhile.
fn upload(cluster: &Cluster, prefix: &str, payload: &Payload, count: usize) -> anyhow::Result<()> {
    let servers = cluster.target().processes();
    reset_peaks(&servers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (s3, bucket) = (cluster.s3(), &cluster.target().bucket);
    let keys: Vec<String> = (0..count).map(|n| format!("{prefix}/{n:04}")).collect();
    let answers: Vec<Result<String, S3Error>> = runtime.block_on(async {
        let uploads = keys.iter().map(|key| s3.put(bucket, key, payload));
        futures::future::join_all(uploads).await
    });
    let peaks = Snapshot::take(&servers);
    let mib = |process: &Process| peaks.rss_peak_bytes(process.pid) >> 20;
    let shown: Vec<String> = servers.iter().map(|process| format!("{} {} MiB", process.name, mib(process))).collect();
    let refused: Vec<String> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(|e| format!("{e:?}")).collect();
    println!(
        "{count} uploads of {} KiB at once: peaks {}; {} refused",
        payload.len() >> 10,
        shown.join(", "),
        refused.len()
    );
    // A refusal under such a crowd is right if it says "come back later"; anything else is a fault.
    let wrong: Vec<&String> = refused.iter().filter(|error| !error.contains("SlowDown")).collect();
    ensure!(wrong.is_empty(), "{} uploads failed: {:?}\n{}", wrong.len(), wrong[0], cluster.last_words());
    for process in servers.iter().filter(|process| process.name.starts_with("node")) {
        ensure!(mib(process) <= NODE_MIB_MAX, "{} held {} MiB, over {NODE_MIB_MAX}", process.name, mib(process));
    }
    // Nothing of it is left half done: what was acknowledged is there, whole.
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    let listed = runtime.block_on(s3.list_all(bucket, &format!("{prefix}/")))?;
    ensure!(listed.len() == stored, "{} objects listed, {stored} acknowledged", listed.len());
    Ok(())
}
