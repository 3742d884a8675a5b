//! Answering a request from a task: with the result, with EIO at the deadline, with EIO after a panic.

use crate::errno::{errno, is_failure};
use fuser::{Errno, Request};
use mount_fs::{FsError, MountFs};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument;

/// Added to the file system's own deadline: it stops retrying at that, and its last call may take as long as `Cluster` waits.
const GRACE: Duration = Duration::from_secs(15);

/// Runs requests on tokio.
#[derive(Clone)]
pub(crate) struct Answerer {
    pub(crate) fs: Arc<MountFs>,
    runtime: Handle,
    limit: Duration,
}

/// What to do with a result that comes after the request was answered with EIO.
pub(crate) type Abandon<T> = fn(Arc<MountFs>, T);

/// Nothing is left behind by it.
pub(crate) fn nothing<T>(_: Arc<MountFs>, _: T) {}

impl Answerer {
    pub(crate) fn new(fs: Arc<MountFs>, runtime: Handle) -> Self {
        let limit = fs.config().deadline + GRACE;
        Answerer { fs, runtime, limit }
    }

    /// Runs `work` and hands its result to `done`, which replies. At the deadline `done` gets EIO; the work then goes on alone (the
    /// kernel must not wait for it, and what it changes must not be left half done) and its result goes to `abandon`.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        op: &'static str,
        request: &Request,
        work: impl Future<Output = Result<T, FsError>> + Send + 'static,
        abandon: Abandon<T>,
        done: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        let span = tracing::debug_span!("fuse", op, req = request.unique().0, pid = request.pid());
        let (limit, fs) = (self.limit, self.fs.clone());
        let task = async move {
            let mut work = std::pin::pin!(work);
            match timeout(limit, &mut work).await {
                Ok(result) => done(result.map_err(|error| logged(op, &error))),
                Err(_) => {
                    tracing::error!(op, seconds = limit.as_secs(), "no answer within the deadline");
                    done(Err(Errno::EIO));
                    if let Ok(late) = work.await {
                        abandon(fs, late);
                    }
                }
            }
        };
        let mut task = Box::pin(task.instrument(span));
        // The first step runs here: what is in a cache is answered, and a call to the cluster is on its way, without waking another
        // thread. Polled again by the runtime, the task tells whom to wake.
        let _runtime = self.runtime.enter();
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.runtime.spawn(task);
        }
    }
}

/// The number of an error; what the cluster is to blame for is logged.
pub(crate) fn logged(op: &'static str, error: &FsError) -> Errno {
    if is_failure(error) {
        tracing::warn!(op, %error, "operation failed");
    }
    errno(error)
}

/// Runs a callback. A panic must not end fuser's thread; the dropped reply answers EIO.
pub(crate) fn guarded(op: &'static str, callback: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!(op, "a callback panicked");
    }
}
