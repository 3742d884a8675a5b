//! Claims: which worker has a title, and until when.

use super::events::ProtectionEvent;
use super::stop::{Cause, Stop, Stopped};
use crate::lcp::records::{Held, Page, put};
use crate::lcp::title::{TitleIndex, time_entry};
use crate::lcp::{Fault, LcpError, Lending, Source, Standing, Title, TitleId};
use proto::record::{Expected, RecordScan};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use types::Timestamp;

/// Titles that a worker looks at to find one that it gets.
const CANDIDATES_MAX: u32 = 16;
/// How often a title is tried. With the pauses between them this takes three quarters of an hour: what fails as long fails for a reason of its own, or has
/// brought down as many workers.
pub(super) const TRIES_MAX: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(900);
/// Renewals within a lease: two may fail.
const RENEWALS: u32 = 3;

/// A title that a worker has.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) title: Title,
    pub(super) source: Source,
    pub(super) worker: u64,
    /// With this time.
    pub(super) tries: u32,
}

/// What stood in the way of a claim.
enum Candidate {
    Claimed(Box<Claimed>),
    /// Somebody was faster.
    Missed,
    GivenUp,
}

/// When a title that was tried so often and put off is tried again.
pub(super) fn due_after(tries: u32, now: Timestamp) -> Timestamp {
    let pause = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX);
    later(now, pause)
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
}

impl Lending {
    /// A title to be protected, if there is one that is due: one that waits, or one whose worker has fallen silent.
    pub(super) async fn claim(&self) -> Result<Option<Claimed>, LcpError> {
        for standing in [1, 2] {
            let mut candidates = self.due(standing).await?.found;
            // Workers that look at the same moment do not all begin with the same one.
            let first = rand::random_range(0..candidates.len().max(1));
            candidates.rotate_left(first);
            for candidate in candidates {
                if let Candidate::Claimed(claimed) = self.try_claim(candidate).await? {
                    return Ok(Some(*claimed));
                }
            }
        }
        Ok(None)
    }

    /// Titles of that standing whose time has come, the longest due first.
    async fn due(&self, standing: u8) -> Result<Page<Title>, LcpError> {
        let now = self.config.clock.now();
        let to = [&[standing], time_entry(later(now, Duration::from_nanos(1))).as_slice()].concat();
        let scan = RecordScan {
            by: Some(TitleIndex::Standing.index()),
            from: vec![standing].into(),
            to: Some(to.into()),
            ..crate::lcp::records::whole(CANDIDATES_MAX)
        };
        self.store.records::<Title>(scan).await
    }

    async fn try_claim(&self, held: Held<Title>) -> Result<Candidate, LcpError> {
        let (revision, mut title) = (held.revision, held.value);
        let (Standing::Queued { tries, .. } | Standing::Protecting { tries, .. }) = title.standing else {
            return Ok(Candidate::Missed);
        };
        let Some(source) = title.source.clone() else { return Ok(Candidate::Missed) };
        let now = self.config.clock.now();
        title.updated = now;
        if tries >= TRIES_MAX {
            let (fault, reason) = (Fault::GivenUp, format!("{tries} workers were lost over it"));
            title.standing = Standing::Failed { fault, reason, at: now };
            if self.store.change_records(vec![put(&title, Expected::Revision(revision))?]).await? {
                self.config.on_protection.tell(ProtectionEvent::Failed { fault });
            }
            return Ok(Candidate::GivenUp);
        }
        let (worker, tries) = (rand::random(), tries + 1);
        title.standing = Standing::Protecting { worker, until: later(now, self.config.lease), done: 0, tries };
        if self.store.change_records(vec![put(&title, Expected::Revision(revision))?]).await? {
            Ok(Candidate::Claimed(Box::new(Claimed { title, source, worker, tries })))
        } else {
            Ok(Candidate::Missed)
        }
    }

    /// Changes a title, if it is still this worker's; gives it as it is then.
    pub(super) async fn change_claimed(
        &self,
        id: &TitleId,
        worker: u64,
        change: impl Fn(&mut Title) + Send + Sync,
    ) -> Result<Option<Title>, LcpError> {
        let plan = || async {
            let held = match self.title(id).await {
                Err(LcpError::NoSuchTitle) => return Ok((Vec::new(), None)),
                found => found?,
            };
            let mut title = held.value;
            if !matches!(title.standing, Standing::Protecting { worker: owner, .. } if owner == worker) {
                return Ok((Vec::new(), None));
            }
            change(&mut title);
            Ok((vec![put(&title, Expected::Revision(held.revision))?], Some(title)))
        };
        self.store.change_by(plan).await
    }

    /// Keeps a claim, and tells in it how far the work has come, until it is lost.
    pub(super) async fn keep(&self, claimed: &Claimed, done: &AtomicU64, stop: &Stop) -> Stopped {
        let lease = self.config.lease;
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(lease / RENEWALS).await;
            let asked = Instant::now();
            match self.renew_claim(claimed, done.load(Ordering::Relaxed)).await {
                Ok(true) => renewed = asked,
                Ok(false) => return stop.because(Cause::Lost),
                Err(error) if renewed.elapsed() >= lease => return stop.because(Cause::PutOff(error.to_string())),
                Err(error) => tracing::debug!(title = %claimed.title.id, %error, "a lease was not renewed"),
            }
        }
    }

    async fn renew_claim(&self, claimed: &Claimed, done: u64) -> Result<bool, LcpError> {
        let until = later(self.config.clock.now(), self.config.lease);
        let (worker, tries) = (claimed.worker, claimed.tries);
        let renew = |title: &mut Title| title.standing = Standing::Protecting { worker, until, done, tries };
        Ok(self.change_claimed(&claimed.title.id, worker, renew).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        let pause = |tries| (due_after(tries, Timestamp(0)).0 / Timestamp::SECOND) as u64;
        assert_eq!([1, 2, 3, 8, 9, 1000].map(pause), [5, 10, 20, 640, 900, 900]);
        assert_eq!(due_after(1, Timestamp(i64::MAX)), Timestamp(i64::MAX));
    }
}
