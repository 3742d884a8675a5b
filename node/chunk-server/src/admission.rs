//! How much may be in memory at once.
//!
//! Puts are refused with `Busy` at once when their bytes do not fit: the writer backs off or goes elsewhere. Reads wait their turn, up to a
//! number of waiters; their bytes count until the reply's body is dropped, which is when it was sent.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Too much is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Bytes of a budget that are taken until this is dropped.
pub(crate) struct Taken {
    _permit: OwnedSemaphorePermit,
}

/// A number of bytes that may be in memory.
pub(crate) struct ByteBudget {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl ByteBudget {
    pub(crate) fn new(bytes_max: usize, waiting_max: usize) -> Self {
        let bytes = Arc::new(Semaphore::new(bytes_max));
        ByteBudget { bytes, bytes_max, waiting: Arc::default(), waiting_max }
    }

    /// Takes bytes if they are there. More than the whole budget counts as the whole budget.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<Taken, Full> {
        let permit = self.bytes.clone().try_acquire_many_owned(self.share(bytes)).map_err(|_| Full)?;
        Ok(Taken { _permit: permit })
    }

    /// Waits for bytes, in order; refused if too many wait. Dropping the future gives the place up.
    pub(crate) async fn take(&self, bytes: usize) -> Result<Taken, Full> {
        if let Ok(taken) = self.try_take(bytes) {
            return Ok(taken);
        }
        let _waiter = Waiter::new(&self.waiting, self.waiting_max)?;
        let permit = self.bytes.clone().acquire_many_owned(self.share(bytes)).await.map_err(|_| Full)?;
        Ok(Taken { _permit: permit })
    }

    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes_max)).unwrap_or(u32::MAX)
    }
}

struct Waiter(Arc<AtomicUsize>);

impl Waiter {
    fn new(waiting: &Arc<AtomicUsize>, max: usize) -> Result<Self, Full> {
        let waiter = Waiter(waiting.clone());
        match waiting.fetch_add(1, Ordering::AcqRel) < max {
            true => Ok(waiter),
            false => Err(Full),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Bytes that give back their share of a budget when the last reference to them is dropped.
pub(crate) fn counted(bytes: Bytes, taken: Taken) -> Bytes {
    struct Counted(Bytes, #[allow(dead_code)] Taken);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Counted(bytes, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_budget_refuses_waits_and_takes_back() {
        let budget = ByteBudget::new(100, 1);
        let first = budget.try_take(60).ok();
        assert!(first.is_some() && budget.try_take(60).is_err());
        let waiting = budget.take(60);
        tokio::pin!(waiting);
        let early = tokio::select! { biased; _ = &mut waiting => true, () = std::future::ready(()) => false };
        assert!(!early, "there was no room");
        assert!(budget.take(60).await.is_err(), "one waiter is enough");
        drop(first);
        assert!(waiting.await.is_ok());
        assert!(budget.take(1 << 40).await.is_ok(), "the whole budget at most");
    }

    #[tokio::test]
    async fn counted_bytes_hold_their_share_until_dropped() {
        let budget = ByteBudget::new(100, 0);
        let bytes = counted(Bytes::from_static(b"sago"), budget.try_take(100).expect("room"));
        let slice = bytes.slice(1..2);
        drop(bytes);
        assert!(budget.take(1).await.is_err());
        drop(slice);
        assert!(budget.take(1).await.is_ok());
    }
}
