//! Clients ask for five times what the cluster can do, and do not wait for answers; then for a little less than it can do. What was refused or
//! waited for meanwhile does not hold it up for longer than half a minute. T34 of the battery.
//!
//! Ratios within one run only: what this machine can do is measured first, by clients that wait for their answers.

use anyhow::{Context, ensure};
use harness::{Body, Cluster, OpId, Options, Payload, S3Client, S3Error, must};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Clients that wait, and for how long they show what the cluster can do.
const CLIENTS: usize = 12;
const MEASURED: Duration = Duration::from_secs(8);
/// How much is asked for, against that.
const OVER: f64 = 5.0;
const UNDER: f64 = 0.8;
/// Requests under way beyond which further ones are not sent: connections of one client machine.
const IN_FLIGHT_MAX: usize = 1_000;
/// A request that is answered later counts for nothing.
const USEFUL_MAX: Duration = Duration::from_secs(5);
/// Within this time after the overload requests are served again, and so many of them.
const BACK_MAX: Duration = Duration::from_secs(30);
/// How long it is watched after that.
const WATCHED: Duration = Duration::from_secs(10);
/// Objects that are read, and bytes of what is written.
const OBJECTS: u64 = 64;
const BYTES: u64 = 16 << 10;
/// Between two looks at how many requests are due.
const DUE: Duration = Duration::from_millis(5);

/// How long too much is asked for.
fn overload() -> Duration {
    Duration::from_secs(if harness::battery() { 60 } else { 20 })
}

/// What must be served of what is asked for after that. On a machine that does something else besides, a second or two may be lost; at full
/// length it has nothing else to do.
fn served_min() -> f64 {
    if harness::battery() { 0.9 } else { 0.75 }
}

#[test]
fn an_overload_is_over_when_it_is_over() {
    if !harness::in_tier_two("T34") {
        return;
    }
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let face = Face { s3: cluster.s3(), bucket: cluster.target().bucket.clone() };
    let done = measure(&runtime, &face);
    done.with_context(|| cluster.last_words())
}

fn measure(runtime: &Runtime, face: &Face) -> anyhow::Result<()> {
    for n in 0..OBJECTS {
        runtime.block_on(face.put(n))?;
    }
    let able = runtime.block_on(face.able())?;
    let over = runtime.block_on(face.offer(able * OVER, overload(), 1));
    // At once: what is under way still is part of what has to be got rid of.
    let under = runtime.block_on(face.offer(able * UNDER, BACK_MAX + WATCHED, 2));
    let (over, under) = (runtime.block_on(over.finish()), runtime.block_on(under.finish()));
    let (whole, wrong) = (over.tally(Duration::ZERO, overload()), over.wrong());
    println!(
        "the cluster does {able:.0} requests a second; asked for {:.0} a second for {} s: {} due, {} of them not sent, {} served in \
         time, {} refused, {} without an answer",
        able * OVER,
        overload().as_secs(),
        whole.asked,
        over.unsent.len(),
        whole.served,
        whole.refused,
        whole.silent
    );
    for (error, count) in &wrong {
        println!("  {count} refused otherwise: {error}");
    }
    ensure!(whole.served > 0, "nothing is served under overload");
    ensure!(wrong.is_empty(), "who is refused under overload is told to come back later, and nothing else: {wrong:?}");

    let mut shown = Vec::new();
    for second in (0..(BACK_MAX + WATCHED).as_secs()).step_by(5) {
        let tally = under.tally(Duration::from_secs(second), Duration::from_secs(second + 5));
        shown.push(format!("{:.0} %", tally.share() * 100.0));
    }
    println!("then for {:.0} a second; served in time, in steps of five seconds: {}", able * UNDER, shown.join(", "));
    let back = under.tally(BACK_MAX, BACK_MAX + WATCHED);
    ensure!(
        back.share() >= served_min(),
        "{} of {} requests are served {} s after the overload",
        back.served,
        back.asked,
        BACK_MAX.as_secs()
    );
    // What was acknowledged in between is there.
    let kept: Vec<u64> = over.stored().into_iter().step_by(50).collect();
    for n in &kept {
        let bytes = runtime.block_on(face.s3.get(&face.bucket, &key(*n)))?;
        Body::parse(&key(*n), &bytes).map_err(|fault| anyhow::anyhow!("{}: {fault}", key(*n)))?;
    }
    println!("{} of the writes that were acknowledged under overload were read again", kept.len());
    Ok(())
}

#[derive(Clone)]
struct Face {
    s3: S3Client,
    bucket: String,
}

fn key(n: u64) -> String {
    format!("overload/{n:08}")
}

