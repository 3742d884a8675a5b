//! What a download of a wrapped book costs against a plain GET of the very same bytes: turn by turn, since a machine changes by the minute.
//!
//! The book is downloaded once and put as a plain object. Then both are read in turns of the same length, from as many connections, and what the gateway spent
//! in each kind of turn is added up. Which kind begins changes with every pair.

use super::fail;
use crate::latency::{Samples, Summary};
use crate::s3::{Drained, Payload, S3Client, encode_path};
use crate::target::Target;
use crate::usage::{Process, Snapshot};
use anyhow::{Context, ensure};
use reqwest::Client;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The least share of a plain GET's bytes a second.
pub const THROUGHPUT_AIM: f64 = 0.95;
/// The most that a byte may cost the gateway, to a plain one.
pub const CPU_AIM: f64 = 1.1;
/// How much later the first byte may come, ms.
pub const FIRST_BYTE_AIM_MS: f64 = 20.0;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bucket and key of the book.
    pub book: (String, String),
    /// Licences of it; connections take them in turn.
    pub licences: Vec<String>,
    /// Connections.
    pub workers: usize,
    /// Length of a turn.
    pub turn: Duration,
    /// Turns of each kind.
    pub turns: usize,
}

/// One kind of turn, all of them together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Kind {
    /// Downloads, and the time of each.
    pub summary: Summary,
    /// Median time to the first byte, ms.
    pub first_byte_p50_ms: f64,
    /// 99th percentile of it, ms.
    pub first_byte_p99_ms: f64,
    /// CPU time of the gateway for 1 GiB, s.
    pub gateway_cpu_seconds_per_gib: f64,
    /// CPU time of all servers for 1 GiB, s.
    pub servers_cpu_seconds_per_gib: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Connections.
    pub workers: usize,
    /// Plain GETs.
    pub plain: Kind,
    /// Downloads.
    pub spliced: Kind,
    /// Bytes a second, spliced to plain.
    pub throughput_ratio: f64,
    /// CPU time of the gateway, spliced to plain.
    pub cpu_ratio: f64,
    /// How much later the first byte came, ms.
    pub first_byte_over_ms: f64,
    /// Whether all three aims are reached and nothing failed.
    pub aims_met: bool,
}

/// Adds up turns of one kind.
#[derive(Default)]
struct Sum {
    samples: Samples,
    first: Samples,
    wall: Duration,
    gateway: f64,
    servers: f64,
}

impl Sum {
    fn kind(self) -> Kind {
        let summary = self.samples.summary(self.wall);
        let first = self.first.summary(self.wall);
        let gib = summary.bytes as f64 / (1 << 30) as f64;
        Kind {
            first_byte_p50_ms: first.p50_ms,
            first_byte_p99_ms: first.p99_ms,
            gateway_cpu_seconds_per_gib: self.gateway / gib.max(1e-9),
            servers_cpu_seconds_per_gib: self.servers / gib.max(1e-9),
            summary,
        }
    }
}

/// A book behind its address.
struct Book {
    http: Client,
    access_key: String,
    secret_key: String,
    urls: Vec<String>,
}

impl Book {
    fn new(target: &Target, options: &Options) -> anyhow::Result<Self> {
        ensure!(!options.licences.is_empty(), "no licence");
        let (bucket, key) = &options.book;
        let path = encode_path(&format!("/download/{bucket}/{key}"));
        let url = |licence: &String| format!("{}{path}?license={licence}", target.endpoint.trim_end_matches('/'));
        Ok(Book {
            http: S3Client::http()?,
            access_key: target.access_key.clone(),
            secret_key: target.secret_key.clone(),
            urls: options.licences.iter().map(url).collect(),
        })
    }

    async fn answer(&self, turn: usize) -> anyhow::Result<reqwest::Response> {
        let url = &self.urls[turn % self.urls.len()];
        let request = self.http.get(url).basic_auth(&self.access_key, Some(&self.secret_key));
        Ok(request.send().await?.error_for_status()?)
    }
}

