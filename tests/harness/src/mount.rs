//! A mount of a cluster's bucket beside the demo's own: another machine, or one that dies.

use crate::cluster::is_mounted;
use crate::{Cluster, process, until};
use anyhow::{Context, ensure};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longest start of a mount.
const MOUNTED_MAX: Duration = Duration::from_secs(60);
/// Longest orderly end.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A `sago mount` of its own. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    child: Child,
    dir: PathBuf,
}

impl Mount {
    /// Mounts the demo's bucket at a folder of this name, and waits until it is mounted. What a killed mount left there is cleared.
    ///
    /// # Errors
    /// It is not mounted in time; the error carries the last words of its log.
    pub fn start(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let dir = cluster.folder().join(name);
        // One that a killed mount left cannot even be looked at, and is there.
        let _ = fs::create_dir(&dir);
        let target = cluster.target();
        let config = target.config.as_ref().context("sago demo told no config")?;
        let log = cluster.log(name)?;
        let mut command = cluster.command();
        command.args(["mount", &target.bucket]).arg(&dir).arg("--config").arg(config).arg("--clear-stale");
        command.args(["--with-parent", &std::process::id().to_string()]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut mount = Mount { child, dir };
        let mounted = until("a second mount is there", MOUNTED_MAX, || {
            mount.is_there() || matches!(mount.child.try_wait(), Ok(Some(_)))
        });
        mounted.with_context(|| cluster.last_words())?;
        ensure!(mount.is_there(), "sago mount has ended\n{}", cluster.last_words());
        Ok(mount)
    }

    /// Mounted by the process that runs: a stale one cannot be looked at.
    fn is_there(&self) -> bool {
        is_mounted(&self.dir) && fs::metadata(&self.dir).is_ok()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// SIGKILL, in the middle of whatever it does; returns when it is gone.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        process::send(self.child.id(), Signal::KILL);
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process::send(self.child.id(), Signal::TERM);
            let ended = until("a mount ends", STOP_MAX, || !matches!(self.child.try_wait(), Ok(None)));
            if ended.is_err() {
                process::send(self.child.id(), Signal::KILL);
            }
            let _ = self.child.wait();
        }
        if is_mounted(&self.dir) {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}
