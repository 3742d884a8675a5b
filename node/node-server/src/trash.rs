//! The keeper of the trash: on the leader of a metadata group, it has what lay in the trash for the window released.
//!
//! ```text
//! round: led groups -> clocks of the voters agree? -> buckets with trash -> entries that are due -> ExpireTrash, a bounded batch each
//! ```
//! Every round begins from what the group's state says, so a change of leader loses nothing. Nothing here knows how full a disk is:
//! want of space never shortens the window. The state machine judges every entry again by its own rules; docs/adr/0013-trash.md says
//! why both are needed. What is released becomes garbage, which is another's work.

use crate::clock::{self, Disagreement};
use crate::metrics;
use crate::peers::Peers;
use ::metrics::{counter, gauge};
use async_trait::async_trait;
use meta_server::{Applied, MetaServer};
use proto::log::LogCommand;
use proto::meta::{Answer, Command, MetaReply, Outcome, Query, Usage};
use proto::trash::{BucketStatus, OPEN_GRACE_SECS, Purged, TrashFilter, TrashId, TrashPage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use types::{BucketId, GroupId, Timestamp};

/// Pause between rounds. Well below the leap that makes a group begin its windows anew (an hour without an entry).
const ROUND: Duration = Duration::from_secs(300);
/// Entries released by one command.
const BATCH: u32 = 256;
/// Commands for one bucket in one round: a few hundred thousand files an hour, and a group that is never busy with this for long.
const BATCHES_MAX: usize = 128;
/// Pause between two commands, which leaves the group to its clients.
const PAUSE: Duration = Duration::from_millis(50);
/// Buckets read at a time.
const BUCKETS: u32 = 256;
/// How long the group may take.
const PROPOSE_MAX: Duration = Duration::from_secs(10);

/// What the keeper needs of its node and the cluster.
#[async_trait]
pub(crate) trait TrashHost: Send + Sync + 'static {
    /// Metadata groups this node leads.
    fn led_groups(&self) -> Vec<GroupId>;
    /// The clocks of the other voters that have answered, and the number of all voters.
    async fn clocks(&self, group: GroupId) -> (Vec<Timestamp>, usize);
    /// This node's clock.
    fn now(&self) -> Timestamp;
    /// Reads what is applied here.
    async fn query(&self, group: GroupId, query: Query) -> Option<Answer>;
    /// Has entries released; `None` if that is not known to have been done.
    async fn expire(&self, group: GroupId, bucket: BucketId, entries: Vec<TrashId>, now: Timestamp) -> Option<Purged>;
}

/// The services of this node.
pub(crate) struct Host {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) peers: Peers,
}

#[async_trait]
impl TrashHost for Host {
    fn led_groups(&self) -> Vec<GroupId> {
        self.meta.groups().filter(|group| *group != GroupId::CONTROL && self.meta.is_leader(*group)).collect()
    }

    async fn clocks(&self, group: GroupId) -> (Vec<Timestamp>, usize) {
        clock::of_others(&self.peers, group).await
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }

    async fn query(&self, group: GroupId, query: Query) -> Option<Answer> {
        let meta = self.meta.clone();
        match tokio::task::spawn_blocking(move || meta.query(group, &query)).await {
            Ok(Ok(MetaReply::Answer(Ok(answer)))) => Some(*answer),
            _ => None,
        }
    }

    async fn expire(&self, group: GroupId, bucket: BucketId, entries: Vec<TrashId>, now: Timestamp) -> Option<Purged> {
        let command = LogCommand::Meta(None, Command::ExpireTrash { bucket, entries, now });
        match timeout(PROPOSE_MAX, self.meta.propose(group, command)).await {
            Ok(Ok(Applied::Meta(Ok(Outcome::Purged(purged))))) => Some(purged),
            _ => None,
        }
    }
}

/// The keeper of a node.
pub(crate) struct TrashKeeper<H> {
    host: H,
    /// Up to where scratch files of a bucket were looked for, so that the rest of a large trash is not read every round. What comes
    /// into the trash later is later, whoever leads meanwhile.
    scratched: BTreeMap<BucketId, Timestamp>,
    halted: BTreeMap<GroupId, Disagreement>,
}

impl<H: TrashHost> TrashKeeper<H> {
    pub(crate) fn new(host: H) -> Self {
        TrashKeeper { host, scratched: BTreeMap::new(), halted: BTreeMap::new() }
    }

