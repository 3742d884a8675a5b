//! Bounds that the kernel keeps for a process: processor time and memory, by control groups of either version.
//!
//! ```text
//!             processor                                          memory
//! version 1   /sys/fs/cgroup/cpu/NAME: cpu.cfs_quota_us          /sys/fs/cgroup/memory/NAME: memory.limit_in_bytes, memory.oom_control
//! version 2   /sys/fs/cgroup/NAME: cpu.max                       /sys/fs/cgroup/NAME: memory.max, memory.events
//! ```
//! A process that goes over its memory is killed by the kernel, as on a machine that has no more: it gets no word and leaves nothing in order.
//! What a killed run left behind is removed by the next one.

use crate::until;
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup";
/// Names of ours begin so; the process id follows.
const MARK: &str = "sago-test.";
/// The period of the processor's quota in microseconds, and that of the kernel's own default.
const PERIOD: u64 = 100_000;
/// Longest time until the kernel lets go of a group whose processes have ended.
const LET_GO_MAX: Duration = Duration::from_secs(5);

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounded {
    /// Processor time.
    Processor,
    /// Memory.
    Memory,
}

/// A control group of one process. Dropping it gives the process back to where control groups begin.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroup {
    /// A new group without a bound and without processes.
    ///
    /// # Errors
    /// This machine has no control groups for that, or this process may not make any; the text says so for people.
    pub fn new(bounded: Bounded) -> anyhow::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (parent, version) = parent(bounded).context("no control groups for that here: /sys/fs/cgroup")?;
        clear_leftovers(&parent);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{MARK}{}.{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}: not root?", folder.display()))?;
        let group = Cgroup { folder, version };
        let setting = group.folder.join(group.limit_of(bounded));
        ensure!(setting.exists(), "{} is missing: the controller is not handed down", setting.display());
        Ok(group)
    }

    fn limit_of(&self, bounded: Bounded) -> &'static str {
        match (self.version, bounded) {
            (Version::One, Bounded::Processor) => "cpu.cfs_quota_us",
            (Version::One, Bounded::Memory) => "memory.limit_in_bytes",
            (Version::Two, Bounded::Processor) => "cpu.max",
            (Version::Two, Bounded::Memory) => "memory.max",
        }
    }

    /// Takes a process in with all its threads. Memory that it has already stays on the account of where it came from, so that goes before it
    /// needs much.
    ///
    /// # Errors
    /// It is gone.
    pub fn add(&self, pid: u32) -> anyhow::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// So many percent of one processor, from now on.
    ///
    /// # Errors
    /// The group does not bound processor time.
    pub fn set_processor(&self, percent: u64) -> anyhow::Result<()> {
        let quota = PERIOD * percent / 100;
        match self.version {
            Version::One => {
                self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                self.write("cpu.cfs_quota_us", &quota.to_string())
            }
            Version::Two => self.write("cpu.max", &format!("{quota} {PERIOD}")),
        }
    }

    /// So many bytes of memory from now on, page cache included, and no swap; none = as much as there is.
    ///
    /// # Errors
    /// More than that is used already and cannot be given back.
    pub fn set_memory(&self, bytes: Option<u64>) -> anyhow::Result<()> {
        if self.version == Version::Two {
            let swap = self.folder.join("memory.swap.max");
            if swap.exists() {
                fs::write(swap, "0")?;
            }
            return self.write("memory.max", &bytes.map_or("max".to_owned(), |bytes| bytes.to_string()));
        }
        let value = bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
        // Memory with swap must never be less than memory alone, so the order depends on the direction.
        let swap = self.folder.join("memory.memsw.limit_in_bytes");
        if bytes.is_none() && swap.exists() {
            fs::write(&swap, &value)?;
        }
        self.write("memory.limit_in_bytes", &value)?;
        if bytes.is_some() && swap.exists() {
            fs::write(&swap, &value)?;
        }
        Ok(())
    }

    /// Bytes of memory that its processes hold and cannot give back: all that is on its account but the page cache.
    ///
    /// # Errors
    /// The group does not count memory.
    pub fn held_bytes(&self) -> anyhow::Result<u64> {
        let (usage, prefix) = match self.version {
            Version::One => ("memory.usage_in_bytes", "total_"),
            Version::Two => ("memory.current", ""),
        };
        let used: u64 = fs::read_to_string(self.folder.join(usage))?.trim().parse()?;
        let cached = ["active_file", "inactive_file"]
            .into_iter()
            .try_fold(0, |sum, kind| self.field("memory.stat", &format!("{prefix}{kind}")).map(|bytes| sum + bytes));
        Ok(used.saturating_sub(cached?))
    }

    /// How often the kernel killed one of its processes because memory was used up.
    ///
    /// # Errors
    /// The group does not count memory.
    pub fn kills(&self) -> anyhow::Result<u64> {
        let file = if self.version == Version::One { "memory.oom_control" } else { "memory.events" };
        self.field(file, "oom_kill")
    }

    fn write(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, value).with_context(|| format!("{value} to {}", path.display()))
    }

    fn field(&self, file: &str, name: &str) -> anyhow::Result<u64> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {name} in {}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let parent = self.folder.parent().unwrap_or(Path::new(ROOT)).join("cgroup.procs");
        let gone = until("a control group is empty", LET_GO_MAX, || {
            let left = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
            // One that ends meanwhile needs no place.
            left.lines().for_each(|pid| drop(fs::write(&parent, pid)));
            fs::remove_dir(&self.folder).is_ok()
        });
        if let Err(error) = gone {
            eprintln!("harness: {} stays: {error}", self.folder.display());
        }
    }
}

