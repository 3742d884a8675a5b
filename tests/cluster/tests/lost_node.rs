//! A node of six is lost for good, under load and without: its copies are made anew on the others, no request fails, and every byte is there
//! afterwards. T17 of the battery.

use anyhow::Context;
use cluster::{Shelf, Traffic, repaired, shop_files, shop_images, stocked_shop};
use harness::{Cluster, Options, must, schedule};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the load runs before the loss, to compare with.
const CALM: Duration = Duration::from_secs(15);
/// Silence after which a node is out: five minutes are the default, and long. Not below the twelve seconds after which nobody counts on its lease any
/// more: copying would wait for those, which it never does by default.
const OUT_AFTER: &str = "15";

#[test]
fn a_lost_node_is_made_good_and_no_request_fails() {
    let _turn = harness::exclusive();
    must(run(under_load));
    if harness::battery() {
        must(run(in_calm));
    }
}

fn run(lose: fn(&mut Cluster, &Shelf) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options { nodes: 6, ..Options::default() })?;
    let shop = stocked_shop(&cluster)?;
    cluster.operate(&["placement", "set", "--out-after", OUT_AFTER])?;
    lose(&mut cluster, &shop).with_context(|| cluster.last_words())?;
    shop.check(shop_files())
}

/// At the default cap, with readers and a writer, whose slowest requests are compared with those before.
fn under_load(cluster: &mut Cluster, shop: &Shelf) -> anyhow::Result<()> {
    let load = Traffic::of_readers(shop, shop_images()).and_a_writer(shop, "calm", Duration::ZERO);
    schedule(Instant::now() + CALM);
    let calm = load.finish(shop)?;
    let load = Traffic::of_readers(shop, shop_images()).and_a_writer(shop, "busy", Duration::ZERO);
    let lost = lose_last(cluster)?;
    let repaired = repaired(cluster)?;
    let busy = load.finish(shop)?;
    println!(
        "under load: {} MiB of copies lost, given up after {:.1} s, whole again {:.1} s later; p99 {:.1} ms before, {:.1} ms meanwhile; {} requests",
        lost >> 20,
        repaired.noticed.as_secs_f64(),
        repaired.copied.as_secs_f64(),
        calm.p99_ms(),
        busy.p99_ms(),
        busy.count()
    );
    Ok(())
}

/// Without load and without a cap, beside what a plain copy of as many bytes takes.
fn in_calm(cluster: &mut Cluster, _: &Shelf) -> anyhow::Result<()> {
    cluster.operate(&["placement", "set", "--copy-rate", "0"])?;
    let lost = lose_last(cluster)?;
    let repaired = repaired(cluster)?;
    let plain = copy_rate(cluster.folder(), lost)?;
    let rate = lost as f64 / repaired.copied.as_secs_f64();
    println!(
        "in calm: {} MiB of copies lost, given up after {:.1} s, whole again {:.1} s later: {:.1} MiB/s, {:.2} of a plain copy with fsync",
        lost >> 20,
        repaired.noticed.as_secs_f64(),
        repaired.copied.as_secs_f64(),
        rate / f64::from(1 << 20),
        rate / plain
    );
    Ok(())
}

/// Ends the last node for good. Bytes of the copies it had.
fn lose_last(cluster: &mut Cluster) -> anyhow::Result<u64> {
    let at = cluster.nodes() - 1;
    let bytes = cluster.status(at)?.disks.iter().map(|disk| disk.bytes).sum();
    cluster.kill(at)?;
    fs::remove_dir_all(cluster.node_folder(at).join("data"))?;
    Ok(bytes)
}

/// Bytes a second of writing files of 4 MiB with fsync, in the folder of the cluster.
fn copy_rate(folder: &Path, bytes: u64) -> anyhow::Result<f64> {
    const FILE: usize = 4 << 20;
    let data = posix::sample(FILE, 0);
    let start = Instant::now();
    let files = bytes.div_ceil(FILE as u64).max(1);
    for n in 0..files {
        let mut file = File::create(folder.join(format!("copy-{n}")))?;
        file.write_all(&data)?;
        file.sync_all()?;
    }
    let rate = (files * FILE as u64) as f64 / start.elapsed().as_secs_f64();
    (0..files).try_for_each(|n| fs::remove_file(folder.join(format!("copy-{n}"))))?;
    Ok(rate)
}
