//! How one protection is broken off, by whichever of its parts finds that it has to be.

use super::source::SourceFault;
use crate::error::ClusterError;
use crate::lcp::Fault;
use parking_lot::Mutex;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often one read or write is tried. With the pauses between them this takes some six seconds: a change of leader, not an outage.
const ATTEMPTS_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Why a protection came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The claim is another's.
    Lost,
    /// The gateway goes.
    Shutdown,
    /// The source is another one by now, or gone.
    Changed,
    /// Cluster or key service did not do their part.
    PutOff(String),
    /// The book.
    Refused(Fault, String),
}

/// A part of the work was broken off; [`Stop::cause`] says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken off")]
pub(super) struct Stopped;

/// What the parts of one protection share: the task that keeps the claim, the thread that encrypts, the upload.
#[derive(Default)]
pub(super) struct Stop {
    token: CancellationToken,
    cause: Mutex<Option<Cause>>,
}

impl Stop {
    /// Breaks the work off. The first cause counts.
    pub(super) fn because(&self, cause: Cause) -> Stopped {
        self.cause.lock().get_or_insert(cause);
        self.token.cancel();
        Stopped
    }

    /// Why the work was broken off, if it was.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause.lock().clone()
    }

    /// Breaks the work off when it is dropped.
    pub(super) fn guard(&self) -> DropGuard {
        self.token.clone().drop_guard()
    }

    /// Makes something happen that the cluster may be too busy for at the moment; what fails for good breaks all of the work off.
    pub(super) async fn patiently<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Stopped>
    where
        F: Future<Output = Result<T, SourceFault>>,
    {
        match self.token.run_until_cancelled(again(attempt)).await {
            Some(Ok(done)) => Ok(done),
            Some(Err(SourceFault::Changed)) => Err(self.because(Cause::Changed)),
            Some(Err(SourceFault::Cluster(error))) => Err(self.because(Cause::PutOff(error.to_string()))),
            None => Err(Stopped),
        }
    }
}

async fn again<T, F>(attempt: impl Fn() -> F) -> Result<T, SourceFault>
where
    F: Future<Output = Result<T, SourceFault>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(SourceFault::Cluster(ClusterError::Unavailable | ClusterError::Busy)) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}
