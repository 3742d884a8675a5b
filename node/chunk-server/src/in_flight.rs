//! Puts in progress, by placement group and epoch: what a barrier waits for.
//!
//! The map is looked at under the same lock under which a put is counted. So once a node knows an epoch and counts no older put of the group, it
//! will never again store one.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use types::{PgEpoch, PgId};

/// Puts in progress.
#[derive(Default)]
pub(crate) struct InFlight {
    puts: Mutex<BTreeMap<(PgId, PgEpoch), u32>>,
    ended: Notify,
}

/// One put, until it is dropped.
pub(crate) struct Counted<'a> {
    all: &'a InFlight,
    key: (PgId, PgEpoch),
}

impl InFlight {
    /// Counts a put of the group and epoch that `judge` finds it to belong to, under the lock.
    pub(crate) fn admit<T, E>(
        &self,
        judge: impl FnOnce() -> Result<(T, PgId, PgEpoch), E>,
    ) -> Result<(T, Counted<'_>), E> {
        let mut puts = self.puts.lock();
        let (judged, pg, epoch) = judge()?;
        *puts.entry((pg, epoch)).or_default() += 1;
        Ok((judged, Counted { all: self, key: (pg, epoch) }))
    }

    /// Waits until no put of an epoch below `epoch` is in progress; `false` if that takes longer than `max`.
    pub(crate) async fn drained(&self, pg: PgId, epoch: PgEpoch, max: Duration) -> bool {
        let wait = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.puts.lock().range((pg, PgEpoch(0))..(pg, epoch)).next().is_none() {
                    return;
                }
                ended.await;
            }
        };
        timeout(max, wait).await.is_ok()
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut puts = self.all.puts.lock();
        if let Some(count) = puts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                puts.remove(&self.key);
                self.all.ended.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_barrier_waits_for_older_puts_of_its_group_only() {
        let all = InFlight::default();
        let count = |pg, epoch| all.admit(|| Ok::<_, ()>(((), PgId(pg), PgEpoch(epoch)))).expect("counted").1;
        let (old, _newer, _other) = (count(1, 4), count(1, 5), count(2, 1));
        let soon = Duration::from_millis(1);
        assert!(all.drained(PgId(1), PgEpoch(4), soon).await);
        assert!(!all.drained(PgId(1), PgEpoch(5), soon).await);
        let (drained, ()) = tokio::join!(all.drained(PgId(1), PgEpoch(5), Duration::from_secs(60)), async {
            tokio::task::yield_now().await;
            drop(old);
        });
        assert!(drained);
    }
}
