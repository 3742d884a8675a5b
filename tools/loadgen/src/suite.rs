//! Everything in one run, always in the same order, so that two versions can be compared row by row.

use crate::report::{Aim, Gate, Memory, Report, Row};
use crate::s3::Payload;
use crate::target::Target;
use crate::usage::{Process, Snapshot, reset_peaks};
use crate::workload::mount::{Folder, read_sequential};
use crate::workload::s3::Bucket;
use crate::workload::{Bound, Outcome, local};
use anyhow::Context;
use rand::{SeedableRng, rngs::StdRng};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sizes of what is stored: an image, a large image, a chunk or two, a film.
const SMALL: usize = 64 << 10;
const IMAGE: usize = 200 << 10;
const MEDIUM: usize = 2 << 20;
const LARGE: u64 = 512 << 20;
/// Connections of the small and the medium workloads; the gates are defined at these.
const SMALL_WORKERS: usize = 16;
const MEDIUM_WORKERS: usize = 8;
/// Writers of the local baseline, as the gates define it.
const LOCAL_THREADS: usize = 8;
/// Longest time for the round trips between two threads.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time of each workload that is not a fixed amount of work.
    pub time: Duration,
    /// A folder on the disk of the nodes, for the local baseline.
    pub local: PathBuf,
    /// The server processes.
    pub servers: Vec<Process>,
    /// Seed of bodies and choices.
    pub seed: u64,
}

/// Gathers rows while they run.
struct Run<'a> {
    options: &'a Options,
    report: Report,
}

impl Run<'_> {
    /// The workloads of S3 share one thread: the client must not take the servers' cores.
    async fn over_s3(&mut self, name: &str, workers: usize, work: impl Future<Output = Outcome>) {
        let before = Snapshot::take(&self.options.servers);
        let outcome = work.await;
        self.push(name, workers, &before, outcome);
    }

    fn direct(&mut self, name: &str, workers: usize, work: impl FnOnce() -> Outcome) {
        let before = Snapshot::take(&self.options.servers);
        let outcome = work();
        self.push(name, workers, &before, outcome);
    }

    fn push(&mut self, name: &str, workers: usize, before: &Snapshot, outcome: Outcome) {
        let usage = Snapshot::take(&self.options.servers).since(before);
        let row = Row { name: name.into(), workers, summary: outcome.samples.summary(outcome.wall), usage };
        let sum = &row.summary;
        eprintln!(
            "{name:<34} {workers:>3} workers {:>9.1}/s {:>8.1} MB/s  p50 {:.2} ms  p99 {:.2} ms  failed {}",
            sum.ops_per_second, sum.megabytes_per_second, sum.p50_ms, sum.p99_ms, sum.failed
        );
        self.report.rows.push(row);
    }

    /// A row in which the servers have no part.
    fn push_local(&mut self, name: &str, workers: usize, outcome: Outcome) {
        self.push(name, workers, &Snapshot::default(), outcome);
        self.report.rows.last_mut().expect("it was just pushed").usage = crate::usage::Usage::default();
    }

    fn bound(&self) -> Bound {
        Bound::time(self.options.time)
    }

    /// How fast this machine wakes a thread, for the reader of the table.
    fn hand_over(&mut self, name: &str) -> anyhow::Result<()> {
        let time = self.options.time.min(HAND_OVER_MAX);
        let outcome = local::hand_over(Bound::time(time)).context("cannot measure two threads")?;
        self.push_local(name, 1, outcome);
        Ok(())
    }

    fn local(&mut self, name: &str) -> anyhow::Result<()> {
        let folder = self.options.local.clone();
        let outcome = local::create_fsync(&folder, SMALL, LOCAL_THREADS, self.bound())
            .with_context(|| format!("cannot measure the disk in {}", folder.display()))?;
        self.push_local(name, LOCAL_THREADS, outcome);
        Ok(())
    }
}

