//! Random reads, writes and truncations of one file, compared with an array of bytes after every step.

use crate::drop_pages;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const STEPS: usize = 10_000;
/// The file's largest size: small enough that steps overlap all the time, larger than a chunk.
const SIZE_MAX: usize = 5 << 20;
/// Most steps stay below this, where a file changes between inline and chunks.
const SMALL: usize = 12_000;

struct Run {
    path: PathBuf,
    file: File,
    model: Vec<u8>,
    rng: StdRng,
    what: String,
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Ten thousand steps (`SAGO_TEST_STEPS`) from the seed `SAGO_TEST_SEED`, which every failure names.
///
/// # Panics
/// The file differs from the model.
pub fn random_operations(root: &Path) {
    let (seed, steps) = (env("SAGO_TEST_SEED", 1), env("SAGO_TEST_STEPS", STEPS as u64));
    let path = root.join("fsx");
    let mut run =
        Run { file: open(&path), path, model: Vec::new(), rng: StdRng::seed_from_u64(seed), what: String::new() };
    for step in 0..steps {
        run.step(&format!("SAGO_TEST_SEED={seed}, step {step}"));
    }
    run.file = open(&run.path);
    drop_pages(&run.file);
    run.check(0, run.model.len());
}

/// As [`random_operations`], while another thread commits the file over and over.
///
/// # Panics
/// The file differs from the model, or a commit fails.
pub fn random_operations_while_committing(root: &Path) {
    let (path, done) = (root.join("fsx"), AtomicBool::new(false));
    drop(open(&path));
    std::thread::scope(|scope| {
        let commits = scope.spawn(|| {
            let file = open(&path);
            let mut count = 0u64;
            while !done.load(Ordering::Relaxed) {
                file.sync_data().expect("fsync");
                count += 1;
            }
            count
        });
        // A failure must end the other thread too.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| random_operations(root)));
        done.store(true, Ordering::Relaxed);
        assert!(commits.join().expect("commits") > 0);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).expect("open")
}

impl Run {
    fn range(&mut self) -> (usize, usize) {
        let limit = if self.rng.random_ratio(3, 4) { SMALL } else { SIZE_MAX };
        let at = self.rng.random_range(0..limit);
        let longest = if self.rng.random_ratio(1, 50) { SIZE_MAX - at } else { 70_000.min(SIZE_MAX - at) };
        (at, self.rng.random_range(1..=longest.min(limit)))
    }

    fn step(&mut self, name: &str) {
        let (at, len) = self.range();
        let choice = self.rng.random_range(0..100);
        self.what = format!("{name}: choice {choice}, {len} bytes at {at}, size {}", self.model.len());
        match choice {
            0..40 => self.write(at, len),
            40..75 => self.check(at, len),
            75..85 => self.truncate(at),
            85..90 => self.append(len),
            90..95 => self.file.sync_data().expect("fsync"),
            _ => self.file = open(&self.path),
        }
        let size = self.file.metadata().expect("fstat").len();
        assert_eq!(size, self.model.len() as u64, "{}", self.what);
    }

    fn write(&mut self, at: usize, len: usize) {
        let mut data = vec![0; len];
        self.rng.fill_bytes(&mut data);
        self.file.write_all_at(&data, at as u64).expect("write");
        self.model.resize(self.model.len().max(at + len), 0);
        self.model[at..at + len].copy_from_slice(&data);
    }

    fn append(&mut self, len: usize) {
        let mut data = vec![0; len.min(5000)];
        self.rng.fill_bytes(&mut data);
        if self.model.len() + data.len() > SIZE_MAX {
            return self.truncate(0);
        }
        let mut file = OpenOptions::new().append(true).open(&self.path).expect("open for appending");
        file.write_all(&data).expect("append");
        self.model.extend_from_slice(&data);
    }

    fn truncate(&mut self, size: usize) {
        self.file.set_len(size as u64).expect("truncate");
        self.model.resize(size, 0);
    }

    fn check(&mut self, at: usize, len: usize) {
        if self.rng.random_bool(0.5) {
            drop_pages(&self.file);
        }
        let end = (at + len).min(self.model.len());
        let want = self.model.get(at..end).unwrap_or_default();
        let mut seen = vec![0; len];
        let mut got = 0;
        while got < len {
            match self.file.read_at(&mut seen[got..], (at + got) as u64).expect("read") {
                0 => break,
                n => got += n,
            }
        }
        assert_eq!(got, want.len(), "{}: length read", self.what);
        if let Some(first) = (0..got).find(|i| seen[*i] != want[*i]) {
            let (saw, wanted) = (seen[first], want[first]);
            panic!("{}: byte {} is {saw}, should be {wanted}", self.what, at + first);
        }
    }
}
