//! A shop's files on a cluster, readers and a writer beside them, and what the planner says of the copies.

use anyhow::{Context, ensure};
use futures::StreamExt as _;
use harness::{Cluster, Payload, S3Client, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Requests under way at once while files are stored and checked.
const PARALLEL: usize = 8;
/// Readers of the load; one writer beside them.
const READERS: u64 = 4;
/// Longest repair, and longest levelling.
const MOVED_MAX: Duration = Duration::from_secs(1800);
/// By how much a disk may differ from its share, in percent, or by one group.
const LEVEL_PERCENT: f64 = 5.0;

/// The files, through S3: images of about 150 KiB and books of about 4 MiB.
#[derive(Clone)]
pub struct Shop {
    s3: S3Client,
    bucket: String,
    images: usize,
    books: usize,
}

impl Shop {
    /// At full length 20,000 images and 500 books, about 5 GB.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        let (images, books) = if harness::battery() { (20_000, 500) } else { (600, 12) };
        Shop { s3: cluster.s3(), bucket: cluster.target().bucket.clone(), images, books }
    }

    fn content(&self, n: usize) -> Vec<u8> {
        let len = if n < self.images { (100 + n % 100) << 10 } else { (3 << 20) + (n % 9) * (250 << 10) };
        posix::sample(len, n as u64)
    }

    fn key(&self, n: usize) -> String {
        if n < self.images { format!("images/{:03}/{n}.png", n % 100) } else { format!("books/{n}.epub") }
    }

    fn count(&self) -> usize {
        self.images + self.books
    }

    /// Stores all of them.
    ///
    /// # Errors
    /// A request failed.
    pub fn store(&self, runtime: &Runtime) -> anyhow::Result<()> {
        let start = Instant::now();
        let bytes = runtime.block_on(self.put_all())?;
        let (mib, took) = (bytes >> 20, start.elapsed().as_secs_f64());
        println!("{} images and {} books, {mib} MiB, in {took:.1} s", self.images, self.books);
        Ok(())
    }

    async fn put_all(&self) -> anyhow::Result<u64> {
        let put = |n: usize| async move {
            let content = self.content(n);
            let len = content.len() as u64;
            self.s3.put(&self.bucket, &self.key(n), &Payload::new(content)).await.map(|_| len)
        };
        let mut puts = futures::stream::iter((0..self.count()).map(put)).buffer_unordered(PARALLEL);
        let mut bytes = 0;
        while let Some(stored) = puts.next().await {
            bytes += stored?;
        }
        Ok(bytes)
    }

    /// Reads every byte of all of them.
    ///
    /// # Errors
    /// A request failed, or was answered with other bytes.
    pub fn check(&self, runtime: &Runtime) -> anyhow::Result<()> {
        runtime.block_on(async {
            let mut gets = futures::stream::iter((0..self.count()).map(|n| self.get(n))).buffer_unordered(PARALLEL);
            while let Some(read) = gets.next().await {
                read?;
            }
            Ok(())
        })
    }

    async fn get(&self, n: usize) -> anyhow::Result<()> {
        let bytes = self.s3.get(&self.bucket, &self.key(n)).await.with_context(|| self.key(n))?;
        ensure!(bytes.as_ref() == self.content(n), "{} has other bytes", self.key(n));
        Ok(())
    }
}

/// Readers of images and one writer, until they are told to stop.
pub struct Foreground {
    stop: Arc<AtomicBool>,
    workers: JoinSet<anyhow::Result<Vec<Duration>>>,
}

/// How long its requests took, in order.
pub struct Served(Vec<Duration>);

