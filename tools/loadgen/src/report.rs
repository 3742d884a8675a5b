//! The rows of a run, as JSON and as the table of `docs/BENCHMARKS.md`.

use crate::latency::Summary;
use crate::usage::Usage;
use serde::Serialize;
use std::fmt::Write;

/// One workload and what it came to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Such as `S3 PUT 64 KiB`.
    pub name: String,
    /// Connections or threads.
    pub workers: usize,
    /// Rates and latencies.
    pub summary: Summary,
    /// What the servers spent meanwhile.
    pub usage: Usage,
}

/// Memory of one server process over the whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// `node 1`, `gateway`, `mount`.
    pub process: String,
    /// Highest resident memory, MiB.
    pub rss_peak_mib: u64,
}

/// A bound that a run must keep.
#[derive(Clone, Debug, Serialize)]
pub struct Gate {
    /// What is compared.
    pub name: String,
    /// What was measured.
    pub measured: f64,
    /// The least that passes.
    pub least: f64,
    /// Whether it does.
    pub passed: bool,
}

/// An aim that a run may miss, as long as `docs/BENCHMARKS.md` says why.
#[derive(Clone, Debug, Serialize)]
pub struct Aim {
    /// What is compared.
    pub name: String,
    /// What was measured.
    pub measured: f64,
    /// What was hoped for.
    pub aim: f64,
    /// Of both.
    pub unit: &'static str,
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In the order they ran.
    pub rows: Vec<Row>,
    /// One per server process.
    pub memory: Vec<Memory>,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// What should.
    pub aims: Vec<Aim>,
}

impl Report {
    /// The row of that name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Whether every gate holds and no operation failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.passed) && self.rows.iter().all(|row| row.summary.failed == 0)
    }

    /// Markdown: the rows, the memory, the gates, the aims.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from(
            "| workload | workers | ops/s | MB/s | p50 ms | p99 ms | failed | server CPU ms/op | CPU s/GiB | bytes written per byte |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let (sum, used) = (&row.summary, &row.usage);
            let transfers = sum.bytes > 0;
            let cells = [
                row.name.clone(),
                row.workers.to_string(),
                rate(sum.ops_per_second),
                if transfers { rate(sum.megabytes_per_second) } else { String::new() },
                format!("{:.2}", sum.p50_ms),
                format!("{:.2}", sum.p99_ms),
                sum.failed.to_string(),
                format!("{:.2}", used.cpu_seconds * 1e3 / sum.ops.max(1) as f64),
                if transfers {
                    format!("{:.2}", used.cpu_seconds / (sum.bytes as f64 / (1 << 30) as f64))
                } else {
                    String::new()
                },
                if transfers { format!("{:.2}", used.bytes_written as f64 / sum.bytes as f64) } else { String::new() },
            ];
            line(&mut out, &cells);
        }
        out.push_str("\n| process | peak memory MiB |\n| --- | --- |\n");
        for memory in &self.memory {
            line(&mut out, &[memory.process.clone(), memory.rss_peak_mib.to_string()]);
        }
        out.push_str("\n| gate | measured | least | |\n| --- | --- | --- | --- |\n");
        for gate in &self.gates {
            let verdict = if gate.passed { "ok" } else { "MISSED" };
            line(
                &mut out,
                &[gate.name.clone(), format!("{:.3}", gate.measured), format!("{:.3}", gate.least), verdict.into()],
            );
        }
        out.push_str("\n| aim | measured | aim | share |\n| --- | --- | --- | --- |\n");
        for aim in &self.aims {
            let unit = aim.unit;
            let cells = [
                aim.name.clone(),
                format!("{} {unit}", rate(aim.measured)),
                format!("{} {unit}", rate(aim.aim)),
                format!("{:.2}", aim.measured / aim.aim),
            ];
            line(&mut out, &cells);
        }
        out
    }
}

fn rate(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn line(out: &mut String, cells: &[String]) {
    writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_operation_or_a_missed_gate_fails_the_run() {
        let row = |failed| Row {
            name: "S3 PUT".into(),
            workers: 1,
            summary: Summary { ops: 1, failed, bytes: 1 << 30, ..Summary::default() },
            usage: Usage { cpu_seconds: 2.0, bytes_written: 3 << 30, rss_peak_bytes: 0 },
        };
        let gate = |passed| Gate { name: "g".into(), measured: 0.1, least: 0.2, passed };
        let report =
            |failed, passed| Report { rows: vec![row(failed)], gates: vec![gate(passed)], ..Report::default() };
        assert!(report(0, true).passed());
        assert!(!report(1, true).passed());
        assert!(!report(0, false).passed());
        let table = report(0, true).markdown();
        assert!(table.contains("| S3 PUT | 1 | 0.00 | 0.00 | 0.00 | 0.00 | 0 | 2000.00 | 2.00 | 3.00 |"), "{table}");
    }
}
