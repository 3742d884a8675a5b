//! The place where a mount appears: is it fit, and how it is given back.

use crate::MountError;
use rustix::mount::{UnmountFlags, unmount};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks that FUSE is there and that `path` is an empty directory with nothing mounted on it; returns its absolute path.
pub(crate) fn check(path: &Path, clear_stale: bool) -> Result<PathBuf, MountError> {
    check_device()?;
    let wrong = |source: io::Error| match source.raw_os_error() {
        Some(libc::ENOENT) => MountError::Missing(path.to_owned()),
        Some(libc::ENOTDIR) => MountError::NotDirectory(path.to_owned()),
        Some(libc::ENOTCONN) => MountError::Stale(path.to_owned()),
        _ => MountError::Mountpoint { path: path.to_owned(), source },
    };
    let meta = match fs::metadata(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) && clear_stale => {
            tracing::warn!(?path, "clearing a dead mount");
            detach(path, true).map_err(wrong)?;
            fs::metadata(path)
        }
        meta => meta,
    };
    if !meta.map_err(wrong)?.is_dir() {
        return Err(MountError::NotDirectory(path.to_owned()));
    }
    let absolute = fs::canonicalize(path).map_err(wrong)?;
    if is_mountpoint(&absolute).map_err(wrong)? {
        return Err(MountError::AlreadyMounted(path.to_owned()));
    }
    if fs::read_dir(&absolute).map_err(wrong)?.next().is_some() {
        return Err(MountError::NotEmpty(path.to_owned()));
    }
    Ok(absolute)
}

fn check_device() -> Result<(), MountError> {
    match fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {
            Err(MountError::NoFuse)
        }
        Err(error) => Err(MountError::FuseDenied(error)),
    }
}

/// Whether a directory lies on another file system than the one above it.
fn is_mountpoint(absolute: &Path) -> io::Result<bool> {
    let Some(above) = absolute.parent() else { return Ok(true) };
    Ok(fs::metadata(absolute)?.dev() != fs::metadata(above)?.dev())
}

/// Unmounts; `lazy` also while files are open. Users other than root need the helper of the package `fuse3`.
pub(crate) fn detach(path: &Path, lazy: bool) -> io::Result<()> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match unmount(path, flags) {
        Err(rustix::io::Errno::PERM) => detach_by_fusermount(path, lazy),
        done => Ok(done?),
    }
}

fn detach_by_fusermount(path: &Path, lazy: bool) -> io::Result<()> {
    let mut helper = Command::new("fusermount3");
    helper.arg("-u").args(lazy.then_some("-z")).arg("--").arg(path);
    let output = helper.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let busy = said.contains("busy");
    Err(if busy { io::Error::from_raw_os_error(libc::EBUSY) } else { io::Error::other(said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_mounted_on_is_refused_with_its_reason() {
        if check_device().is_err() {
            panic!("these tests need /dev/fuse and the right to open it");
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let check = |name: &str| check(&dir.path().join(name), false);
        assert!(matches!(check("none"), Err(MountError::Missing(_))));
        fs::write(dir.path().join("file"), b"x").expect("write");
        assert!(matches!(check("file"), Err(MountError::NotDirectory(_))));
        assert!(matches!(check("file/below"), Err(MountError::NotDirectory(_))));
        assert!(matches!(check(""), Err(MountError::NotEmpty(_))));
        assert!(matches!(super::check(Path::new("/proc"), false), Err(MountError::AlreadyMounted(_))));
        fs::create_dir(dir.path().join("empty")).expect("mkdir");
        assert!(check("empty").is_ok());
    }
}
