//! Many clients at the same few keys, and a history of all they did: what [`crate::linear`] judges.

use crate::linear::{Action, Event, Moment, Violation, search, zones};
use crate::{Body, OpId};
use futures::future::join_all;
use loadgen::s3::{Payload, S3Client};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients; more make the search for an order expensive.
const CLIENTS: usize = 5;
/// Keys that are only put and got, for the whole contest.
const PLAIN_KEYS: u64 = 3;
/// Operations on a key with deletes before the next one is taken: what the search can judge.
const SEARCHED_OPERATIONS: u64 = 150;
/// Lengths: inline in the metadata, and one chunk.
const LENGTHS: [u64; 2] = [100, 20_000];
/// Pause of each client between two operations.
const PACE: Duration = Duration::from_millis(5);

/// A contest that runs until it is told to finish.
#[derive(Debug)]
pub struct Contest {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    bucket: String,
    prefix: String,
    seed: u64,
    start: Instant,
    next: AtomicU64,
    stopped: AtomicBool,
    histories: Mutex<BTreeMap<String, Vec<Event>>>,
    complaints: Mutex<Vec<String>>,
}

/// What a contest has shown.
#[derive(Debug, Default)]
pub struct ContestReport {
    /// Keys that were judged.
    pub keys: usize,
    /// Operations in their histories.
    pub operations: usize,
    /// Of these, puts and deletes of unknown outcome.
    pub unknown: usize,
    /// Histories that make no sense, and bytes that nobody wrote.
    pub faults: Vec<String>,
    /// Histories that could not be judged within the bound of the search.
    pub undecided: usize,
}

impl Contest {
    /// Starts the clients on a thread of their own, over these gateways in turn.
    ///
    /// # Panics
    /// If no thread or runtime can be made, or there is no gateway.
    #[must_use]
    pub fn start(gateways: Vec<S3Client>, bucket: &str, prefix: &str, seed: u64) -> Self {
        assert!(!gateways.is_empty(), "a contest needs a gateway");
        let shared = Arc::new(Shared {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            seed,
            start: Instant::now(),
            next: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
            histories: Mutex::default(),
            complaints: Mutex::default(),
        });
        let own = shared.clone();
        let thread = super::spawn("contest", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let competing = |client: usize| own.compete(&gateways[client % gateways.len()], client);
            let clients = async { join_all((0..CLIENTS).map(competing)).await };
            runtime.expect("a runtime of one thread").block_on(clients);
        });
        Self { shared, thread }
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> usize {
        let histories = self.shared.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.values().map(Vec::len).sum()
    }

    /// Ends it after the operations in flight, and judges what was seen.
    ///
    /// # Panics
    /// If the clients' thread has panicked.
    #[must_use]
    pub fn finish(self) -> ContestReport {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("the contest panicked");
        let complaints = self.shared.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = ContestReport { faults: complaints, ..ContestReport::default() };
        for (key, history) in &*self.shared.histories.lock().unwrap_or_else(PoisonError::into_inner) {
            report.keys += 1;
            report.operations += history.len();
            report.unknown += history.iter().filter(|event| event.answer == Moment::NEVER).count();
            let plain = history.iter().all(|event| event.action != Action::Delete);
            match if plain { zones(history) } else { search(history) } {
                Ok(()) => {}
                Err(Violation::Undecided) => report.undecided += 1,
                Err(violation) => report.faults.push(format!("{key}: {violation}")),
            }
        }
        report
    }
}

impl Shared {
    async fn compete(&self, s3: &S3Client, client: usize) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (client as u64) << 40);
        while !self.stopped.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            // Half of the operations go to each kind of key.
            let deletes = rng.random();
            let key = if deletes {
                format!("{}/deleted{}", self.prefix, number / (2 * SEARCHED_OPERATIONS))
            } else {
                format!("{}/plain{}", self.prefix, rng.random_range(0..PLAIN_KEYS))
            };
            match rng.random_range(0..10) {
                0..4 => self.put(s3, &key, OpId(number), LENGTHS[rng.random_range(0..LENGTHS.len())]).await,
                4 if deletes => self.delete(s3, &key).await,
                _ => self.get(s3, &key).await,
            }
            // wait-ok: the pace of a load
            tokio::time::sleep(PACE).await;
        }
    }

    async fn put(&self, s3: &S3Client, key: &str, op: OpId, len: u64) {
        let payload = Payload::new(Body::new(op, key, len).bytes());
        let call = self.now();
        let stored = s3.put(&self.bucket, key, &payload).await.is_ok();
        self.note(key, Action::Put(op), call, stored);
    }

    async fn delete(&self, s3: &S3Client, key: &str) {
        let call = self.now();
        let removed = s3.delete(&self.bucket, key).await.is_ok();
        self.note(key, Action::Delete, call, removed);
    }

    async fn get(&self, s3: &S3Client, key: &str) {
        let call = self.now();
        let seen = match s3.get(&self.bucket, key).await {
            Ok(bytes) => match Body::parse(key, &bytes) {
                Ok(body) => Some(body.op),
                Err(fault) => return self.complain(format!("{key}: {fault}")),
            },
            Err(error) if error.is_not_found() => None,
            // A refusal says nothing about the register.
            Err(_) => return,
        };
        self.note(key, Action::Get(seen), call, true);
    }

    fn note(&self, key: &str, action: Action, call: Moment, answered: bool) {
        let answer = if answered { self.now() } else { Moment::NEVER };
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.entry(key.to_owned()).or_default().push(Event { action, call, answer });
    }

    fn complain(&self, complaint: String) {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
    }

    /// Never zero: that is when nothing was put yet.
    fn now(&self) -> Moment {
        Moment(1 + self.start.elapsed().as_nanos() as u64)
    }
}
