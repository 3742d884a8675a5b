//! The life of a mount: from the checks to the unmount, whoever asks for it.

use crate::adapter::Adapter;
use crate::answer::Answerer;
use crate::{MountConfig, MountError, kernel, mountpoint};
use fuser::{Config, MountOption, Session, SessionACL};
use mount_fs::{Cluster, MountFs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long an unmount waits for the kernel to let go.
const UNMOUNT_WAIT: Duration = Duration::from_secs(10);

/// A mount that is up. Dropping it detaches the mount without waiting; [`MountHandle::unmount`] does it in order.
#[derive(Debug)]
pub struct MountHandle {
    mountpoint: PathBuf,
    fs: Shared,
    ended: watch::Receiver<bool>,
    /// The path is free already.
    detached: bool,
}

/// Keeps `MountFs` out of the derived `Debug`.
struct Shared(Arc<MountFs>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MountFs")
    }
}

/// Mounts a bucket. Must be called inside a multi-threaded tokio runtime, which then runs the mount's work until it ends.
///
/// When this returns, programs can use the mount. Signals are the caller's business.
///
/// # Errors
/// [`MountError`], whose message says what to do. Nothing stays mounted.
pub async fn mount(cluster: Arc<dyn Cluster>, config: MountConfig) -> Result<MountHandle, MountError> {
    let (place, clear_stale) = (config.mountpoint.clone(), config.clear_stale);
    let place = blocking(move || mountpoint::check(&place, clear_stale)).await?;
    let fs = MountFs::open_bucket(cluster, &config.bucket, config.fs.clone()).await?;
    let adapter = Adapter::new(Answerer::new(fs.clone(), Handle::current()));
    let (ended_sender, ended) = watch::channel(false);
    let mountpoint = place.clone();
    blocking(move || {
        let session = Session::new(adapter, &place, &options(&config)).map_err(MountError::Refused)?;
        run_in_thread(session, &place, ended_sender)?;
        if config.kernel_readahead_kib > 0 {
            kernel::raise_readahead(&place, config.kernel_readahead_kib);
        }
        Ok(())
    })
    .await?;
    tracing::info!(?mountpoint, "mounted");
    Ok(MountHandle { mountpoint, fs: Shared(fs), ended, detached: false })
}

/// Runs what may block, the kernel's calls of a mount above all: they are answered by the runtime that would be blocked.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MountError> + Send + 'static,
) -> Result<T, MountError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => Err(MountError::Refused(io::Error::other(panicked))),
    }
}

fn options(config: &MountConfig) -> Config {
    let mut options = Config::default();
    options.mount_options = vec![
        MountOption::FSName(config.bucket.clone()),
        MountOption::Subtype("sago".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoDev,
        MountOption::NoSuid,
        if config.read_only { MountOption::RO } else { MountOption::RW },
    ];
    let all = config.allow_other.unwrap_or_else(|| rustix::process::geteuid().is_root());
    options.acl = if all { SessionACL::All } else { SessionACL::Owner };
    options.n_threads = Some(config.thread_count());
    options.clone_fd = true;
    options
}

/// Serves the kernel's requests until the mount is gone, then says so.
fn run_in_thread(session: Session<Adapter>, place: &Path, ended: watch::Sender<bool>) -> Result<(), MountError> {
    let place = place.to_owned();
    let serve = move || {
        match session.run() {
            Ok(()) => tracing::info!(mountpoint = ?place, "unmounted"),
            Err(error) => tracing::error!(mountpoint = ?place, %error, "the mount has ended"),
        }
        ended.send_replace(true);
    };
    let thread = std::thread::Builder::new().name("sago-mount".to_owned()).spawn(serve);
    thread.map(drop).map_err(MountError::Refused)
}

impl MountHandle {
    /// Where it is mounted, absolute.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The file system behind it, for figures.
    #[must_use]
    pub fn fs(&self) -> &Arc<MountFs> {
        &self.fs.0
    }

    /// Waits until the mount is gone, for example because somebody called umount.
    pub async fn ended(&mut self) {
        // The sender is dropped only after it has said so, or when its thread panicked: the mount is gone either way.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Makes everything durable that was written, and unmounts. A mount that is in use is detached: its files stay usable while
    /// this process lives, and the path is free.
    ///
    /// # Errors
    /// [`MountError::Busy`] when it was detached in use; call again only to wait for it. [`MountError::Unmount`].
    pub async fn unmount(mut self) -> Result<(), MountError> {
        self.fs.0.flush_all().await;
        let path = self.mountpoint.clone();
        let already_gone = *self.ended.borrow();
        let lazily = if already_gone { false } else { blocking(move || detach_now(&path)).await? };
        self.detached = true;
        let ended = timeout(UNMOUNT_WAIT, self.ended()).await.is_ok();
        self.fs.0.flush_all().await;
        if ended || !lazily { Ok(()) } else { Err(MountError::Busy(self.mountpoint.clone())) }
    }
}

/// Unmounts, lazily if it must be; true if it had to be.
fn detach_now(path: &Path) -> Result<bool, MountError> {
    let failed = |source| MountError::Unmount { path: path.to_owned(), source };
    match mountpoint::detach(path, false) {
        Ok(()) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            tracing::warn!(?path, "files are in use; detaching");
            mountpoint::detach(path, true).map_err(failed)?;
            Ok(true)
        }
        // Not mounted any more.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

impl Drop for MountHandle {
    fn drop(&mut self) {
        if !self.detached
            && !*self.ended.borrow()
            && let Err(error) = mountpoint::detach(&self.mountpoint, true)
        {
            tracing::debug!(mountpoint = ?self.mountpoint, %error, "detaching");
        }
    }
}
