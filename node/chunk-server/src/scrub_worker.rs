//! Looks at every chunk of every disk within some days, evenly, and goes on after a restart where it stood.
//!
//! ```text
//! pace: what is left of the pass / what is left of its time        calls since the step before: a pause of four steps at least
//! asked for ([`ChunkService::scrub_now`]): a pass from the beginning, as fast as the disk gives it
//! ```
//!
//! What it finds is quarantined by the store and written anew by [`crate::rewrite_worker`].

use crate::metrics;
use crate::service::ChunkService;
use ::metrics::{counter, gauge};
use chunk_store::{ScrubError, ScrubState, Scrubbed};
use proto::node::ScrubStatus;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

/// Bytes of one step: some milliseconds of a processor, which is what a read may have to wait for it.
const STEP_BYTES: u64 = 1 << 20;
/// The longest pause between two steps; the pace is worked out anew after it.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A pass is planned to take this share of its time, so that a node that was down for a day is not late.
const PLANNED_PERCENT: u64 = 90;
/// No disk is read faster than this by itself, however late the pass is, bytes a second.
const RATE_MAX: u64 = 64 << 20;
/// The position is kept this often at least, in bytes and in time.
const KEEP_BYTES: u64 = 256 << 20;
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// While calls come in, the pause after a step is at least so many times as long as the step: of a processor that is needed elsewhere, a scrub takes a fifth.
const YIELDING: u32 = 4;
/// Before a disk whose index or file system failed is asked again.
const ERROR_PAUSE: Duration = Duration::from_secs(10);
const DAY_SECONDS: u64 = 86_400;

/// The scrub of one disk, as the rest of the node sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scrub {
    pub(crate) state: ScrubState,
    /// A pass as fast as can be was asked for and has not begun.
    wanted: bool,
    /// The present pass is one of those.
    fast: bool,
}

impl Scrub {
    pub(crate) fn new(state: ScrubState) -> Self {
        Scrub { state, ..Scrub::default() }
    }

    /// Asks for a pass; the number that `passes` has when it is over.
    pub(crate) fn want(&mut self) -> u64 {
        self.wanted = true;
        self.state.passes + 1
    }

    pub(crate) fn status(&self) -> ScrubStatus {
        let ScrubState { passes, finished, begun, chunks, bytes, damaged, .. } = self.state;
        ScrubStatus { passes, finished, begun, chunks, bytes, damaged }
    }

    /// Where the next step begins; a pass is begun if there is none, or one was asked for.
    fn begin(&mut self, now: u64) -> ScrubState {
        if self.wanted || self.state.begun == 0 {
            let ScrubState { passes, finished, .. } = self.state;
            self.state = ScrubState { passes, finished, begun: now.max(1), ..ScrubState::default() };
            self.fast = self.wanted;
            self.wanted = false;
        }
        self.state
    }

    /// Takes note of a step. Whether the pass is over.
    fn note(&mut self, step: &Scrubbed, now: u64) -> bool {
        self.state.after = step.next;
        self.state.chunks += step.chunks;
        self.state.bytes += step.bytes;
        self.state.damaged += step.damaged.len() as u64;
        if step.next.is_some() {
            return false;
        }
        self.state = ScrubState { passes: self.state.passes + 1, finished: now, ..ScrubState::default() };
        self.fast = false;
        true
    }
}

/// Scrubs all disks for ever; may be dropped at any time.
pub async fn scrub_disks(service: Arc<ChunkService>) {
    let disks = service.store.disks().len();
    futures::future::join_all((0..disks).map(|disk| scrub_disk(service.clone(), disk))).await;
}

