//! Writes what was downloaded: entries and counters.

use super::super::limits::{Counter, Meter};
use super::super::records::{decode, key_of, put};
use super::super::{LcpError, Lending};
use super::expiry::EXPIRY_EVERY;
use crate::metrics;
use proto::record::{Expected, RECORD_CHANGES_MAX, RecordChange, RecordView};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest that an entry waits while the cluster takes them.
const WRITE_EVERY: Duration = Duration::from_millis(250);
/// After a failure; doubled with each, up to the second.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// How long the last write may take when the gateway stops.
const LAST_WRITE: Duration = Duration::from_secs(5);

impl Lending {
    /// Records downloads until `stop` is ready, and then what still waits, for five seconds at most. One task of each gateway does this; without it nothing is recorded
    /// and other gateways do not learn what was counted here. It also removes what is older than [`super::super::LcpConfig::keep_audit`].
    pub async fn write_downloads(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut pause = None;
        let mut expiry = Instant::now() + first_expiry();
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.time_to_write(pause) => {}
            }
            tokio::select! {
                () = &mut stop => break,
                written = self.flush_downloads() => pause = after(written, pause),
            }
            if pause.is_none() && Instant::now() >= expiry {
                expiry = Instant::now() + EXPIRY_EVERY;
                tokio::select! {
                    () = &mut stop => break,
                    expired = self.expire_downloads() => log(expired),
                }
            }
        }
        let left = match tokio::time::timeout(LAST_WRITE, self.flush_downloads()).await {
            Ok(Ok(())) => return,
            Ok(Err(_)) | Err(_) => self.downloads.journal.len(),
        };
        tracing::error!(left, "downloads were not recorded");
        (0..left).for_each(|_| metrics::download_record_dropped());
    }

    async fn time_to_write(&self, pause: Option<Duration>) {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => drop(tokio::time::timeout(WRITE_EVERY, self.downloads.journal.filled()).await),
        }
    }

    /// Writes all that waits. What is not written stays and waits on.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn flush_downloads(&self) -> Result<(), LcpError> {
        let _alone = self.downloads.writing.lock().await;
        while self.write_entries().await? {}
        while self.write_counters().await? {}
        Ok(())
    }

    /// Writes the oldest entries; whether there may be more.
    async fn write_entries(&self) -> Result<bool, LcpError> {
        let journal = &self.downloads.journal;
        let entries = journal.oldest(RECORD_CHANGES_MAX);
        if entries.is_empty() {
            return Ok(false);
        }
        // An entry's key is its own: to write it again is to write the same.
        let changes: Vec<_> = entries.iter().map(|entry| put(entry, Expected::Any)).collect::<Result<_, _>>()?;
        self.store.change_records(changes).await?;
        journal.remove(entries.len());
        metrics::download_records(entries.len());
        Ok(entries.len() == RECORD_CHANGES_MAX)
    }

    /// Writes some counters; whether there may be more.
    async fn write_counters(&self) -> Result<bool, LcpError> {
        let taken = self.downloads.meters.take(RECORD_CHANGES_MAX);
        let meters = &taken.meters;
        if meters.is_empty() {
            return Ok(false);
        }
        let plan = || async {
            let keys = meters.iter().map(|meter| key_of::<Counter>(meter.counted.key.clone())).collect();
            let views = self.store.views(keys).await?;
            let changes = meters.iter().zip(views).filter_map(|(meter, view)| self.change(meter, view));
            Ok((changes.collect::<Result<_, _>>()?, ()))
        };
        self.store.change_by(plan).await?;
        let more = meters.len() == RECORD_CHANGES_MAX;
        taken.written();
        Ok(more)
    }

    /// The change that brings a counter up to date; `None` if it is one of a newer program, which is left alone.
    fn change(&self, meter: &Arc<Meter>, view: Option<RecordView>) -> Option<Result<RecordChange, LcpError>> {
        let (counter, expected) = match view.map(decode::<Counter>).transpose() {
            Ok(None) => (Counter::new(&meter.counted.key), Expected::Absent),
            Ok(Some(held)) => (held.value, Expected::Revision(held.revision)),
            Err(error) => {
                tracing::error!(%error, "a counter of downloads cannot be kept");
                return None;
            }
        };
        Some(put(&counter.with(self.downloads.meters.instance, meter.own()), expected))
    }
}

/// Gateways that start together do not remove the same records together.
fn first_expiry() -> Duration {
    EXPIRY_EVERY.mul_f64(rand::random_range(0.1..1.0))
}

/// How long to wait after a write.
fn after(written: Result<(), LcpError>, pause: Option<Duration>) -> Option<Duration> {
    let Err(error) = written else { return None };
    if pause.is_none() {
        tracing::warn!(%error, "downloads cannot be recorded at present");
    }
    Some(pause.map_or(PAUSE[0], |pause| (2 * pause).min(PAUSE[1])))
}

fn log(expired: Result<usize, LcpError>) {
    match expired {
        Ok(0) => {}
        Ok(records) => tracing::info!(records, "old records of downloads were removed"),
        Err(error) => tracing::warn!(%error, "old records of downloads cannot be removed at present"),
    }
}