impl Face {
    async fn put(&self, n: u64) -> Result<(), S3Error> {
        let payload = Payload::new(Body::new(OpId(n), &key(n), BYTES).bytes());
        self.s3.put(&self.bucket, &key(n), &payload).await.map(drop)
    }

    /// Every second request stores something new, every other reads what was there before.
    async fn one(&self, n: u64) -> Result<(), S3Error> {
        if n.is_multiple_of(2) {
            return self.put(n).await;
        }
        let key = key(n % OBJECTS);
        let bytes = self.s3.get(&self.bucket, &key).await?;
        match Body::parse(&key, &bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(S3Error::Malformed("wrong bytes")),
        }
    }

    /// Requests a second that are served when clients wait for each.
    async fn able(&self) -> anyhow::Result<f64> {
        let start = Instant::now();
        let clients = (0..CLIENTS as u64).map(|client| async move {
            let mut served = 0_u64;
            while start.elapsed() < MEASURED {
                // Numbers of their own, far from those that are offered.
                self.one((1 << 32) + (client << 24) + served).await?;
                served += 1;
            }
            anyhow::Ok(served)
        });
        let served: u64 = futures::future::try_join_all(clients).await?.into_iter().sum();
        Ok(served as f64 / start.elapsed().as_secs_f64())
    }

    /// Sends so many requests a second for so long, whatever becomes of them.
    async fn offer(&self, rate: f64, lasts: Duration, phase: u64) -> Offering {
        let (start, in_flight) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let ended = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (mut sent, mut unsent) = (0_u64, Vec::new());
        let mut due = interval(DUE);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while start.elapsed() < lasts {
            due.tick().await;
            while ((sent + unsent.len() as u64) as f64) < start.elapsed().as_secs_f64() * rate {
                if in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
                    unsent.push(start.elapsed());
                    continue;
                }
                sent += 1;
                in_flight.fetch_add(1, Ordering::Relaxed);
                let (face, ended, in_flight) = (self.clone(), ended.clone(), in_flight.clone());
                let (n, asked) = ((phase << 40) + sent, start.elapsed());
                tasks.spawn(async move {
                    let result = face.one(n).await;
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                    let ended_at = start.elapsed();
                    ended.lock().unwrap_or_else(PoisonError::into_inner).push(Ended { n, asked, ended_at, result });
                });
                // Those that have ended are not kept.
                while tasks.try_join_next().is_some() {}
            }
        }
        Offering { tasks, ended, unsent }
    }
}

/// Requests of which some may still be under way.
struct Offering {
    tasks: JoinSet<()>,
    ended: Arc<Mutex<Vec<Ended>>>,
    unsent: Vec<Duration>,
}

impl Offering {
    async fn finish(mut self) -> Offered {
        while self.tasks.join_next().await.is_some() {}
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        Offered { ended, unsent: self.unsent }
    }
}

/// A request that has ended. Times are since the offer began.
struct Ended {
    n: u64,
    asked: Duration,
    ended_at: Duration,
    result: Result<(), S3Error>,
}

struct Offered {
    ended: Vec<Ended>,
    /// When one was due and found no connection free.
    unsent: Vec<Duration>,
}

/// What became of the requests of some time.
#[derive(Default)]
struct Tally {
    asked: u64,
    served: u64,
    refused: u64,
    silent: u64,
}

impl Tally {
    fn share(&self) -> f64 {
        self.served as f64 / self.asked.max(1) as f64
    }
}

impl Offered {
    fn tally(&self, from: Duration, to: Duration) -> Tally {
        let unsent = self.unsent.iter().filter(|at| (from..to).contains(*at)).count() as u64;
        let mut tally = Tally { asked: unsent, ..Tally::default() };
        for one in self.ended.iter().filter(|one| (from..to).contains(&one.asked)) {
            tally.asked += 1;
            match &one.result {
                Ok(()) => tally.served += u64::from(one.ended_at - one.asked <= USEFUL_MAX),
                Err(S3Error::Refused { .. }) => tally.refused += 1,
                Err(_) => tally.silent += 1,
            }
        }
        tally
    }

    /// Refusals that do not say "come back later", wrong bytes among them, and how often.
    fn wrong(&self) -> BTreeMap<String, u64> {
        let mut wrong = BTreeMap::new();
        for one in &self.ended {
            let text = match &one.result {
                Err(S3Error::Refused { status: 503, .. }) | Ok(()) | Err(S3Error::Silent | S3Error::Transport(_)) => {
                    continue;
                }
                Err(error) => error.to_string(),
            };
            *wrong.entry(text).or_default() += 1;
        }
        wrong
    }

    /// Writes that were acknowledged.
    fn stored(&self) -> Vec<u64> {
        self.ended.iter().filter(|one| one.n % 2 == 0 && one.result.is_ok()).map(|one| one.n).collect()
    }
}