/// Runs everything against a cluster that does nothing else.
///
/// # Errors
/// The local folder cannot be written or a whole workload cannot run; single failures are counted in the report.
pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Report> {
    reset_peaks(&options.servers);
    let mut run = Run { options, report: Report::default() };
    let bucket = Bucket { s3: target.s3()?, name: target.bucket.clone(), seed: options.seed };
    let large_key = format!("bench-{}/large/film", options.seed);

    run.hand_over("local byte to a thread and back")?;
    run.local("local create+fsync 64 KiB")?;
    small_objects(&mut run, &bucket).await?;
    large_objects(&mut run, &bucket, &large_key).await?;
    if let Some(mount) = &target.mount {
        run.hand_over("local byte to a thread and back, again")?;
        files(&mut run, mount, &mount.join(&large_key))?;
    }

    let last = Snapshot::take(&options.servers);
    let mib = |process: &Process| last.rss_peak_bytes(process.pid) >> 20;
    let memory = |process: &Process| Memory { process: process.name.clone(), rss_peak_mib: mib(process) };
    run.report.memory = options.servers.iter().map(memory).collect();
    judge(&mut run.report, target.mount.is_some());
    Ok(run.report)
}

async fn small_objects(run: &mut Run<'_>, bucket: &Bucket) -> anyhow::Result<()> {
    let (bound, root) = (run.bound(), format!("bench-{}", run.options.seed));
    for (label, len, workers) in
        [("64 KiB", SMALL, SMALL_WORKERS), ("200 KiB", IMAGE, SMALL_WORKERS), ("2 MiB", MEDIUM, MEDIUM_WORKERS)]
    {
        let prefix = format!("{root}/{len}");
        let mut keys = Vec::new();
        let put = async {
            let (outcome, stored) = bucket.put(&prefix, len, workers, bound).await;
            keys = stored;
            outcome
        };
        run.over_s3(&format!("S3 PUT {label}"), workers, put).await;
        run.over_s3(&format!("S3 GET {label}"), workers, bucket.get(&keys, len as u64, workers, bound)).await;
        if len == SMALL {
            // Again beside the rows that the gates compare: the disk of a shared machine changes by the minute.
            run.local("local create+fsync 64 KiB, again")?;
            run.over_s3("S3 HEAD", workers, bucket.head(&keys, len as u64, workers, bound)).await;
            run.over_s3("S3 LIST, pages of 1,000", 1, bucket.list(&prefix, keys.len(), 1, bound)).await;
            run.over_s3("S3 LIST, pages of 1,000, 4 at once", 4, bucket.list(&prefix, keys.len(), 4, bound)).await;
        }
        run.over_s3(&format!("S3 DELETE {label}"), workers, bucket.delete(&keys, workers)).await;
    }
    Ok(())
}

async fn large_objects(run: &mut Run<'_>, bucket: &Bucket, key: &str) -> anyhow::Result<()> {
    const PART: usize = 8 << 20;
    const PARTS: u32 = (LARGE as usize / PART) as u32;
    let mut rng = StdRng::seed_from_u64(run.options.seed);
    let folder = key.rsplit_once('/').map_or(key, |(folder, _)| folder);
    let whole = Payload::repeated(LARGE, &mut rng);
    let mut single = Vec::new();
    let put = async {
        let (outcome, keys) = bucket.put_payload(folder, &whole, 1, Bound::ops(1)).await;
        single = keys;
        outcome
    };
    run.over_s3("S3 PUT 512 MiB", 1, put).await;
    let part = Payload::random(PART, &mut rng);
    let before = Snapshot::take(&run.options.servers);
    let outcome = bucket.multipart(key, &part, PARTS, 4).await?;
    run.push("S3 multipart 512 MiB, parts of 8 MiB", 4, &before, outcome);
    run.over_s3("S3 GET 512 MiB", 1, bucket.get(&single, LARGE, 1, Bound::ops(3))).await;
    run.over_s3("S3 DELETE 512 MiB", 1, bucket.delete(&single, 1)).await;
    Ok(())
}

