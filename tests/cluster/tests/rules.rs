//! Buckets with rules of placement of their own: what is written lies on the disks that the rule asks for, a rule that changes moves what was
//! written by it while readers go on, and what cannot be had is refused.

use anyhow::{Context, ensure};
use cluster::Copies;
use harness::{Cluster, Options, Payload, must, within};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Objects written by each rule; each is one chunk.
const OBJECTS: usize = 40;
const OBJECT_BYTES: usize = 60_000;
/// Longest time until copies are where they should be.
const MOVED_MAX: Duration = Duration::from_secs(240);

#[test]
fn what_a_bucket_has_lies_where_its_rule_says() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options { nodes: 5, ..Options::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    by_rule(&cluster, &runtime).with_context(|| cluster.last_words())
}

fn by_rule(cluster: &Cluster, runtime: &Runtime) -> anyhow::Result<()> {
    let copies = Copies::of(cluster)?;
    for node in 1..=5 {
        let class = if node <= 3 { "ssd" } else { "durable" };
        let disk = copies.disk(node, 0).context("a disk")?;
        cluster.operate(&["placement", "weight", disk, "100", "--class", class])?;
    }
    let quickly = ["--moves", "64", "--moves-per-node", "16", "--moves-per-disk", "16"];
    cluster.operate(&[&["placement", "set"][..], &quickly].concat())?;
    refused(cluster, &["rule", "add", "tape", "--class", "tape=1"], "tape")?;
    refused(cluster, &["rule", "add", "apart", "--class", "durable=3"], "durable")?;
    let tried = cluster.operate(&["rule", "add", "fast", "--class", "ssd=3", "--dry-run", "--json"])?;
    ensure!(tried.contains("\"1/0\":64") && !tried.contains("4/0"), "{tried}");
    ensure!(!cluster.sago(&["rule", "list"])?.contains("fast"), "a dry run made a rule");
    cluster.operate(&["rule", "add", "fast", "--class", "ssd=3"])?;
    refused(cluster, &["bucket", "create", "none", "--rule", "slow"], "no such rule")?;
    ensure!(cluster.sago(&["bucket", "create", "sly", "--rule", "fast"]).is_err(), "a client has taken the fast disks");
    cluster.operate(&["bucket", "create", "covers", "--rule", "fast"])?;

    let before = chunks(cluster)?;
    runtime.block_on(put(cluster, 0))?;
    // Where a node was not heard for a moment the third copy is made soon after, and pieces of a put that was made anew may lie there too.
    let on_the_fast = || {
        let grown = grown(&before, &chunks(cluster).ok()?);
        (grown[..3].iter().all(|count| *count >= OBJECTS as u64) && grown[3..] == [0; 2]).then_some(())
    };
    within("every copy is on a fast disk", MOVED_MAX, on_the_fast)?;

    // One copy stays fast, two become durable, while the bucket is read.
    let asked = ["--class", "ssd=1", "--class", "durable=2"];
    let plan = cluster.operate(&[&["rule", "set", "fast", "--dry-run"][..], &asked].concat())?;
    ensure!(plan.contains("nothing was changed") && grown(&before, &chunks(cluster)?)[3..] == [0; 2], "{plan}");
    cluster.operate(&[&["rule", "set", "fast"][..], &asked].concat())?;
    let settled = || {
        let read_well = runtime.block_on(read(cluster, OBJECTS));
        let as_asked = Copies::of(cluster).is_ok_and(|copies| copies.are_as_asked());
        (read_well.is_err() || as_asked && durable_has_all(cluster, &before)).then_some(read_well)
    };
    let (read_well, _) = within("copies are where the rule wants them", MOVED_MAX, settled)?;
    read_well?;

    // What is written from now on is the default rule's; what is there stays.
    refused(cluster, &["rule", "remove", "fast"], "covers")?;
    cluster.operate(&["bucket", "rule", "set", "covers", "default"])?;
    ensure!(cluster.sago(&["bucket", "list"])?.contains("default"), "the list does not show it");
    cluster.operate(&["rule", "remove", "fast"])?;
    runtime.block_on(put(cluster, OBJECTS))?;
    let settled = || Copies::of(cluster).is_ok_and(|copies| copies.are_as_asked()).then_some(());
    within("copies are where the default rule wants them", MOVED_MAX, settled)?;
    runtime.block_on(read(cluster, 2 * OBJECTS))
}

fn refused(cluster: &Cluster, words: &[&str], why: &str) -> anyhow::Result<()> {
    let done = cluster.operate(words);
    ensure!(done.as_ref().is_err_and(|error| error.to_string().contains(why)), "sago {}: {done:?}", words.join(" "));
    Ok(())
}

fn chunks(cluster: &Cluster) -> anyhow::Result<Vec<u64>> {
    let on = |at| Ok(cluster.status(at)?.disks.iter().map(|disk| disk.chunks).sum());
    (0..cluster.nodes()).map(on).collect()
}

fn grown(before: &[u64], now: &[u64]) -> Vec<u64> {
    before.iter().zip(now).map(|(before, now)| now.saturating_sub(*before)).collect()
}

/// Whether both durable nodes have every object of the bucket, and the fast ones one copy of each among them, no longer two.
fn durable_has_all(cluster: &Cluster, before: &[u64]) -> bool {
    let Ok(now) = chunks(cluster) else { return false };
    let grown = grown(before, &now);
    let objects = OBJECTS as u64;
    grown[3..].iter().all(|count| *count >= objects) && (objects..2 * objects).contains(&grown[..3].iter().sum())
}

fn content(n: usize) -> Vec<u8> {
    posix::sample(OBJECT_BYTES, n as u64)
}

async fn put(cluster: &Cluster, first: usize) -> anyhow::Result<()> {
    let s3 = cluster.s3();
    for n in first..first + OBJECTS {
        s3.put("covers", &format!("{n}.png"), &Payload::new(content(n))).await?;
    }
    Ok(())
}

async fn read(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let s3 = cluster.s3();
    for n in 0..count {
        let bytes = s3.get("covers", &format!("{n}.png")).await?;
        ensure!(bytes.as_ref() == content(n), "{n} has other bytes");
    }
    Ok(())
}
