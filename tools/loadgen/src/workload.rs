//! The workloads: each does one kind of operation from so many workers for so long, and returns its samples.

pub mod downloads;
pub mod licences;
pub mod local;
pub mod mount;
pub mod protect;
pub mod s3;

use crate::latency::Samples;
use std::time::{Duration, Instant};

/// When a workload ends: after that time, or after so many operations of each worker, whichever is first.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Wall time.
    pub time: Duration,
    /// Operations of each worker.
    pub ops: usize,
}

impl Bound {
    /// Only the time.
    #[must_use]
    pub fn time(time: Duration) -> Self {
        Self { time, ops: usize::MAX }
    }

    /// Only the number of operations of each worker.
    #[must_use]
    pub fn ops(ops: usize) -> Self {
        Self { time: Duration::MAX, ops }
    }

    /// The numbers of a worker's operations, until the bound.
    pub fn rounds(self) -> impl Iterator<Item = usize> {
        let start = Instant::now();
        (0..self.ops).take_while(move |_| start.elapsed() < self.time)
    }
}

/// Samples and the wall time from the first start to the last end.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All workers' samples.
    pub samples: Samples,
    /// Wall time.
    pub wall: Duration,
}

/// Runs `worker(n)` for n in 0..workers on threads of their own.
///
/// # Panics
/// If a worker panics.
pub fn on_threads(workers: usize, worker: impl Fn(usize) -> Samples + Sync) -> Outcome {
    let start = Instant::now();
    let mut samples = Samples::default();
    std::thread::scope(|scope| {
        let worker = &worker;
        let threads: Vec<_> = (0..workers).map(|n| scope.spawn(move || worker(n))).collect();
        for thread in threads {
            samples.merge(thread.join().expect("a worker panicked"));
        }
    });
    Outcome { samples, wall: start.elapsed() }
}

/// Runs one fallible operation and counts it; the first failures are told on standard error, once each workload has too many it is silent.
pub fn count(samples: &mut Samples, bytes: u64, operation: impl FnOnce() -> anyhow::Result<()>) {
    let start = Instant::now();
    match operation() {
        Ok(()) => samples.add(start.elapsed(), bytes),
        Err(error) => fail(samples, &error),
    }
}

/// Counts one failure.
pub fn fail(samples: &mut Samples, error: &anyhow::Error) {
    const TOLD_MAX: u64 = 3;
    samples.failed += 1;
    if samples.failed <= TOLD_MAX {
        eprintln!("loadgen: an operation failed: {error:#}");
    }
}
