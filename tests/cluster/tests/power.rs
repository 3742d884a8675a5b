//! All nodes at once, under load: as a power cut looks to processes. What was acknowledged is there afterwards, with no manual step.

use anyhow::ensure;
use harness::{Cluster, Ledger, LoadConfig, LoadReport, check};
use std::sync::Arc;
use std::time::Duration;

/// Acknowledged writes of a round before it is cut.
const WRITES: u64 = 150;
/// Longest time for them.
const WRITES_MAX: Duration = Duration::from_secs(60);

/// Odd rounds kill the nodes and start them again one by one; even rounds kill everything, gateway and mount included, and start the demo a
/// second time on the same folder. The ledger is carried through all rounds.
#[test]
fn killing_all_nodes_at_once_loses_nothing() {
    let rounds = if harness::battery() { 5 } else { 2 };
    harness::must(run(rounds));
}

fn run(rounds: usize) -> anyhow::Result<()> {
    let _turn = harness::exclusive();
    let seed = harness::seed();
    let mut cluster = Cluster::start(cluster::options())?;
    let ledger = Arc::new(Ledger::open(&cluster.folder().join("ledger"))?);
    let mut reports: Vec<LoadReport> = Vec::new();
    for round in 1..=rounds {
        // A prefix of its own: what earlier rounds wrote is only read, and must stay.
        let mixed = LoadConfig::mixed(seed + round as u64);
        let config = LoadConfig { prefix: format!("round{round}"), ..mixed };
        let load = cluster::load(&cluster, config, &ledger);
        harness::until("the load writes", WRITES_MAX, || load.writes() >= WRITES)?;
        let all = round % 2 == 0;
        let back = if all {
            cluster.kill_everything()?;
            reports.push(load.finish());
            cluster.start_again()?
        } else {
            cluster.kill_nodes()?;
            reports.push(load.finish());
            (0..cluster.nodes()).try_for_each(|node| cluster.restart(node))?;
            cluster.wait_writable()?
        };
        let what = if all { "everything" } else { "all nodes" };
        println!("round {round}: killed {what}, writable after {:.1} s", back.as_secs_f64());
        for (earlier, report) in reports.iter().enumerate() {
            let target = cluster.target();
            let verdict = check(&cluster.s3(), &target.bucket, &ledger, report, target.mount.as_deref())?;
            println!(
                "  writes of round {}: {} acknowledged, {} unknown, {} keys checked, {} late, {} faults",
                earlier + 1,
                report.writes,
                report.failed_writes,
                verdict.keys,
                verdict.late,
                verdict.faults.len() + report.violations.len()
            );
            let wrong: Vec<&String> = report.violations.iter().chain(&verdict.faults).take(10).collect();
            ensure!(wrong.is_empty(), "seed {seed}, round {round}: {wrong:#?}\n{}", cluster.last_words());
        }
    }
    Ok(())
}
