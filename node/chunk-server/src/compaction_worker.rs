//! Gives space of deleted chunks back while the node serves: one worker a disk, woken by deletes, throttled.
//!
//! It stops between steps of a few MiB, so that writers wait for one of them at most; its rate is a setting. A disk that is nearly full
//! is compacted harder: segments are emptied that would not be worth the copying otherwise.

use crate::metrics;
use crate::service::ChunkService;
use ::metrics::{counter, gauge};
use chunk_store::{CompactError, CompactGoal, Compacted};
use proto::node::Fullness;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Without a delete it is looked this often all the same: at the start, and for what an error left.
const IDLE: Duration = Duration::from_secs(60);
/// Deletes of this time are compacted together.
const GATHER: Duration = Duration::from_secs(1);
/// Bytes of one step: what a writer may have to wait for.
const STEP_BYTES: u64 = 4 << 20;
/// Before a disk that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// From `nearfull` on segments are emptied of which at most this share is in use, percent.
const PRESSED_LIVE_PERCENT: u8 = 85;

/// Settings of compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionConfig {
    /// Segments of which at most this share is in use are emptied, percent. 1..=95, default 50.
    pub live_percent_max: u8,
    /// Bytes copied in a second, per disk. 1 MiB to 16 GiB, default 32 MiB.
    pub rate_bytes: u64,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        CompactionConfig { live_percent_max: 50, rate_bytes: 32 << 20 }
    }
}

impl CompactionConfig {
    pub(crate) fn is_valid(&self) -> bool {
        (1..=95).contains(&self.live_percent_max) && (1 << 20..=16 << 30).contains(&self.rate_bytes)
    }
}

/// Compacts all disks for ever; may be dropped at any time.
pub async fn compact_disks(service: Arc<ChunkService>) {
    let disks = service.store.disks().len();
    futures::future::join_all((0..disks).map(|disk| compact_disk(service.clone(), disk))).await;
}

async fn compact_disk(service: Arc<ChunkService>, disk: usize) {
    loop {
        if !one_round(&service, disk).await {
            tracing::warn!(disk, "the disk is out of service and is compacted no more");
            return;
        }
        if timeout(IDLE, service.deleted[disk].notified()).await.is_ok() {
            // wait-ok: the pace of compaction
            sleep(GATHER).await;
        }
    }
}

/// Until there is nothing more to do. `false` if the disk failed.
async fn one_round(service: &ChunkService, disk: usize) -> bool {
    let config = service.compaction;
    loop {
        let done = service.store.compact(disk, goal(service, disk)).await;
        let pause = match &done {
            Ok(done) => {
                note(disk, done);
                if !done.more {
                    return true;
                }
                pause(done, config.rate_bytes)
            }
            Err(CompactError::Busy) => BUSY_PAUSE,
            Err(CompactError::Fenced { .. } | CompactError::NoSuchDisk { .. } | CompactError::Closed) => return false,
            Err(error) => {
                let source = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(disk, %error, source, "compaction stopped and is tried again later");
                return true;
            }
        };
        // wait-ok: the pace of compaction
        sleep(pause).await;
    }
}

fn goal(service: &ChunkService, disk: usize) -> CompactGoal {
    let live_percent_max = match service.fullness(disk) >= Fullness::Near {
        true => service.compaction.live_percent_max.max(PRESSED_LIVE_PERCENT),
        false => service.compaction.live_percent_max,
    };
    CompactGoal { live_percent_max, budget_bytes: STEP_BYTES, never_again: None }
}

fn pause(done: &Compacted, rate_bytes: u64) -> Duration {
    // What another call does is waited for.
    let least = if done.copied == 0 && done.segments == 0 { BUSY_PAUSE } else { Duration::ZERO };
    Duration::from_micros(done.copied.saturating_mul(1_000_000) / rate_bytes.max(1)).max(least)
}

fn note(disk: usize, done: &Compacted) {
    let label = disk.to_string();
    counter!(metrics::COMPACTED, "disk" => label.clone()).increment(done.copied);
    counter!(metrics::FREED, "disk" => label.clone()).increment(done.freed);
    gauge!(metrics::COMPACTING, "disk" => label).set(if done.more { 1.0 } else { 0.0 });
    if done.segments > 0 {
        tracing::debug!(disk, copied = done.copied, freed = done.freed, segments = done.segments, "space given back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_an_empty_step_pauses() {
        let done = |copied, segments| Compacted { copied, freed: 0, segments, more: true };
        assert_eq!(pause(&done(4 << 20, 0), 32 << 20), Duration::from_millis(125));
        assert_eq!(pause(&done(0, 1), 32 << 20), Duration::ZERO);
        assert_eq!(pause(&done(0, 0), 32 << 20), BUSY_PAUSE);
    }
}
