//! Keeps the trash of a group, in the order of `node-server`'s `trash.rs`: the clocks of the voters are asked first, the group's time is
//! moved on, and then what is due is released, a batch at a time.

use super::{Got, Scene, Want};
use proto::meta::{Answer, Command, Outcome, Query};
use proto::trash::{TrashFilter, TrashId};
use types::{BucketId, Timestamp};

/// Entries released by one command.
const BATCH: u32 = 16;
/// Commands in one round.
const BATCHES_MAX: u32 = 8;
/// Buckets read at a time; a run has one.
const BUCKETS: u32 = 8;

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Buckets,
    Status(BucketId),
    /// Whether garbage waits, by the group's time.
    Garbage(BucketId, Timestamp),
    /// The clocks; the group's time is that.
    Clocks(BucketId, Timestamp),
    /// The group's time moved on.
    MovingOn(Round),
    /// A page of what is due.
    Page(Round),
    /// It released.
    Releasing(Round, Option<TrashId>),
}

#[derive(Clone, Copy)]
struct Round {
    bucket: BucketId,
    /// The time that a quorum of clocks agrees on.
    now: Timestamp,
    batches: u32,
}

/// The keeper of a process.
#[derive(Default)]
pub(super) struct Keeper {
    stage: Stage,
}

impl Keeper {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => self.want(Stage::Buckets, Want::Own(Query::GroupBuckets { after: None, max: BUCKETS })),
            (Stage::Buckets, Got::Answer(Answer::GroupBuckets(buckets))) => match buckets.first() {
                Some(bucket) => self.want(Stage::Status(*bucket), Want::Own(Query::BucketStatus { bucket: *bucket })),
                None => Want::Rest,
            },
            (Stage::Status(bucket), Got::Answer(Answer::BucketStatus(status))) => match status.usage.trash_files {
                0 => self.want(Stage::Garbage(bucket, status.time), Want::Own(Query::Garbage)),
                _ => self.want(Stage::Clocks(bucket, status.time), Want::Clocks),
            },
            (Stage::Garbage(bucket, time), Got::Answer(Answer::Garbage(status))) if status.waiting > 0 => {
                self.want(Stage::Clocks(bucket, time), Want::Clocks)
            }
            (Stage::Clocks(bucket, time), Got::Clocks(others, voters)) => match scene.agreed(&others, voters, time) {
                Some(now) => self.expire(Round { bucket, now, batches: 0 }, Vec::new(), None),
                None => Want::Rest,
            },
            (Stage::MovingOn(round), Got::Outcome(Outcome::Purged(_))) => self.page(round, None),
            (Stage::Page(round), Got::Answer(Answer::Trash(page))) => {
                let entries: Vec<TrashId> = page.entries.iter().map(|entry| entry.id).collect();
                if entries.is_empty() { Want::Rest } else { self.expire(round, entries, page.next) }
            }
            (Stage::Releasing(round, Some(next)), Got::Outcome(Outcome::Purged(_))) if round.batches < BATCHES_MAX => {
                self.page(round, Some(next))
            }
            _ => Want::Rest,
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn page(&mut self, round: Round, after: Option<TrashId>) -> Want {
        let filter = TrashFilter { due: Some(round.now), ..TrashFilter::default() };
        let query = Query::ListTrash { bucket: round.bucket, filter, after, max: BATCH };
        self.want(Stage::Page(round), Want::Own(query))
    }

    /// Without entries it moves the group's time on: one that stood still must not look like one that has leapt.
    fn expire(&mut self, round: Round, entries: Vec<TrashId>, next: Option<TrashId>) -> Want {
        let command = Command::ExpireTrash { bucket: round.bucket, entries: entries.clone(), now: round.now };
        let stage = if entries.is_empty() {
            Stage::MovingOn(round)
        } else {
            Stage::Releasing(Round { batches: round.batches + 1, ..round }, next)
        };
        self.want(stage, Want::Propose(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::ChunkStore;
    use types::{NodeId, PlacementMap};

    fn agreed(own: i64, others: &[i64], voters: usize, group: i64) -> Option<i64> {
        let (map, chunks) = (PlacementMap::default(), ChunkStore::default());
        let scene = Scene { clock: Timestamp(own), apart_max: 60, ..Scene::of(NodeId(1), &map, &chunks) };
        let others: Vec<Timestamp> = others.iter().copied().map(Timestamp).collect();
        scene.agreed(&others, voters, Timestamp(group)).map(|time| time.0)
    }

    #[test]
    fn the_earliest_of_a_majority_of_clocks_counts_unless_one_lies_apart() {
        assert_eq!(agreed(1000, &[990, 1010], 3, 0), Some(990));
        assert_eq!(agreed(1000, &[], 3, 0), None);
        assert_eq!(agreed(1000, &[1000, 1061], 3, 0), None);
        assert_eq!(agreed(1000, &[1000], 3, 1061), None);
    }
}
