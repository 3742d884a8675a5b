//! What the cases run on: a mount made for them over a cluster in memory, or one that is there already.

use anyhow::{Context, ensure};
use cluster_client::Cluster;
use harness::memory_cluster::MemoryCluster;
use mount::{MountConfig, MountHandle, mount};
use mount_fs::FsConfig;
use proto::control::{ControlCommand, ControlOutcome};
use proto::meta::Command;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The name of the bucket that the tests mount.
pub const BUCKET: &str = "posix-tests";

/// A mount over a cluster in memory, in this process. Unmounted when dropped.
pub struct MemoryMount {
    handle: Option<MountHandle>,
    runtime: Arc<Runtime>,
    cluster: Arc<MemoryCluster>,
    dir: TempDir,
}

impl MemoryMount {
    /// Makes a cluster with one bucket and mounts it.
    ///
    /// # Errors
    /// FUSE is not there or not allowed; the message says what is needed.
    pub fn new(fs: FsConfig) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
        let runtime = Arc::new(runtime);
        let cluster = MemoryCluster::new(1);
        runtime.block_on(make_bucket(&*cluster))?;
        Self::over(runtime, cluster, fs)
    }

    /// Another mount of the same bucket, as on another machine.
    ///
    /// # Errors
    /// As [`MemoryMount::new`].
    pub fn another(&self, fs: FsConfig) -> anyhow::Result<Self> {
        Self::over(self.runtime.clone(), self.cluster.clone(), fs)
    }

    fn over(runtime: Arc<Runtime>, cluster: Arc<MemoryCluster>, fs: FsConfig) -> anyhow::Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "these tests mount a file system: run them as root");
        let dir = tempfile::tempdir().context("a mount point")?;
        let config = MountConfig { fs, ..MountConfig::new(BUCKET, dir.path()) };
        let handle = runtime.block_on(mount(cluster.clone(), config)).context("mounting")?;
        Ok(MemoryMount { handle: Some(handle), runtime, cluster, dir })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The cluster behind it.
    #[must_use]
    pub fn cluster(&self) -> &Arc<MemoryCluster> {
        &self.cluster
    }

    /// The runtime that serves it.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The mount itself.
    ///
    /// # Panics
    /// It was unmounted.
    pub fn handle(&mut self) -> &mut MountHandle {
        self.handle.as_mut().expect("mounted")
    }

    /// Unmounts in order.
    ///
    /// # Errors
    /// The mount is in use, or the kernel refuses.
    pub fn unmount(&mut self) -> anyhow::Result<()> {
        let Some(handle) = self.handle.take() else { return Ok(()) };
        Ok(self.runtime.block_on(handle.unmount())?)
    }
}

impl Drop for MemoryMount {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("unmounting: {error:#}");
        }
    }
}

/// Makes the bucket that the tests mount.
///
/// # Errors
/// The cluster refuses.
pub async fn make_bucket(cluster: &dyn Cluster) -> anyhow::Result<()> {
    cluster.control(ControlCommand::CreateUser { name: "tests".to_owned() }).await??;
    let create = ControlCommand::CreateBucket {
        name: BUCKET.to_owned(),
        owner: "tests".to_owned(),
        nonce: 1,
        rule: Default::default(),
    };
    let ControlOutcome::Bucket(bucket) = cluster.control(create).await?? else { anyhow::bail!("no bucket") };
    cluster.command(bucket.group, Command::EnsureBucket { bucket: bucket.id }).await??;
    Ok(())
}

/// Where cases run.
pub enum Target {
    /// A mount that is there: `SAGO_TEST_MOUNT`.
    Given(PathBuf),
    /// One made for the purpose.
    Memory(Box<MemoryMount>),
}

impl Target {
    /// The mount named by `SAGO_TEST_MOUNT`, or a new one over a cluster in memory.
    ///
    /// # Errors
    /// As [`MemoryMount::new`].
    pub fn obtain() -> anyhow::Result<Self> {
        match std::env::var_os("SAGO_TEST_MOUNT") {
            Some(path) => Ok(Target::Given(path.into())),
            None => Ok(Target::Memory(Box::new(MemoryMount::new(FsConfig::default())?))),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Target::Given(path) => path,
            Target::Memory(mount) => mount.path(),
        }
    }
}

/// Runs a case in a new directory of a [`Target`], which is removed when the case has passed.
///
/// # Panics
/// The case fails, or there is no mount.
pub fn blocking_case(case: crate::Case) {
    let target = Target::obtain().unwrap_or_else(|error| panic!("no mount to test: {error:#}"));
    let root = tempfile::Builder::new().prefix("posix-").tempdir_in(target.path()).expect("a directory in the mount");
    case(root.path());
    root.close().expect("the directory can be removed");
}
