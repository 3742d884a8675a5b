//! Rounds of load and faults on one cluster, with one ledger through all of them.

use anyhow::{Context, ensure};
use harness::{Cluster, Ledger, Load, LoadConfig, LoadReport, Options, Verdict, check};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Acknowledged writes of a round before its fault, so that there is something to lose.
const WRITES: u64 = 100;
/// Longest time for them, on a busy machine.
const WRITES_MAX: Duration = Duration::from_secs(90);
/// Longest time until the cluster takes writes again by itself ("It heals", Done when 5).
const SERVES_MAX: Duration = Duration::from_secs(30);
/// Longest time until a node that came back has caught up, its quarantine included.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// Each so many rounds everything that was ever written is read again; in between only the newest rounds are.
const WHOLE_EVERY: usize = 10;
const NEWEST: usize = 2;
/// Complaints that are printed.
const SHOWN_MAX: usize = 10;

/// A cluster under attack.
pub struct Campaign {
    /// The cluster.
    pub cluster: Cluster,
    /// Decides every choice.
    pub seed: u64,
    /// How long each writer of the loads rests after an operation, if not as long as usual.
    pub rest: Option<Duration>,
    ledger: Arc<Ledger>,
    reports: Vec<LoadReport>,
}

impl Campaign {
    /// Starts a cluster.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let seed = harness::seed();
        let cluster = Cluster::start(Options { seed, ..options })?;
        let ledger = Arc::new(Ledger::open(&cluster.folder().join("ledger"))?);
        Ok(Self { cluster, seed, rest: None, ledger, reports: Vec::new() })
    }

    /// Rounds that were judged so far.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.reports.len()
    }

    /// What the load of the last round has seen.
    #[must_use]
    pub fn last(&self) -> Option<&LoadReport> {
        self.reports.last()
    }

    /// Starts the load of the next round, under a prefix of its own, and waits until there is something to lose.
    ///
    /// # Errors
    /// The cluster does not take so many writes in time.
    pub fn load(&self) -> anyhow::Result<Load> {
        let round = self.rounds() + 1;
        let mixed = LoadConfig::mixed(self.seed + round as u64);
        let config = LoadConfig { prefix: format!("round{round}"), rest: self.rest.unwrap_or(mixed.rest), ..mixed };
        let load = crate::load(&self.cluster, config, &self.ledger);
        harness::until("the load writes", WRITES_MAX, || load.writes() >= WRITES)?;
        Ok(load)
    }

    /// Waits until the cluster takes writes, and returns how long that was after `since`.
    ///
    /// # Errors
    /// Later than promised.
    pub fn serves_again(&self, since: Instant) -> anyhow::Result<Duration> {
        self.cluster.wait_writable()?;
        let took = since.elapsed();
        ensure!(took <= SERVES_MAX, "served again after {took:?}\n{}", self.cluster.last_words());
        Ok(took)
    }

    /// Waits until every node is back and at work, so that the next fault meets a whole cluster.
    ///
    /// # Errors
    /// One is not.
    pub fn whole_again(&self) -> anyhow::Result<()> {
        let whole = harness::until("all nodes are at work", WHOLE_MAX, || self.cluster.is_whole());
        whole.map(drop).with_context(|| self.cluster.last_words())
    }

    /// Ends the round's load, and reads what it and the rounds before it have written.
    ///
    /// # Errors
    /// Anything acknowledged is missing, or anything was seen that nobody has written.
    pub fn judge(&mut self, load: Load) -> anyhow::Result<()> {
        let report = load.finish();
        self.reports.push(report);
        self.cluster.wait_writable()?;
        let whole = self.rounds().is_multiple_of(WHOLE_EVERY);
        let first = if whole { 0 } else { self.rounds().saturating_sub(NEWEST) };
        self.read_again(first)
    }

    /// As [`Self::judge`], where nothing has kept anybody from reading: two nodes had every chunk all the time.
    ///
    /// # Errors
    /// As [`Self::judge`], and if a read has failed.
    pub fn judge_reads(&mut self, load: Load) -> anyhow::Result<()> {
        self.judge(load)?;
        let failed = self.last().map_or(0, |report| report.failed_reads.len());
        ensure!(failed == 0, "{failed} reads failed although every chunk was to be had");
        Ok(())
    }

    /// Reads everything again that any round has written.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_all(&self) -> anyhow::Result<()> {
        self.read_again(0)
    }

    fn read_again(&self, first: usize) -> anyhow::Result<()> {
        let target = self.cluster.target();
        let mount = target.mount.as_deref().filter(|mount| Path::new(mount).exists());
        for (at, report) in self.reports.iter().enumerate().skip(first) {
            let verdict = check(&self.cluster.s3(), &target.bucket, &self.ledger, report, mount)?;
            println!("  {}", summary(at + 1, report, &verdict));
            let wrong: Vec<&String> = report.violations.iter().chain(&verdict.faults).take(SHOWN_MAX).collect();
            ensure!(
                wrong.is_empty(),
                "seed {}, round {}: {wrong:#?}\n{}",
                self.seed,
                at + 1,
                self.cluster.last_words()
            );
        }
        Ok(())
    }
}

fn summary(round: usize, report: &LoadReport, verdict: &Verdict) -> String {
    format!(
        "writes of round {round}: {} acknowledged, {} unknown; {} reads, {} failed; {} keys checked, {} late, {} faults",
        report.writes,
        report.failed_writes,
        report.reads,
        report.failed_reads.len(),
        verdict.keys,
        verdict.late,
        verdict.faults.len() + report.violations.len()
    )
}
