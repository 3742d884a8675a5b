//! Readers of a shelf who measure how long they wait: what a fault or a background job costs those in front.

use crate::shelf::{Shelf, Titles};
use anyhow::{Context, ensure};
use harness::S3Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Readers, until they are told to stop.
#[derive(Debug)]
pub struct Readers {
    stop: Arc<AtomicBool>,
    workers: JoinSet<anyhow::Result<Vec<Duration>>>,
}

/// How long their requests took, the shortest first.
#[derive(Debug)]
pub struct Waits(Vec<Duration>);

impl Waits {
    /// Requests.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What one in a hundred took at least.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.0.get(self.0.len() * 99 / 100).copied().unwrap_or_default()
    }
}

impl Readers {
    /// So many readers of the first `objects` of a shelf, each after the other, at random.
    #[must_use]
    pub fn start(shelf: &Shelf, readers: u64, objects: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for reader in 0..readers {
            let store = (shelf.s3.clone(), shelf.bucket.clone());
            let work = read(store, shelf.titles.clone(), StdRng::seed_from_u64(reader), objects, stop.clone());
            workers.spawn_on(work, shelf.runtime.handle());
        }
        Readers { stop, workers }
    }

    /// Stops them.
    ///
    /// # Errors
    /// A request failed, or was answered with other bytes.
    pub fn finish(mut self, shelf: &Shelf) -> anyhow::Result<Waits> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(worker) = shelf.runtime.block_on(self.workers.join_next()) {
            times.extend(worker??);
        }
        times.sort_unstable();
        Ok(Waits(times))
    }
}

async fn read(
    (s3, bucket): (S3Client, String),
    titles: Titles,
    mut rng: StdRng,
    objects: usize,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let n = rng.random_range(0..objects);
        let start = Instant::now();
        let bytes = s3.get(&bucket, &titles.key(n)).await.with_context(|| titles.key(n))?;
        times.push(start.elapsed());
        ensure!(bytes.as_ref() == titles.content(n), "wrong bytes of {}", titles.key(n));
    }
    Ok(times)
}