async fn scrub_disk(service: Arc<ChunkService>, disk: usize) {
    let mut kept = Instant::now();
    let mut kept_bytes = 0;
    let mut calls = service.calls();
    loop {
        let now = seconds();
        let (state, fast) = {
            let mut scrub = service.scrubs[disk].lock();
            (scrub.begin(now), scrub.fast)
        };
        let begun = Instant::now();
        let step = match service.store.scrub(disk, state.after, STEP_BYTES).await {
            Ok(step) => step,
            Err(ScrubError::Fenced { .. } | ScrubError::NoSuchDisk { .. }) => {
                tracing::warn!(disk, "the disk is out of service and is scrubbed no more");
                return;
            }
            Err(error) => {
                tracing::warn!(disk, %error, "the scrub stopped and is tried again");
                // wait-ok: before the disk is asked again
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        count(disk, &step);
        let took = begun.elapsed();
        let (state, over) = {
            let mut scrub = service.scrubs[disk].lock();
            // A pass that was asked for meanwhile begins anew; this step was of the old one.
            let over = !scrub.wanted && scrub.note(&step, now);
            (scrub.state, over)
        };
        if !step.damaged.is_empty() {
            service.damaged.notify_one();
        }
        if over || state.bytes >= kept_bytes + KEEP_BYTES || kept.elapsed() >= KEEP_EVERY || state.bytes < kept_bytes {
            keep(&service, disk, state).await;
            (kept, kept_bytes) = (Instant::now(), state.bytes);
        }
        let calls_before = std::mem::replace(&mut calls, service.calls());
        let yielding = if calls > calls_before { YIELDING * took } else { Duration::ZERO };
        let pause = match fast && !over {
            true => yielding,
            false => pause(&service, disk, state, step.bytes).max(yielding),
        };
        // A scrub that is asked for does not wait.
        let _ = timeout(pause, service.scrub_wanted[disk].notified()).await;
    }
}

async fn keep(service: &Arc<ChunkService>, disk: usize, state: ScrubState) {
    let (service, label) = (service.clone(), disk.to_string());
    gauge!(metrics::SCRUB_FINISHED, "disk" => label).set(state.finished as f64);
    let kept = tokio::task::spawn_blocking(move || service.store.keep_scrub_state(disk, &state)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!(disk, %error, "a restart will scrub some chunks once more");
    }
}

fn pause(service: &ChunkService, disk: usize, state: ScrubState, step: u64) -> Duration {
    let total = service.store.disks().get(disk).map_or(0, |info| info.bytes);
    paced(total, state, step, service.scrub_days, seconds())
}

/// How long to wait after a step, so that the pass ends in time.
fn paced(total: u64, state: ScrubState, step: u64, days: u64, now: u64) -> Duration {
    let time = days * DAY_SECONDS * PLANNED_PERCENT / 100;
    if state.begun == 0 {
        // Between two passes: what is left of the time of the last one is over soon enough.
        return PAUSE_MAX;
    }
    let left = total.saturating_sub(state.bytes).max(step).max(1);
    // A pass that seems to begin later than now was begun by a clock that has been set back since: it has its whole time, and no more.
    let seconds_left = (state.begun.min(now) + time).saturating_sub(now).max(1);
    let rate = (left / seconds_left).clamp(1, RATE_MAX);
    Duration::from_millis(step.saturating_mul(1000) / rate).min(PAUSE_MAX)
}

fn count(disk: usize, step: &Scrubbed) {
    let label = disk.to_string();
    counter!(metrics::SCRUBBED_CHUNKS, "disk" => label.clone()).increment(step.chunks);
    counter!(metrics::SCRUBBED_BYTES, "disk" => label.clone()).increment(step.bytes);
    counter!(metrics::SCRUB_DAMAGED, "disk" => label.clone()).increment(step.damaged.len() as u64);
    counter!(metrics::SCRUB_REWRITTEN, "disk" => label).increment(step.rewritten);
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::ChunkId;

    fn step(next: Option<u128>, bytes: u64) -> Scrubbed {
        Scrubbed { next: next.map(ChunkId), chunks: 1, bytes, ..Scrubbed::default() }
    }

    #[test]
    fn a_pass_goes_on_where_it_was_kept_and_ends_once() {
        let kept =
            ScrubState { after: Some(ChunkId(5)), passes: 2, begun: 10, chunks: 5, bytes: 50, ..ScrubState::default() };
        let mut scrub = Scrub::new(kept);
        assert_eq!(scrub.begin(100), kept);
        assert!(!scrub.note(&step(Some(6), 10), 101));
        assert_eq!(scrub.begin(102).after, Some(ChunkId(6)));
        assert!(scrub.note(&step(None, 10), 103));
        assert_eq!((scrub.state.passes, scrub.state.finished, scrub.state.begun), (3, 103, 0));
        assert_eq!(scrub.begin(104).begun, 104);
    }

    #[test]
    fn a_pass_that_is_asked_for_begins_anew_and_counts_when_it_is_over() {
        let mut scrub =
            Scrub::new(ScrubState { after: Some(ChunkId(5)), passes: 2, begun: 10, ..ScrubState::default() });
        assert_eq!(scrub.want(), 3);
        assert_eq!(scrub.begin(100).after, None);
        assert!(scrub.fast);
        assert!(scrub.note(&step(None, 10), 101));
        assert_eq!((scrub.status().passes, scrub.fast), (3, false));
    }

    #[test]
    fn the_pace_follows_what_is_left() {
        let state = |bytes| ScrubState { begun: 1000, bytes, ..ScrubState::default() };
        let (days, time) = (10, 9 * DAY_SECONDS);
        let tib = 1 << 40;
        // On time: all in nine days.
        let pause = paced(tib, state(0), STEP_BYTES, days, 1000);
        let planned = STEP_BYTES as f64 * time as f64 / tib as f64;
        assert!((pause.as_secs_f64() - planned).abs() < 0.1 * planned, "{pause:?} for {planned}");
        // Half done in half of the time: as before. Nothing done by then: twice as fast. Late: as fast as may be.
        let half = paced(tib, state(tib / 2), STEP_BYTES, days, 1000 + time / 2);
        assert!(half.abs_diff(pause) < pause / 10);
        assert!(paced(tib, state(0), STEP_BYTES, days, 1000 + time / 2) < pause * 6 / 10);
        assert_eq!(paced(tib, state(0), STEP_BYTES, days, 1000 + 2 * time), Duration::from_millis(15));
        assert_eq!(paced(1, state(0), STEP_BYTES, days, 1000), PAUSE_MAX);
        // The clock was set back by far more than a pass.
        assert_eq!(paced(tib, state(0), STEP_BYTES, days, 10), pause);
    }
}
