//! A byte budget shared by all requests of a process.

use crate::error::ClusterError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit: fine enough for small objects, coarse enough for the semaphore's 32-bit counts.
const UNIT_BYTES: usize = 1024;

/// Hands out shares of a fixed number of bytes, first come first served. A share comes back when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    wait: Duration,
}

/// A share of a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Budget {
    pub(crate) fn new(bytes: usize, wait: Duration) -> Self {
        Budget { permits: Arc::new(Semaphore::new(bytes / UNIT_BYTES)), wait }
    }

    /// Waits for a share of `bytes`. A caller that holds a share may ask for another only while the first comes back
    /// without its help, or two such callers could wait for each other.
    ///
    /// # Errors
    /// [`ClusterError::Busy`] after the configured wait.
    pub(crate) async fn take(&self, bytes: usize) -> Result<Share, ClusterError> {
        let permits = self.permits.clone().acquire_many_owned(units(bytes));
        match tokio::time::timeout(self.wait, permits).await {
            Ok(Ok(permit)) => Ok(Share(permit)),
            Ok(Err(_)) | Err(_) => Err(ClusterError::Busy),
        }
    }

    /// A share if there is one at once.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share> {
        self.permits.clone().try_acquire_many_owned(units(bytes)).ok().map(Share)
    }

    /// Bytes that are free now.
    pub(crate) fn free(&self) -> usize {
        self.permits.available_permits() * UNIT_BYTES
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_comes_back_when_dropped_and_waiting_ends_in_busy() {
        let budget = Budget::new(8 * UNIT_BYTES, Duration::from_millis(1));
        let first = budget.take(5 * UNIT_BYTES).await.expect("there is room");
        assert!(budget.try_take(4 * UNIT_BYTES).is_none());
        assert!(matches!(budget.take(4 * UNIT_BYTES).await, Err(ClusterError::Busy)));
        drop(first);
        assert!(budget.try_take(8 * UNIT_BYTES).is_some());
        assert_eq!(budget.free(), 8 * UNIT_BYTES);
    }
}