impl Served {
    /// The time that all but one of a hundred requests took at most.
    #[must_use]
    pub fn p99_ms(&self) -> f64 {
        self.0.get(self.0.len() * 99 / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// How many there were.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.len()
    }
}

impl Foreground {
    /// Starts it; what the writer writes is named for `round`.
    #[must_use]
    pub fn start(runtime: &Runtime, shop: &Shop, round: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for worker in 0..=READERS {
            let (shop, stop, round) = (shop.clone(), stop.clone(), round.to_owned());
            let work = async move {
                let mut rng = StdRng::seed_from_u64(worker);
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    if worker < READERS {
                        shop.get(rng.random_range(0..shop.images)).await?;
                    } else {
                        let name = format!("new/{round}/{}", times.len());
                        let content = Payload::new(shop.content(times.len()));
                        shop.s3.put(&shop.bucket, &name, &content).await.context(name)?;
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
    pub fn finish(mut self, runtime: &Runtime) -> anyhow::Result<Served> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(worker) = runtime.block_on(self.workers.join_next()) {
            times.extend(worker??);
        }
        times.sort_unstable();
        Ok(Served(times))
    }
}

/// What `sago placement status` tells.
pub struct Copies(serde_json::Value);

impl Copies {
    /// Asks.
    ///
    /// # Errors
    /// There is no answer.
    pub fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Copies(serde_json::from_str(&cluster.sago(&["placement", "status", "--json"])?)?))
    }

    /// Whether every group has three copies and nothing moves.
    #[must_use]
    pub fn are_whole(&self) -> bool {
        let copies = &self.0["groups_by_copies"];
        let moves = self.0["moves"].as_array().is_none_or(|moves| !moves.is_empty());
        (0..3).all(|few| copies[few] == 0) && copies[3] != 0 && !moves
    }

    /// Groups on one disk of a node; none if it is not known.
    #[must_use]
    pub fn on(&self, node: u64, number: u64) -> Option<u64> {
        let disks = self.0["disks"].as_array()?;
        disks.iter().find(|disk| disk["node"] == node && disk["number"] == number)?["groups"].as_u64()
    }

    /// The id of a disk of a node.
    #[must_use]
    pub fn disk(&self, node: u64, number: u64) -> Option<&str> {
        let disks = self.0["disks"].as_array()?;
        disks.iter().find(|disk| disk["node"] == node && disk["number"] == number)?["id"].as_str()
    }

    /// Whether everything is where its rule wants it, and nothing waits to move.
    #[must_use]
    pub fn are_as_asked(&self) -> bool {
        let none = |what: &str| self.0[what].as_object().is_some_and(serde_json::Map::is_empty);
        self.are_whole() && none("unmet") && none("blocked")
    }

    /// Groups on each disk that has any or may take some: node, and how many.
    fn by_disk(&self) -> Vec<(u64, f64)> {
        let disks = self.0["disks"].as_array().cloned().unwrap_or_default();
        let counts = disks.iter().map(|disk| {
            let groups = disk["groups"].as_u64().unwrap_or(u64::MAX) as f64;
            (disk["node"].as_u64().unwrap_or_default(), groups)
        });
        counts.collect()
    }

    /// Whether these nodes, of one disk and the same weight each, have even shares, and nobody else has anything.
    #[must_use]
    pub fn are_even_on(&self, nodes: &[u64]) -> bool {
        let disks = self.by_disk();
        let share = disks.iter().map(|(_, groups)| groups).sum::<f64>() / nodes.len() as f64;
        let slack = (share * LEVEL_PERCENT / 100.0).max(1.0);
        disks.iter().all(|(node, groups)| match nodes.contains(node) {
            true => (groups - share).abs() <= slack,
            false => *groups == 0.0,
        })
    }
}

/// Waits until every group has three copies and these nodes share them evenly; how long that took.
///
/// # Errors
/// Not within half an hour.
pub fn levelled_on(cluster: &Cluster, nodes: &[u64]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let level = |copies: Copies| copies.are_whole() && copies.are_even_on(nodes);
    within("even shares", MOVED_MAX, || Copies::of(cluster).is_ok_and(level).then_some(()))?;
    Ok(start.elapsed())
}

/// Waits until a copy is missed and every group has three again; how long that took.
///
/// # Errors
/// Not within half an hour.
pub fn repaired(cluster: &Cluster) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let whole = || Copies::of(cluster).map(|copies| copies.are_whole());
    within("a copy is missed", MOVED_MAX, || whole().is_ok_and(|whole| !whole).then_some(()))?;
    within("three copies of every group", MOVED_MAX, || whole().is_ok_and(|whole| whole).then_some(()))?;
    Ok(start.elapsed())
}
