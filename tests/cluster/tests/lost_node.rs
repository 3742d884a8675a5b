//! A node of six is lost for good, under load and without: its copies are made anew on the others, no request fails, and every byte is there
//! afterwards. T17 of the battery.

use anyhow::{Context, ensure};
use futures::StreamExt as _;
use harness::{Cluster, Options, Payload, S3Client, must, schedule, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Requests under way at once while files are stored and checked.
const PARALLEL: usize = 8;
/// Readers of the load; one writer beside them.
const READERS: u64 = 4;
/// How long the load runs before the loss, to compare with.
const CALM: Duration = Duration::from_secs(15);
/// Silence after which a node is out: five minutes are the default, and long.
const OUT_AFTER: &str = "5";
/// Longest repair.
const REPAIR_MAX: Duration = Duration::from_secs(1800);

/// Images and books, about 150 KiB and 4 MiB each.
fn counts() -> (usize, usize) {
    if harness::battery() { (20_000, 500) } else { (600, 12) }
}

fn content(n: usize) -> Vec<u8> {
    let (images, _) = counts();
    let len = if n < images { (100 + n % 100) << 10 } else { (3 << 20) + (n % 9) * (250 << 10) };
    posix::sample(len, n as u64)
}

fn key(n: usize) -> String {
    let (images, _) = counts();
    if n < images { format!("images/{:03}/{n}.png", n % 100) } else { format!("books/{n}.epub") }
}

#[test]
fn a_lost_node_is_made_good_and_no_request_fails() {
    let _turn = harness::exclusive();
    must(run(under_load));
    if harness::battery() {
        must(run(in_calm));
    }
}

fn run(lose: fn(&mut Cluster, &Runtime, &Shelf) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options { nodes: 6, ..Options::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let shelf = Shelf { s3: cluster.s3(), bucket: cluster.target().bucket.clone() };
    let (images, books) = counts();
    let start = Instant::now();
    let bytes = runtime.block_on(shelf.store(images + books))?;
    println!("{images} images and {books} books, {} MiB, in {:.1} s", bytes >> 20, start.elapsed().as_secs_f64());
    cluster.operate(&["placement", "set", "--out-after", OUT_AFTER])?;
    lose(&mut cluster, &runtime, &shelf).with_context(|| cluster.last_words())?;
    runtime.block_on(shelf.check(images + books))
}

/// At the default cap, with readers and a writer, whose slowest requests are compared with those before.
fn under_load(cluster: &mut Cluster, runtime: &Runtime, shelf: &Shelf) -> anyhow::Result<()> {
    let load = Foreground::start(runtime, shelf);
    schedule(Instant::now() + CALM);
    let calm = load.finish(runtime)?;
    let load = Foreground::start(runtime, shelf);
    let lost = lose_last(cluster)?;
    let took = wait_repaired(cluster)?;
    let busy = load.finish(runtime)?;
    println!(
        "under load: {} MiB of copies lost, whole again after {:.1} s; p99 {:.1} ms before, {:.1} ms meanwhile; {} requests",
        lost >> 20,
        took.as_secs_f64(),
        calm.p99_ms(),
        busy.p99_ms(),
        busy.times.len()
    );
    Ok(())
}

/// Without load and without a cap, beside what a plain copy of as many bytes takes.
fn in_calm(cluster: &mut Cluster, _: &Runtime, _: &Shelf) -> anyhow::Result<()> {
    cluster.operate(&["placement", "set", "--copy-rate", "0"])?;
    let lost = lose_last(cluster)?;
    let took = wait_repaired(cluster)?;
    let plain = copy_rate(cluster.folder(), lost)?;
    let rate = lost as f64 / took.as_secs_f64();
    println!(
        "in calm: {} MiB of copies lost, whole again after {:.1} s: {:.1} MiB/s, {:.2} of a plain copy with fsync",
        lost >> 20,
        took.as_secs_f64(),
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

/// What `sago placement status` tells.
struct Placement(serde_json::Value);

fn placement(cluster: &Cluster) -> anyhow::Result<Placement> {
    Ok(Placement(serde_json::from_str(&cluster.sago(&["placement", "status", "--json"])?)?))
}

impl Placement {
    fn is_whole(&self) -> bool {
        let copies = &self.0["groups_by_copies"];
        let moves = self.0["moves"].as_array().is_none_or(|moves| !moves.is_empty());
        (0..3).all(|few| copies[few] == 0) && copies[3] != 0 && !moves
    }
}

/// Waits until every group has three copies again; how long that took.
fn wait_repaired(cluster: &Cluster) -> anyhow::Result<Duration> {
    let start = Instant::now();
    within("a copy is missed", REPAIR_MAX, || placement(cluster).is_ok_and(|map| !map.is_whole()).then_some(()))?;
    within("three copies of every group", REPAIR_MAX, || {
        placement(cluster).is_ok_and(|map| map.is_whole()).then_some(())
    })?;
    Ok(start.elapsed())
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

/// The files, through S3.
#[derive(Clone)]
struct Shelf {
    s3: S3Client,
    bucket: String,
}

impl Shelf {
    async fn store(&self, count: usize) -> anyhow::Result<u64> {
        let put = |n: usize| async move {
            let content = content(n);
            let len = content.len() as u64;
            self.s3.put(&self.bucket, &key(n), &Payload::new(content)).await.map(|_| len)
        };
        let mut puts = futures::stream::iter((0..count).map(put)).buffer_unordered(PARALLEL);
        let mut bytes = 0;
        while let Some(stored) = puts.next().await {
            bytes += stored?;
        }
        Ok(bytes)
    }

    async fn check(&self, count: usize) -> anyhow::Result<()> {
        let get = |n: usize| async move {
            let bytes = self.s3.get(&self.bucket, &key(n)).await.with_context(|| key(n))?;
            ensure!(bytes.as_ref() == content(n), "{} has other bytes", key(n));
            Ok(())
        };
        let mut gets = futures::stream::iter((0..count).map(get)).buffer_unordered(PARALLEL);
        while let Some(read) = gets.next().await {
            read?;
        }
        Ok(())
    }
}

/// Readers of images and one writer, until they are told to stop.
struct Foreground {
    stop: Arc<AtomicBool>,
    workers: JoinSet<anyhow::Result<Vec<Duration>>>,
}

/// How long its requests took.
struct Served {
    times: Vec<Duration>,
}

impl Served {
    fn p99_ms(&self) -> f64 {
        let at = self.times.len() * 99 / 100;
        self.times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

impl Foreground {
    fn start(runtime: &Runtime, shelf: &Shelf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for worker in 0..=READERS {
            let (shelf, stop) = (shelf.clone(), stop.clone());
            let work = async move {
                let mut rng = StdRng::seed_from_u64(worker);
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    if worker < READERS {
                        let n = rng.random_range(0..counts().0);
                        let bytes = shelf.s3.get(&shelf.bucket, &key(n)).await.with_context(|| key(n))?;
                        ensure!(bytes.as_ref() == content(n), "{} has other bytes", key(n));
                    } else {
                        let name = format!("new/{}", times.len());
                        shelf.s3.put(&shelf.bucket, &name, &Payload::new(content(times.len()))).await.context(name)?;
                    }
                    times.push(start.elapsed());
                }
                Ok(times)
            };
            workers.spawn_on(work, runtime.handle());
        }
        Foreground { stop, workers }
    }

    /// Stops it.
    ///
    /// # Errors
    /// A request failed, or was answered with other bytes.
    fn finish(mut self, runtime: &Runtime) -> anyhow::Result<Served> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(worker) = runtime.block_on(self.workers.join_next()) {
            times.extend(worker??);
        }
        times.sort_unstable();
        Ok(Served { times })
    }
}
