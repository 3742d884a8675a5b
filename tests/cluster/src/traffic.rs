//! Readers and writers of a shelf who measure how long they wait: what a fault or a background job costs those in front.

use crate::shelf::{self, Shelf};
use anyhow::Context;
use harness::Payload;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Readers, each with one request after the other: they keep two cores busy and drown nobody.
const READERS: u64 = 4;

/// Clients that go on until they are told to stop. No request of theirs may fail.
#[derive(Debug)]
pub struct Traffic {
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

    /// What one in a hundred took at least, in milliseconds.
    #[must_use]
    pub fn p99_ms(&self) -> f64 {
        self.0.get(self.0.len() * 99 / 100).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    }

    /// What the slowest took.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl Traffic {
    /// Readers of these objects of a shelf, at random.
    #[must_use]
    pub fn of_readers(shelf: &Shelf, objects: Range<usize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for reader in 0..READERS {
            let (s3, bucket, titles) = (shelf.s3.clone(), shelf.bucket.clone(), shelf.titles.clone());
            let (stop, objects) = (stop.clone(), objects.clone());
            let mut rng = StdRng::seed_from_u64(reader);
            let work = async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let n = rng.random_range(objects.clone());
                    let start = Instant::now();
                    shelf::read(&s3, &bucket, &titles, n).await?;
                    times.push(start.elapsed());
                }
                Ok(times)
            };
            workers.spawn_on(work, shelf.runtime.handle());
        }
        Traffic { stop, workers }
    }

    /// With somebody beside the readers who stores new objects, named for `round`, and rests after each.
    #[must_use]
    pub fn and_a_writer(mut self, shelf: &Shelf, round: &str, rest: Duration) -> Self {
        let (s3, bucket, titles) = (shelf.s3.clone(), shelf.bucket.clone(), shelf.titles.clone());
        let (stop, round) = (self.stop.clone(), round.to_owned());
        let work = async move {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let name = format!("new/{round}/{}", times.len());
                let content = Payload::new(titles.content(times.len()));
                let start = Instant::now();
                s3.put(&bucket, &name, &content).await.context(name)?;
                times.push(start.elapsed());
                // wait-ok: the pace of a client
                tokio::time::sleep(rest).await;
            }
            Ok(times)
        };
        self.workers.spawn_on(work, shelf.runtime.handle());
        self
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
