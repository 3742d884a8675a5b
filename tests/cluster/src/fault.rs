//! One node at a time is hurt and comes back, on a schedule, under load.

use anyhow::ensure;
use harness::{Cluster, Ledger, LoadConfig, check, gaps, schedule};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A fault each ten seconds, for three seconds: "First light", fault tests.
const EVERY: Duration = Duration::from_secs(10);
const LASTS: Duration = Duration::from_secs(3);
/// Writes that must have been acknowledged before the first fault, so that there is something to lose.
const WARM_WRITES: u64 = 50;

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violence {
    /// SIGKILL, and a new process afterwards.
    Kill,
    /// SIGSTOP, and SIGCONT afterwards: the node does not know that it was away.
    Pause,
}

/// Hurts a random node `faults` times under mixed load, prints the figures and returns an error if a bound of "First light" is broken:
/// a failed read, more than one write gap of thirty over 3 s, one over 6 s, an acknowledged write that is not there, wrong bytes.
///
/// # Errors
/// A bound is broken, or the cluster cannot be run.
pub fn one_node_at_a_time(violence: Violence, faults: usize) -> anyhow::Result<()> {
    let _turn = harness::exclusive();
    let seed = harness::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(crate::options())?;
    let ledger = Arc::new(Ledger::open(&cluster.folder().join("ledger"))?);
    let load = crate::load(&cluster, LoadConfig { prefix: "faults".into(), ..LoadConfig::mixed(seed) }, &ledger);
    harness::until("the load has begun", Duration::from_secs(60), || load.writes() > WARM_WRITES)?;

    let start = Instant::now();
    let mut moments = Vec::new();
    for fault in 0..faults {
        schedule(start + EVERY * fault as u32);
        let victim = rng.random_range(0..cluster.nodes());
        println!("fault {fault} at {:.1} s: {violence:?} of node {}", start.elapsed().as_secs_f64(), victim + 1);
        moments.push(Instant::now());
        match violence {
            Violence::Kill => cluster.kill(victim)?,
            Violence::Pause => cluster.pause(victim),
        }
        schedule(start + EVERY * fault as u32 + LASTS);
        match violence {
            Violence::Kill => cluster.restart(victim)?,
            Violence::Pause => cluster.resume(victim),
        }
    }
    schedule(start + EVERY * faults as u32);

    let report = load.finish();
    let gaps = gaps(&report.probe, &moments, report.end);
    cluster.wait_writable()?;
    let target = cluster.target();
    let verdict = check(&cluster.s3(), &target.bucket, &ledger, &report, target.mount.as_deref())?;
    let broken = crate::conclude(&format!("{violence:?} of one node at a time"), &gaps, &report, &verdict);
    ensure!(broken.is_empty(), "seed {seed}: {}\n{}", broken.join("\n"), cluster.last_words());
    Ok(())
}