    /// Works for ever; may be dropped at any time.
    pub(crate) async fn run(mut self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.one_round().await;
        }
    }

    async fn one_round(&mut self) {
        for group in self.host.led_groups() {
            self.group(group).await;
        }
    }

    async fn group(&mut self, group: GroupId) {
        let statuses = self.statuses(group).await;
        show(group, &statuses);
        let Some(time) = statuses.first().map(|(_, status)| status.time) else { return };
        let now = match self.agreed(group, time).await {
            Ok(now) => now,
            Err(why) => return self.halt(group, Some(why)),
        };
        self.halt(group, None);
        let mut moved = false;
        for (bucket, status) in &statuses {
            if status.usage.trash_files > 0 {
                self.bucket(group, *bucket, status, now).await;
                moved = true;
            }
        }
        // What waits as garbage counts by the group's time too: it must not look like one that has leapt.
        if let Some((bucket, _)) = statuses.first().filter(|_| !moved)
            && self.has_garbage(group).await
        {
            self.host.expire(group, *bucket, Vec::new(), now).await;
        }
    }

    async fn has_garbage(&self, group: GroupId) -> bool {
        let answer = self.host.query(group, Query::Garbage).await;
        matches!(answer, Some(Answer::Garbage(status)) if status.waiting > 0)
    }

    async fn agreed(&self, group: GroupId, time: Timestamp) -> Result<Timestamp, Disagreement> {
        let (others, voters) = self.host.clocks(group).await;
        clock::agree(self.host.now(), &others, voters, time)
    }

    /// Tells once that a group waits for its clocks, and once that it goes on.
    fn halt(&mut self, group: GroupId, why: Option<Disagreement>) {
        gauge!(metrics::TRASH_HALTED, "group" => group.0.to_string()).set(if why.is_some() { 1.0 } else { 0.0 });
        let before = match why {
            Some(why) => self.halted.insert(group, why),
            None => self.halted.remove(&group),
        };
        match (before, why) {
            (None, Some(why)) => tracing::error!(%group, %why, "trash is not expired until the clocks agree"),
            (Some(_), None) => tracing::info!(%group, "the clocks agree: trash is expired again"),
            _ => {}
        }
    }

    async fn statuses(&self, group: GroupId) -> Vec<(BucketId, BucketStatus)> {
        let mut statuses = Vec::new();
        let mut after = None;
        while let Some(Answer::GroupBuckets(buckets)) =
            self.host.query(group, Query::GroupBuckets { after, max: BUCKETS }).await
        {
            let Some(last) = buckets.last() else { break };
            after = Some(*last);
            for bucket in buckets {
                if let Some(Answer::BucketStatus(status)) = self.host.query(group, Query::BucketStatus { bucket }).await
                {
                    statuses.push((bucket, status));
                }
            }
        }
        statuses
    }

    /// Releases what is due in a bucket: everything older than its window, and scratch files older than the grace of open files.
    async fn bucket(&mut self, group: GroupId, bucket: BucketId, status: &BucketStatus, now: Timestamp) {
        // Without entries it moves the group's time on: one that stood still must not look like one that has leapt.
        if self.host.expire(group, bucket, Vec::new(), now).await.is_none() {
            return;
        }
        let window = i64::try_from(status.options.trash_window_secs).unwrap_or(i64::MAX).max(OPEN_GRACE_SECS);
        let before = |secs: i64| Timestamp(now.0.saturating_sub(secs.saturating_mul(Timestamp::SECOND)));
        let (old, graced) = (before(window), before(OPEN_GRACE_SECS));
        let due = TrashFilter { due: Some(now), ..TrashFilter::default() };
        let filter = TrashFilter { until: Some(Timestamp(old.0.saturating_add(1))), ..due.clone() };
        if !self.release(group, bucket, filter, now).await {
            return;
        }
        let since = self.scratched.get(&bucket).copied();
        let until = Timestamp(graced.0.saturating_add(1));
        if self.release(group, bucket, TrashFilter { since, until: Some(until), ..due }, now).await {
            self.scratched.insert(bucket, graced);
        }
    }

    /// Whether all that the filter finds was released.
    async fn release(&self, group: GroupId, bucket: BucketId, filter: TrashFilter, now: Timestamp) -> bool {
        let mut after = None;
        let mut batches = 0;
        loop {
            let wanted = Query::ListTrash { bucket, filter: filter.clone(), after, max: BATCH };
            let Some(Answer::Trash(TrashPage { entries, next, .. })) = self.host.query(group, wanted).await else {
                return false;
            };
            let ids: Vec<TrashId> = entries.iter().map(|entry| entry.id).collect();
            if !ids.is_empty() {
                if batches == BATCHES_MAX || !self.release_all(group, bucket, ids, now).await {
                    return false;
                }
                batches += 1;
                tokio::time::sleep(PAUSE).await;
            }
            after = next;
            if after.is_none() {
                return true;
            }
        }
    }

    async fn release_all(&self, group: GroupId, bucket: BucketId, mut ids: Vec<TrashId>, now: Timestamp) -> bool {
        while !ids.is_empty() {
            let sent = ids.len();
            let Some(purged) = self.host.expire(group, bucket, ids.clone(), now).await else { return false };
            counter!(metrics::TRASH_EXPIRED, "group" => group.0.to_string()).increment(u64::from(purged.files));
            counter!(metrics::TRASH_EXPIRED_BYTES, "group" => group.0.to_string()).increment(purged.bytes);
            let left = (purged.left as usize).min(sent);
            if left == sent {
                return false;
            }
            ids.drain(..sent - left);
        }
        true
    }
}

/// What is in the trash of a group's buckets, and how many breakers are open.
fn show(group: GroupId, statuses: &[(BucketId, BucketStatus)]) {
    let label = group.0.to_string();
    let sum = |what: fn(&Usage) -> u64| statuses.iter().map(|(_, status)| what(&status.usage)).sum::<u64>() as f64;
    gauge!(metrics::TRASH_FILES, "group" => label.clone()).set(sum(|usage| usage.trash_files));
    gauge!(metrics::TRASH_BYTES, "group" => label.clone()).set(sum(|usage| usage.trash_bytes));
    let open = statuses.iter().filter(|(_, status)| status.open_until.is_some());
    gauge!(metrics::BREAKERS_OPEN, "group" => label).set(open.count() as f64);
}

#[cfg(test)]
mod tests;
