//! Downloads that wait to be recorded.

use super::{DownloadEntry, Ending};
use crate::metrics;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// Entries that wait. With all their texts they have 1 KiB; at a thousand downloads a second the cluster may be away for eight seconds.
const ENTRIES_MAX: usize = 8192;
/// Entries after which nobody waits for the time of the next write.
const BATCH: usize = 64;

/// What was downloaded and is not recorded yet, the oldest first.
#[derive(Default)]
pub(in super::super) struct Journal {
    entries: Mutex<VecDeque<DownloadEntry>>,
    full: Notify,
}

impl Journal {
    /// Adds one, or counts it as dropped.
    pub(in super::super) fn add(&self, entry: DownloadEntry) {
        let mut entries = self.entries.lock();
        let room = if matches!(entry.ending, Ending::Refused(_)) { ENTRIES_MAX / 2 } else { ENTRIES_MAX };
        if entries.len() >= room {
            drop(entries);
            metrics::download_record_dropped();
            return;
        }
        entries.push_back(entry);
        if entries.len() >= BATCH {
            self.full.notify_one();
        }
    }

    /// The oldest ones. They stay until they are removed.
    pub(super) fn oldest(&self, max: usize) -> Vec<DownloadEntry> {
        self.entries.lock().iter().take(max).cloned().collect()
    }

    /// Removes the oldest ones.
    pub(super) fn remove(&self, count: usize) {
        let mut entries = self.entries.lock();
        let count = count.min(entries.len());
        entries.drain(..count);
    }

    /// Waits until there is enough for a write.
    pub(super) async fn filled(&self) {
        self.full.notified().await;
    }

    /// How many wait.
    pub(in super::super) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Refused;
    use super::super::tests::entry;
    use super::*;

    #[test]
    fn it_is_bounded_and_refusals_leave_room_for_downloads() {
        let journal = Journal::default();
        let refused = DownloadEntry { ending: Ending::Refused(Refused::Revoked), ..entry(0, 0) };
        for _ in 0..ENTRIES_MAX {
            journal.add(refused.clone());
        }
        assert_eq!(journal.len(), ENTRIES_MAX / 2);
        for nonce in 0..ENTRIES_MAX as u64 {
            journal.add(entry(1, nonce));
        }
        assert_eq!(journal.len(), ENTRIES_MAX);
        journal.remove(ENTRIES_MAX / 2);
        let oldest: Vec<_> = journal.oldest(2).iter().map(|entry| entry.nonce).collect();
        assert_eq!((journal.len(), oldest), (ENTRIES_MAX / 2, vec![0, 1]), "the newest are dropped, not the oldest");
        journal.remove(usize::MAX);
        assert_eq!(journal.len(), 0);
    }

    #[tokio::test]
    async fn a_full_batch_is_told_of() {
        let journal = Journal::default();
        (0..BATCH as u64).for_each(|nonce| journal.add(entry(0, nonce)));
        journal.filled().await;
    }
}
