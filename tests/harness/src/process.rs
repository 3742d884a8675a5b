//! Processes of others, by their id.

use crate::until;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// Longest time between SIGKILL and the end of a process: a process inside a flush ends with it.
const END_MAX: Duration = Duration::from_secs(30);

/// Sends a signal; a process that is gone is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether any thread of the process still runs. One that ended and was not reaped yet does not. The first thread may have ended long before
/// one that is inside a flush, and files and ports are let go by the last.
pub fn runs(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default()).any(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}

/// Waits until all of them have ended.
///
/// # Errors
/// One is still there after half a minute.
pub fn ended(pids: &[u32]) -> anyhow::Result<()> {
    until(&format!("processes {pids:?} end"), END_MAX, || pids.iter().all(|pid| !runs(*pid))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_process_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is everywhere");
        assert!(runs(child.id()));
        send(child.id(), Signal::KILL);
        ended(&[child.id()]).expect("it ends");
        child.wait().expect("it is ours");
    }
}
