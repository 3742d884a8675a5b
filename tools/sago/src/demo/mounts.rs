//! Mounts whose process is gone, or that did not go away when it was told to.

use crate::exit::{Done, Failure, Kind};
use rustix::mount::{UnmountFlags, unmount};
use std::path::Path;
use std::process::{Command, Stdio};

/// Mounts may lie over each other.
const LAYERS_MAX: usize = 8;

/// Takes away whatever FUSE file system is mounted at `path`. Does nothing if there is none.
///
/// # Errors
/// It cannot be taken away.
pub fn clear(path: &Path) -> Done {
    for _ in 0..LAYERS_MAX {
        if !is_mounted(path)? {
            return Ok(());
        }
        detach(path)?;
    }
    Err(Failure::new(Kind::Failed, format!("{} cannot be unmounted", path.display())))
}

/// Lazily: files that are still open there do not hold it up. Without the right to unmount, FUSE's own helper does it.
fn detach(path: &Path) -> Done {
    let Err(error) = unmount(path, UnmountFlags::DETACH) else { return Ok(()) };
    for helper in ["fusermount3", "fusermount"] {
        let run =
            Command::new(helper).args(["-u", "-z"]).arg(path).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if run.is_ok_and(|status| status.success()) {
            return Ok(());
        }
    }
    Err(Failure::new(Kind::Failed, format!("{} cannot be unmounted: {error}", path.display())))
}

/// Whether a FUSE file system is mounted at `path`, alive or not.
///
/// # Errors
/// The kernel's list of mounts cannot be read.
pub fn is_mounted(path: &Path) -> Done<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| fuse_mount(line).is_some_and(|at| Path::new(&at) == path)))
}

/// The mount point of a line of `mountinfo` if it is of FUSE. See proc(5).
fn fuse_mount(line: &str) -> Option<String> {
    let (before, after) = line.split_once(" - ")?;
    let kind = after.split(' ').next()?;
    let fuse = kind == "fuse" || kind.starts_with("fuse.");
    fuse.then(|| before.split(' ').nth(4).map(unescaped)).flatten()
}

/// Space, tab, newline and backslash stand there as three octal digits.
fn unescaped(text: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_of_fuse_are_found() {
        let line = r"36 35 0:52 / /mnt/my\040books rw,nosuid,nodev shared:1 - fuse.sago sago rw,user_id=0";
        assert_eq!(fuse_mount(line).as_deref(), Some("/mnt/my books"));
        assert_eq!(fuse_mount("36 35 98:0 /a /mnt2 rw,noatime master:1 - ext3 /dev/root rw"), None);
        assert_eq!(fuse_mount("36 35 0:22 / /sys/fs/fuse/connections rw - fusectl fusectl rw"), None);
        assert_eq!(fuse_mount("nonsense"), None);
    }

    #[test]
    fn a_plain_folder_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(clear(folder.path()).is_ok());
        assert!(folder.path().exists());
    }
}
