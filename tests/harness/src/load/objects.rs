//! The S3 side of a load, on one thread.

use super::state::Shared;
use crate::{Body, Kind};
use futures::future::join_all;
use loadgen::s3::{Payload, S3Client, S3Error};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};

/// Lengths and how often of forty: inline, image, large image, one chunk, two chunks. Nothing is reclaimed yet, and five minutes
/// of this write some 30 GiB in three copies.
const LENGTHS: [(u64, u32); 5] = [(1 << 10, 8), (64 << 10, 18), (200 << 10, 11), (1 << 20, 2), (5 << 20, 1)];
/// Writes of ten that are deletes.
const DELETES_OF_TEN: u32 = 1;
/// Reads of ten that are ranges.
const RANGES_OF_TEN: u32 = 3;
/// What the probe writes: large enough to need chunks, small enough to cost nothing.
const PROBE_BYTES: u64 = 16 << 10;
/// Pause of each reader between two operations.
const PACE: Duration = Duration::from_millis(15);
/// Pause of the probe: ten looks a second.
const PROBE_PACE: Duration = Duration::from_millis(100);

/// Runs every worker until the load is told to stop.
pub(super) async fn run(shared: &Shared, s3: &S3Client) {
    let writers = join_all((0..shared.config.writers).map(|worker| write(shared, s3, worker)));
    let readers = join_all((0..shared.config.readers).map(|worker| read(shared, s3, worker)));
    futures::join!(writers, readers, probe(shared, s3));
}

/// Key `n` of S3 writer `worker`.
fn key(shared: &Shared, worker: usize, n: usize) -> String {
    format!("{}/w{worker}/dir{}/k{n}", shared.config.prefix, n % 4)
}

fn rng(shared: &Shared, role: u64, worker: usize) -> StdRng {
    StdRng::seed_from_u64(shared.config.seed ^ (role << 48) ^ (worker as u64) << 32)
}

async fn write(shared: &Shared, s3: &S3Client, worker: usize) {
    let mut rng = rng(shared, 1, worker);
    while shared.runs() {
        let key = key(shared, worker, rng.random_range(0..shared.config.keys_per_writer));
        if rng.random_range(0..10) < DELETES_OF_TEN {
            let op = shared.issue(&key, Kind::Delete);
            let answer = s3.delete(&shared.bucket, &key).await;
            shared.answered(&key, op, Kind::Delete, answer.map(drop).map_err(chain));
        } else {
            put(shared, s3, &key, length(&mut rng)).await;
        }
        pause(shared.config.rest).await;
    }
}

async fn put(shared: &Shared, s3: &S3Client, key: &str, len: u64) -> bool {
    let kind = Kind::Put(len);
    let op = shared.issue(key, kind);
    let payload = Payload::new(Body::new(op, key, len).bytes());
    let answer = s3.put(&shared.bucket, key, &payload).await;
    let stored = answer.is_ok();
    shared.answered(key, op, kind, answer.map(drop).map_err(chain));
    stored
}

async fn read(shared: &Shared, s3: &S3Client, worker: usize) {
    let mut rng = rng(shared, 2, worker);
    while shared.runs() {
        let writer = rng.random_range(0..shared.config.writers.max(1));
        let key = key(shared, writer, rng.random_range(0..shared.config.keys_per_writer));
        let range =
            (rng.random_range(0..10) < RANGES_OF_TEN).then(|| (rng.random_range(0..512), rng.random_range(1..512)));
        let start = Instant::now();
        let answer = match range {
            Some((offset, len)) => s3.get_range(&shared.bucket, &key, offset, len).await,
            None => s3.get(&shared.bucket, &key).await,
        };
        match (answer, range) {
            (Ok(bytes), Some((offset, _))) => shared.read_range("S3 range", &key, start, offset, &bytes),
            (Ok(bytes), None) => shared.read("S3", &key, start, Some(&bytes)),
            (Err(error), _) if error.is_not_found() => shared.read("S3", &key, start, None),
            (Err(error), _) => shared.failed_read(format!("S3 {key} after {:?}: {}", start.elapsed(), chain(error))),
        }
        pause(PACE).await;
    }
}

async fn probe(shared: &Shared, s3: &S3Client) {
    let mut n = 0_u64;
    while shared.runs() {
        n += 1;
        let key = format!("{}/probe/{}", shared.config.prefix, n % 8);
        if put(shared, s3, &key, PROBE_BYTES).await {
            shared.probed();
        }
        pause(PROBE_PACE).await;
    }
}

fn length(rng: &mut StdRng) -> u64 {
    let total = LENGTHS.iter().map(|(_, share)| share).sum();
    let mut at = rng.random_range(0..total);
    for (len, share) in LENGTHS {
        if at < share {
            // Not only round numbers: borders of leaves and chunks are where mistakes live.
            return len + rng.random_range(0..64);
        }
        at -= share;
    }
    LENGTHS[0].0
}

async fn pause(pace: Duration) {
    // wait-ok: the pace of a load
    tokio::time::sleep(pace).await;
}

fn chain(error: S3Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