fn files(run: &mut Run<'_>, mount: &Path, film: &Path) -> anyhow::Result<()> {
    let bound = run.bound();
    let folder = |name: &str| Folder {
        path: mount.join(format!("bench-{}-files", run.options.seed)).join(name),
        seed: run.options.seed,
    };
    let (one, many) = (folder("one"), folder("many"));
    let before = Snapshot::take(&run.options.servers);
    let (outcome, paths) = one.create(SMALL, 1, bound).context("the mount does not take files")?;
    run.push("mount create+write+close 64 KiB", 1, &before, outcome);
    let before = Snapshot::take(&run.options.servers);
    let (outcome, more) = many.create(SMALL, 8, bound)?;
    run.push("mount create+write+close 64 KiB, 8", 8, &before, outcome);
    run.direct("mount stat", 1, || one.stat(&paths, 1, bound));
    run.direct("mount read 64 KiB", 1, || one.read(&paths, SMALL, 1, bound));
    run.direct("mount read 64 KiB, 8", 8, || many.read(&more, SMALL, 8, bound));
    let mut renamed = Vec::new();
    run.direct("mount rename", 1, || {
        let (outcome, paths) = one.rename(&paths, 1);
        renamed = paths;
        outcome
    });
    run.direct("mount unlink", 1, || one.unlink(&renamed, 1));
    run.direct("mount unlink, 8", 8, || many.unlink(&more, 8));
    let before = Snapshot::take(&run.options.servers);
    let outcome = one.write_sequential("film", LARGE)?;
    run.push("mount write 512 MiB, fsync", 1, &before, outcome);
    run.direct("mount read 512 MiB, cold", 1, || read_sequential(film, LARGE));
    Ok(())
}

/// The gates and aims of "First light", as ratios where the disk decides.
fn judge(report: &mut Report, mounted: bool) {
    let rate = |name: &str| report.row(name).map_or(0.0, |row| row.summary.ops_per_second);
    let bytes = |name: &str| report.row(name).map_or(0.0, |row| row.summary.megabytes_per_second);
    let local = (rate("local create+fsync 64 KiB") + rate("local create+fsync 64 KiB, again")) / 2.0;
    let gate =
        |name: &str, measured: f64, least: f64| Gate { name: name.into(), measured, least, passed: measured >= least };
    let ratio = |name: &str| rate(name) / local.max(1e-9);
    let mut gates = vec![
        gate("S3 PUT 64 KiB / local create+fsync", ratio("S3 PUT 64 KiB"), 0.14),
        gate("S3 GET 64 KiB / local create+fsync", ratio("S3 GET 64 KiB"), 0.5),
    ];
    let aim = |name: &str, measured: f64, aim: f64, unit| Aim { name: name.into(), measured, aim, unit };
    let mut aims = vec![
        aim("S3 PUT 64 KiB", rate("S3 PUT 64 KiB"), 700.0, "/s"),
        aim("S3 GET 64 KiB", rate("S3 GET 64 KiB"), 2500.0, "/s"),
        aim("S3 PUT 2 MiB", bytes("S3 PUT 2 MiB"), 100.0, "MB/s"),
        aim("S3 GET 2 MiB", bytes("S3 GET 2 MiB"), 600.0, "MB/s"),
        aim("S3 LIST, pages of 1,000", rate("S3 LIST, pages of 1,000, 4 at once"), 100.0, "/s"),
    ];
    if mounted {
        let create = rate("mount create+write+close 64 KiB");
        gates.push(gate("mount create+write+close 64 KiB, one thread, a second", create, 225.0));
        aims.push(aim("mount create 64 KiB", create, 500.0, "/s"));
        aims.push(aim("mount sequential write", bytes("mount write 512 MiB, fsync"), 150.0, "MB/s"));
        aims.push(aim("mount cold sequential read", bytes("mount read 512 MiB, cold"), 450.0, "MB/s"));
    }
    report.gates = gates;
    report.aims = aims;
}
