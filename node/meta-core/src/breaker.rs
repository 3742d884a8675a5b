//! The breaker of a bucket: a deploy gone wrong must not be able to empty a bucket before a person looks.
//!
//! Every file that goes to the trash is counted, in slots of a minute; the last ten make a window. The deletion that fills the
//! limit opens the breaker for [`OPEN_SECS`], counted by the group's time, and every one after it is refused. Scratch files
//! and what a restore replaces are neither counted nor refused.
//!
//! ```text
//! closed --(window full)--> open --(OPEN_SECS passed, or lifted)--> closed, counting from zero
//! ```

use crate::bucket::Bucket;
use crate::key::bucket::BucketKey;
use crate::txn::{Step, Txn};
use proto::meta::Refusal;
use proto::trash::DeleteLimit;
use serde::{Deserialize, Serialize};
use types::{BucketId, Timestamp};

/// Slots of the window, a minute each.
const SLOTS: usize = 10;
/// How long an open breaker refuses: as long as the window it watches. What must be deleted is then late and not impossible if
/// nobody is there to lift it, and a script cannot delete more in a day than a person can still count.
const OPEN_SECS: i64 = 60 * SLOTS as i64;
/// Deletions within the window that no bucket needs to explain: an afternoon's tidying of a shelf, not of a library.
const LIMIT_MIN: u64 = 10_000;
/// One part in so many of a bucket's files may go within the window if that is more.
const LIMIT_SHARE: u64 = 10;

/// What has been deleted lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Breaker {
    /// The minute of the last slot.
    minute: i64,
    /// Deletions in each minute, the oldest first.
    counts: [u32; SLOTS],
    open_until: Option<Timestamp>,
}

impl Breaker {
    /// Until when it is open, if it is.
    pub(crate) fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| *until > now)
    }

    /// Deletions within the window.
    pub(crate) fn counted(&self, now: Timestamp) -> u32 {
        self.at(now).counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// At how many within the window it opens.
    pub(crate) fn limit(&self, limit: DeleteLimit, files: u64, now: Timestamp) -> Option<u32> {
        match limit {
            DeleteLimit::Off => None,
            DeleteLimit::Max(max) => Some(max),
            DeleteLimit::Auto => {
                // What was deleted within the window still counts as a file, or the limit would sink with every deletion.
                let share = files.saturating_add(u64::from(self.counted(now))) / LIMIT_SHARE;
                Some(u32::try_from(share.max(LIMIT_MIN)).unwrap_or(u32::MAX))
            }
        }
    }

    /// The window as it is at a later time.
    fn at(&self, now: Timestamp) -> Breaker {
        let minute = now.secs().div_euclid(60);
        let passed = usize::try_from(minute.saturating_sub(self.minute)).unwrap_or(0).min(SLOTS);
        let mut moved = Breaker { minute: minute.max(self.minute), ..*self };
        moved.counts.rotate_left(passed % SLOTS);
        moved.counts[SLOTS - passed..].fill(0);
        moved
    }

    fn count(&mut self, limit: DeleteLimit, files: u64, now: Timestamp) {
        *self = self.at(now);
        self.counts[SLOTS - 1] = self.counts[SLOTS - 1].saturating_add(1);
        if self.limit(limit, files, now).is_some_and(|max| self.counted(now) >= max) {
            let until = Timestamp(now.0.saturating_add(OPEN_SECS * Timestamp::SECOND));
            *self = Breaker { open_until: Some(until), ..Breaker::default() };
        }
    }
}

impl Txn<'_> {
    /// Refuses a deletion while the breaker is open. Changes nothing.
    pub(crate) fn check_breaker(&self, bucket: BucketId) -> Step<()> {
        let row: Bucket = self.require(&BucketKey(bucket))?;
        match row.breaker.open_until(self.now) {
            Some(_) if row.options.delete_limit != DeleteLimit::Off => Err(Refusal::BreakerOpen.into()),
            _ => Ok(()),
        }
    }

    /// Counts a deletion, which [`Txn::check_breaker`] has let pass.
    pub(crate) fn count_deletion(&mut self, bucket: BucketId) -> Step<()> {
        let mut row = self.require(&BucketKey(bucket))?;
        row.breaker.count(row.options.delete_limit, row.files, self.now);
        self.write(&BucketKey(bucket), &row);
        Ok(())
    }

    /// Closes the breaker and forgets what was counted. Idempotent.
    pub(crate) fn lift_breaker(&mut self, bucket: BucketId) -> Step<()> {
        let mut row = crate::bucket::load(self.rows(), bucket)??;
        row.breaker = Breaker::default();
        self.write(&BucketKey(bucket), &row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs, 0)
    }

    #[test]
    fn the_window_slides_by_minutes() {
        let mut breaker = Breaker::default();
        for (second, counted) in [(0, 1), (59, 2), (60, 3), (599, 4), (600, 3), (660, 3), (10_000, 1), (9_000, 2)] {
            breaker.count(DeleteLimit::Max(100), 0, at(second));
            assert_eq!(breaker.counted(at(second)), counted, "{second}");
        }
        assert_eq!(breaker.counted(at(1_000_000)), 0);
    }

    #[test]
    fn the_limit_is_a_tenth_of_what_was_there() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.limit(DeleteLimit::Auto, 5_000, at(0)), Some(10_000));
        assert_eq!(breaker.limit(DeleteLimit::Auto, 1_000_000, at(0)), Some(100_000));
        (0..50).for_each(|_| breaker.count(DeleteLimit::Auto, 200_000, at(0)));
        assert_eq!(breaker.limit(DeleteLimit::Auto, 199_950, at(0)), Some(20_000));
        assert_eq!(breaker.limit(DeleteLimit::Off, 1, at(0)), None);
    }

    #[test]
    fn it_opens_with_the_deletion_that_fills_the_window_and_closes_by_itself() {
        let mut breaker = Breaker::default();
        breaker.count(DeleteLimit::Max(2), 9, at(100));
        assert_eq!(breaker.open_until(at(100)), None);
        breaker.count(DeleteLimit::Max(2), 8, at(101));
        assert_eq!(breaker.open_until(at(700)), Some(at(701)));
        assert_eq!((breaker.open_until(at(701)), breaker.counted(at(701))), (None, 0));
    }
}
