//! Mixed load with a memory of what it did: writers, readers, files through the mount, and a probe that measures how long nobody can write.

mod contest;
mod files;
mod objects;
mod state;

pub use contest::{Contest, ContestReport};

use crate::{Ledger, Register};
use loadgen::s3::S3Client;
use state::Shared;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rest of a writer between two operations: a load, not an overload, on two cores.
const REST: Duration = Duration::from_millis(15);

/// How much load, and of what.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Prefix of every key; two loads in one bucket need two.
    pub prefix: String,
    /// S3 writers, each with keys of its own.
    pub writers: usize,
    /// S3 readers of everybody's keys.
    pub readers: usize,
    /// Keys of each writer: few, so that they are overwritten and deleted often.
    pub keys_per_writer: usize,
    /// How long each writer rests after an operation. What was overwritten and deleted stays on the disks for as long as the trash keeps it.
    pub rest: Duration,
    /// The mounted bucket: adds one writer and one reader of files.
    pub mount: Option<PathBuf>,
    /// Decides every choice.
    pub seed: u64,
}

impl LoadConfig {
    /// A mix that keeps two cores busy without drowning the servers.
    #[must_use]
    pub fn mixed(seed: u64) -> Self {
        Self { prefix: "load".into(), writers: 4, readers: 3, keys_per_writer: 24, rest: REST, mount: None, seed }
    }
}

/// Load that runs until it is told to finish.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What a load has seen.
#[derive(Debug)]
pub struct LoadReport {
    /// Acknowledged puts, deletes and files.
    pub writes: u64,
    /// Writes without an acknowledgement: outcome unknown.
    pub failed_writes: u64,
    /// Why, and how often.
    pub write_errors: BTreeMap<String, u64>,
    /// Reads that were answered, an absent key included.
    pub reads: u64,
    /// Reads that failed, with the reason.
    pub failed_reads: Vec<String>,
    /// Lost, stale, invented or mixed bytes.
    pub violations: Vec<String>,
    /// Reads that showed a write of unknown outcome over a later acknowledged one.
    pub late: u64,
    /// The ends of the probe's successful writes.
    pub probe: Vec<Instant>,
    /// When the load ended.
    pub end: Instant,
    /// What every key may hold now.
    pub registers: BTreeMap<String, Register>,
}

impl Load {
    /// Starts the load on threads of its own.
    ///
    /// # Panics
    /// If no thread or runtime can be made.
    #[must_use]
    pub fn start(s3: S3Client, bucket: &str, config: LoadConfig, ledger: Arc<Ledger>) -> Self {
        let shared = Arc::new(Shared::new(bucket.to_owned(), config, ledger));
        let mut threads = Vec::new();
        let objects = Arc::clone(&shared);
        threads.push(spawn("load-s3", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime of one thread").block_on(objects::run(&objects, &s3));
        }));
        if let Some(mount) = shared.config.mount.clone() {
            let (writing, reading) = (Arc::clone(&shared), Arc::clone(&shared));
            let folder = mount.clone();
            threads.push(spawn("load-mount-write", move || files::write(&writing, &folder)));
            threads.push(spawn("load-mount-read", move || files::read(&reading, &mount)));
        }
        Self { shared, threads }
    }

    /// How many writes have been acknowledged so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.shared.counts().writes
    }

    /// Ends the load after the operations in flight and tells what it has seen.
    ///
    /// # Panics
    /// If a worker has panicked (the ledger could not be written).
    #[must_use]
    pub fn finish(self) -> LoadReport {
        self.shared.stop();
        for thread in self.threads {
            thread.join().expect("a load thread panicked");
        }
        self.shared.report()
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread")
}
