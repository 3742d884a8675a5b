//! What the workers of a load share: the registers, the ledger, the counts.

use super::{LoadConfig, LoadReport};
use crate::register::Seen;
use crate::{Body, Entry, Kind, Ledger, OpId, Register};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Complaints of one kind that are kept word by word; all are counted.
const KEPT_MAX: usize = 50;

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub writes: u64,
    pub failed_writes: u64,
    pub write_errors: BTreeMap<String, u64>,
    pub reads: u64,
    pub late: u64,
    pub failed_reads: Vec<String>,
    pub violations: Vec<String>,
    pub probe: Vec<Instant>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub bucket: String,
    pub config: LoadConfig,
    ledger: Arc<Ledger>,
    registers: Mutex<BTreeMap<String, Register>>,
    counts: Mutex<Counts>,
    next: AtomicU64,
    stopped: AtomicBool,
}

impl Shared {
    pub fn new(bucket: String, config: LoadConfig, ledger: Arc<Ledger>) -> Self {
        Self {
            bucket,
            config,
            ledger,
            registers: Mutex::default(),
            counts: Mutex::default(),
            next: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
        }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub fn runs(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registers(&self) -> MutexGuard<'_, BTreeMap<String, Register>> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write is about to be sent.
    pub fn issue(&self, key: &str, kind: Kind) -> OpId {
        let op = OpId(self.next.fetch_add(1, Ordering::Relaxed));
        self.registers().entry(key.to_owned()).or_default().issue(op, kind);
        op
    }

    /// Its answer came. An acknowledgement stands in the ledger before anybody may count on it.
    pub fn answered(&self, key: &str, op: OpId, kind: Kind, answer: Result<(), String>) {
        if let Err(error) = answer {
            let mut counts = self.counts();
            counts.failed_writes += 1;
            if counts.write_errors.len() < KEPT_MAX || counts.write_errors.contains_key(&error) {
                *counts.write_errors.entry(error).or_default() += 1;
            }
            return;
        }
        let len = match kind {
            Kind::Put(len) => Some(len),
            Kind::Delete => None,
        };
        self.ledger.append(&Entry { op, len, key: key.to_owned() }).expect("the ledger must be durable");
        self.registers().entry(key.to_owned()).or_default().acknowledge(op);
        self.counts().writes += 1;
    }

    /// A whole read ended with these bytes (none = no such key).
    pub fn read(&self, face: &str, key: &str, start: Instant, bytes: Option<&[u8]>) {
        let body = bytes.map(|bytes| Body::parse(key, bytes)).transpose();
        let seen = body.map(|body| {
            // A key that nobody has written yet is rightly absent, and nothing else.
            let seen = self.registers().get(key).unwrap_or(&Register::default()).judge(start, body.as_ref());
            (seen, body.map(|body| body.op))
        });
        match seen {
            Ok((seen, op)) => self.judged(seen, || format!("{face} {key}: shows {op:?}, which it may not")),
            Err(fault) => self.judged(Seen::Wrong, || format!("{face} {key}: {fault}")),
        }
    }

    /// A ranged read ended with these bytes.
    pub fn read_range(&self, face: &str, key: &str, start: Instant, offset: u64, bytes: &[u8]) {
        let seen = {
            let registers = self.registers();
            registers.get(key).map_or(Seen::Wrong, |register| register.judge_range(key, start, offset, bytes))
        };
        self.judged(seen, || format!("{face} {key}: {} bytes from {offset} are of no version", bytes.len()));
    }

    fn judged(&self, seen: Seen, complaint: impl FnOnce() -> String) {
        let mut counts = self.counts();
        counts.reads += 1;
        match seen {
            Seen::Right => {}
            Seen::Late => counts.late += 1,
            Seen::Wrong if counts.violations.len() < KEPT_MAX => counts.violations.push(complaint()),
            Seen::Wrong => {}
        }
    }

    pub fn failed_read(&self, complaint: String) {
        let mut counts = self.counts();
        if counts.failed_reads.len() < KEPT_MAX {
            counts.failed_reads.push(complaint);
        }
    }

    pub fn probed(&self) {
        self.counts().probe.push(Instant::now());
    }

    pub fn report(&self) -> LoadReport {
        let Counts { writes, failed_writes, write_errors, reads, late, failed_reads, violations, probe } =
            self.counts().clone();
        let registers = self.registers().clone();
        LoadReport {
            writes,
            failed_writes,
            write_errors,
            reads,
            failed_reads,
            violations,
            late,
            probe,
            end: Instant::now(),
            registers,
        }
    }
}