/// Where groups of a kind are made.
fn parent(bounded: Bounded) -> Option<(PathBuf, Version)> {
    let (controller, setting) = match bounded {
        Bounded::Processor => ("cpu", "cpu.cfs_quota_us"),
        Bounded::Memory => ("memory", "memory.limit_in_bytes"),
    };
    let root = Path::new(ROOT);
    let one = root.join(controller);
    if one.join(setting).exists() {
        return Some((one, Version::One));
    }
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    if !controllers.split_whitespace().any(|name| name == controller) {
        return None;
    }
    // It may be handed down already; if it cannot be, the group's own file will be missing.
    let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    Some((root.to_owned(), Version::Two))
}

/// Removes groups of runs that were killed; one that has processes stays.
fn clear_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(MARK)?.split('.').next()?.parse::<u32>().ok());
        if id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn group(bounded: Bounded) -> Option<Cgroup> {
        match Cgroup::new(bounded) {
            Ok(group) => Some(group),
            Err(error) => {
                crate::skip(&format!("{error:#}"));
                None
            }
        }
    }

    #[test]
    fn a_process_that_needs_more_memory_than_it_may_have_is_killed() {
        let Some(group) = group(Bounded::Memory) else { return };
        group.set_memory(Some(32 << 20)).expect("a bound");
        // Waits for its place in the group, then holds 128 MiB.
        let script = "read go; head -c 134217728 /dev/zero | tail -c 134217727 > /dev/null; exit $?";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sh is everywhere");
        group.add(child.id()).expect("it waits");
        drop(child.stdin.take());
        assert!(!child.wait().expect("it ends").success(), "it had 128 MiB");
        assert!(group.kills().expect("counted") > 0);
        group.set_memory(None).expect("no bound");
    }

    #[test]
    fn a_process_gets_the_share_of_a_processor_that_it_is_given() {
        let Some(group) = group(Bounded::Processor) else { return };
        group.set_processor(5).expect("a bound");
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh is everywhere");
        group.add(child.id()).expect("it runs");
        let ticks = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
            let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
            fields[11].parse::<u64>().expect("ticks")
        };
        let before = ticks(child.id());
        crate::schedule(std::time::Instant::now() + Duration::from_secs(2));
        let used = ticks(child.id()) - before;
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        // Two hundred hundredths of a second have passed.
        assert!(used <= 40, "{used} hundredths of two seconds");
    }
}
