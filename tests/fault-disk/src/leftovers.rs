//! What a killed test run leaves in the kernel: mounts and loop devices. They carry the mark of the process that made them.

use crate::mounted::release;
use rustix::mount::{UnmountFlags, unmount};
use std::path::{Path, PathBuf};

/// What the source of our FUSE mounts begins with; the process id and its start follow.
const MARK: &str = "sago-fault-disk:";

/// A line of /proc/self/mounts.
struct Mount {
    source: String,
    target: PathBuf,
}

/// Unmounts and detaches what processes that have ended left behind. What cannot be cleared is told and left.
pub fn clear_leftovers() {
    let mounts = mounts();
    for device in mounts.iter().filter(|mount| is_stale(&mount.source)) {
        let loops = loops_over(&device.target);
        let above = mounts.iter().filter(|mount| loops.iter().any(|path| *path == Path::new(&mount.source)));
        for target in above.map(|mount| &mount.target).chain([&device.target]) {
            if let Err(error) = unmount(target, UnmountFlags::DETACH) {
                eprintln!("fault-disk: {} of an earlier run stays: {error}", target.display());
            }
        }
        for path in loops {
            // It goes with its last user, if not now.
            if let Err(error) = release(&path) {
                eprintln!("fault-disk: {} of an earlier run stays: {error:#}", path.display());
            }
        }
    }
}

/// The mark of this process.
pub(crate) fn own_mark() -> String {
    let id = std::process::id();
    format!("{MARK}{id}:{}", started(id).unwrap_or_default())
}

/// Whether a source is one of ours whose process has ended.
fn is_stale(source: &str) -> bool {
    let Some((id, start)) = source.strip_prefix(MARK).and_then(|rest| rest.split_once(':')) else { return false };
    id.parse().is_ok_and(|id| started(id).as_deref() != Some(start))
}

/// When a process was started, in ticks since the boot: with the id, a name that is never given twice.
fn started(id: u32) -> Option<String> {
    const START_FIELD: usize = 19;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(START_FIELD).map(str::to_owned)
}

/// The file under a loop device; none if it is free.
pub(crate) fn backing(device: &Path) -> Option<PathBuf> {
    let name = device.file_name()?.to_str()?;
    let file = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    Some(PathBuf::from(file.trim_end().trim_end_matches(" (deleted)")))
}

/// Loop devices over files below a folder.
fn loops_over(folder: &Path) -> Vec<PathBuf> {
    let blocks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let devices = blocks.map(|entry| Path::new("/dev").join(entry.file_name()));
    devices.filter(|device| backing(device).is_some_and(|file| file.starts_with(folder))).collect()
}

fn mounts() -> Vec<Mount> {
    let text = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let (source, target) = (fields.next()?.to_owned(), fields.next()?.replace("\\040", " ").into());
        Some(Mount { source, target })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_of_ended_processes_are_stale() {
        assert!(!is_stale(&own_mark()));
        assert!(!is_stale("/dev/loop0") && !is_stale("sago"));
        // Our id, another start: the id was given again.
        assert!(is_stale(&format!("{MARK}{}:1", std::process::id())));
        assert!(is_stale(&format!("{MARK}4194304999:1")) || is_stale(&format!("{MARK}4194303:1")));
    }
}
