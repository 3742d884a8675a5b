//! What the servers spend: CPU, bytes written, memory, read from /proc before and after.

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The unit of CPU time in /proc (USER_HZ): part of the kernel's interface, 100 on every machine we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// One server process.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// `node 1`, `gateway`, `mount`.
    pub name: String,
}

/// What a process has spent since it started.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// CPU seconds, user and system.
    pub cpu_seconds: f64,
    /// Bytes it caused to be written to storage.
    pub bytes_written: u64,
    /// Highest resident memory so far.
    pub rss_peak_bytes: u64,
}

/// Processor time of the calling thread so far: what is its own on a machine that others use too.
#[must_use]
pub fn thread_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// The usage of several processes at one moment; a process that is gone counts with what it had.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(BTreeMap<u32, Usage>);

impl Snapshot {
    /// Reads them all.
    #[must_use]
    pub fn take(processes: &[Process]) -> Self {
        Self(processes.iter().filter_map(|process| Some((process.pid, read(process.pid)?))).collect())
    }

    /// What was spent between `before` and this; peaks are of now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Usage {
        let mut total = Usage::default();
        for (pid, now) in &self.0 {
            let then = before.0.get(pid).copied().unwrap_or_default();
            total.cpu_seconds += (now.cpu_seconds - then.cpu_seconds).max(0.0);
            total.bytes_written += now.bytes_written.saturating_sub(then.bytes_written);
            total.rss_peak_bytes = total.rss_peak_bytes.max(now.rss_peak_bytes);
        }
        total
    }

    /// Highest resident memory of one process.
    #[must_use]
    pub fn rss_peak_bytes(&self, pid: u32) -> u64 {
        self.0.get(&pid).map_or(0, |usage| usage.rss_peak_bytes)
    }
}

/// Forgets the peaks so far, so that the next ones are of what comes. Without the right to do so the old ones stay.
pub fn reset_peaks(processes: &[Process]) {
    for process in processes {
        let _ = fs::write(format!("/proc/{}/clear_refs", process.pid), "5");
    }
}

/// The fields of /proc/PID/stat behind the name (which may hold spaces and brackets): state, parent, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn read(pid: u32) -> Option<Usage> {
    let stat = stat(pid)?;
    let ticks = |at: usize| stat.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap_or_default();
        line.split_whitespace().next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    Some(Usage {
        cpu_seconds: (ticks(11) + ticks(12)) as f64 / TICKS_PER_SECOND,
        bytes_written: field("io", "write_bytes:"),
        rss_peak_bytes: field("status", "VmHWM:") * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_usage_is_read() {
        let me = Process { pid: std::process::id(), name: "me".into() };
        let before = Snapshot::take(std::slice::from_ref(&me));
        let mut sum = 0_u64;
        while Snapshot::take(std::slice::from_ref(&me)).since(&before).cpu_seconds < 0.02 {
            sum = (0..100_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert!(before.rss_peak_bytes(me.pid) > 0, "{sum}");
    }
}
