//! Removes what is old: entries after `keep_audit`, counters after what they count is over.

use super::super::limits::Counter;
use super::super::records::{Record, remove, whole};
use super::super::title::time_entry;
use super::super::token::SKEW_SECONDS_MAX;
use super::super::{LcpError, Lending};
use super::DownloadEntry;
use bytes::Bytes;
use proto::record::{Expected, RECORD_CHANGES_MAX, RecordScan};
use std::time::Duration;
use types::Timestamp;

/// How often each gateway looks.
pub(super) const EXPIRY_EVERY: Duration = Duration::from_secs(3600);
/// Records that one look removes at most; the next goes on.
const REMOVED_MAX: usize = 1 << 17;

impl Lending {
    /// Removes entries that are older than [`super::super::LcpConfig::keep_audit`], and counters that do not count any more. Gives how many there were.
    ///
    /// # Errors
    /// The cluster's; what was removed before is gone.
    pub async fn expire_downloads(&self) -> Result<usize, LcpError> {
        self.downloads.meters.sweep();
        let now = self.config.clock.now();
        let keep = i64::try_from(self.config.keep_audit.as_nanos()).unwrap_or(i64::MAX);
        let entries = self.remove_before::<DownloadEntry>(Timestamp(now.0.saturating_sub(keep))).await?;
        // A clock that is behind still counts.
        let counters = Timestamp(now.0.saturating_sub(2 * SKEW_SECONDS_MAX * Timestamp::SECOND));
        Ok(entries + self.remove_before::<Counter>(counters).await?)
    }

    /// Removes records whose keys begin with an earlier time.
    async fn remove_before<T: Record>(&self, time: Timestamp) -> Result<usize, LcpError> {
        let mut removed = 0;
        while removed < REMOVED_MAX {
            let to = Some(Bytes::copy_from_slice(&time_entry(time)));
            let scan = RecordScan { to, ..whole(RECORD_CHANGES_MAX as u32) };
            let (keys, _) = self.store.record_keys::<T>(scan).await?;
            let changes: Vec<_> = keys.into_iter().map(|key| remove::<T>(key, Expected::Any)).collect();
            let found = changes.len();
            if found == 0 {
                break;
            }
            self.store.change_records(changes).await?;
            removed += found;
        }
        Ok(removed)
    }
}