/// Compares. The user of the demo must have the right to download, and the licences as many downloads a day as this makes.
///
/// # Errors
/// The book cannot be downloaded or put; single failures are counted.
pub async fn compare(target: &Target, options: &Options) -> anyhow::Result<Comparison> {
    let gateway = target.gateway_pid.context("the demo has no gateway")?;
    let gateway = vec![Process { pid: gateway, name: "gateway".to_owned() }];
    let servers = target.processes();
    let (s3, book) = (target.s3()?, Book::new(target, options)?);
    let file = book.answer(0).await.context("the book cannot be downloaded")?.bytes().await?;
    let (len, key) = (file.len() as u64, "bench-downloads/plain".to_owned());
    s3.put(&target.bucket, &key, &Payload::new(file)).await.context("the file cannot be put")?;
    let (s3, bucket, key, book) = (&s3, &target.bucket, &key, &book);
    let plain = async |_| Ok(s3.drain_timed(bucket, key, Instant::now()).await?);
    let spliced = async |turn| {
        let started = Instant::now();
        Ok(Drained::of(book.answer(turn).await?, started).await?)
    };
    let mut sums = [Sum::default(), Sum::default()];
    for turn in 0..2 * options.turns {
        // Plain, spliced, spliced, plain.
        let kind = usize::from(matches!(turn % 4, 1 | 2));
        let before = (Snapshot::take(&gateway), Snapshot::take(&servers), Instant::now());
        let sum = &mut sums[kind];
        if kind == 0 {
            take_turn(sum, options, len, &plain).await
        } else {
            take_turn(sum, options, len, &spliced).await
        }
        sum.wall += before.2.elapsed();
        sum.gateway += Snapshot::take(&gateway).since(&before.0).cpu_seconds;
        sum.servers += Snapshot::take(&servers).since(&before.1).cpu_seconds;
    }
    s3.delete(bucket, key).await?;
    let [plain, spliced] = sums.map(Sum::kind);
    Ok(judged(len, options.workers, plain, spliced))
}

async fn take_turn<F>(sum: &mut Sum, options: &Options, len: u64, operation: &F)
where
    F: AsyncFn(usize) -> anyhow::Result<Drained>,
{
    let bound = super::Bound::time(options.turn);
    let tasks = (0..options.workers).map(|worker| async move {
        let (mut samples, mut first) = (Samples::default(), Samples::default());
        for round in bound.rounds() {
            let started = Instant::now();
            match operation(worker + round * options.workers).await {
                Ok(drained) if drained.bytes == len => {
                    samples.add(started.elapsed(), len);
                    first.add(drained.first, 0);
                }
                Ok(drained) => fail(&mut samples, &anyhow::anyhow!("{} bytes instead of {len}", drained.bytes)),
                Err(error) => fail(&mut samples, &error),
            }
        }
        (samples, first)
    });
    for (samples, first) in futures::future::join_all(tasks).await {
        sum.samples.merge(samples);
        sum.first.merge(first);
    }
}

fn judged(file_bytes: u64, workers: usize, plain: Kind, spliced: Kind) -> Comparison {
    let ratio = |spliced: f64, plain: f64| spliced / plain.max(1e-9);
    let throughput_ratio = ratio(spliced.summary.megabytes_per_second, plain.summary.megabytes_per_second);
    let cpu_ratio = ratio(spliced.gateway_cpu_seconds_per_gib, plain.gateway_cpu_seconds_per_gib);
    let first_byte_over_ms = spliced.first_byte_p50_ms - plain.first_byte_p50_ms;
    let failed = plain.summary.failed + spliced.summary.failed;
    let aims_met = failed == 0
        && spliced.summary.ops > 0
        && throughput_ratio >= THROUGHPUT_AIM
        && cpu_ratio <= CPU_AIM
        && first_byte_over_ms < FIRST_BYTE_AIM_MS;
    Comparison { file_bytes, workers, plain, spliced, throughput_ratio, cpu_ratio, first_byte_over_ms, aims_met }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(megabytes_per_second: f64, cpu: f64, first: f64) -> Kind {
        let summary = Summary { ops: 1, megabytes_per_second, ..Summary::default() };
        let (gateway_cpu_seconds_per_gib, first_byte_p50_ms) = (cpu, first);
        Kind { summary, gateway_cpu_seconds_per_gib, first_byte_p50_ms, ..Kind::default() }
    }

    #[test]
    fn each_aim_counts() {
        let plain = kind(100.0, 2.0, 5.0);
        let met = |spliced: Kind| judged(1, 1, plain.clone(), spliced).aims_met;
        assert!(met(kind(95.0, 2.2, 24.9)));
        assert!(!met(kind(94.0, 2.0, 5.0)) && !met(kind(100.0, 2.3, 5.0)) && !met(kind(100.0, 2.0, 25.1)));
        let failed = Summary { failed: 1, ..kind(100.0, 2.0, 5.0).summary };
        assert!(!met(Kind { summary: failed, ..kind(100.0, 2.0, 5.0) }));
    }

    #[test]
    fn turns_add_up() {
        let mut sum = Sum { wall: Duration::from_secs(2), gateway: 1.0, servers: 3.0, ..Sum::default() };
        sum.samples.add(Duration::from_millis(10), 1 << 29);
        sum.first.add(Duration::from_millis(4), 0);
        let kind = sum.kind();
        assert_eq!((kind.gateway_cpu_seconds_per_gib, kind.servers_cpu_seconds_per_gib), (2.0, 6.0));
        assert_eq!((kind.first_byte_p50_ms, kind.summary.ops), (4.0, 1));
    }
}
