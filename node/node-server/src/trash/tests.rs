//! What the keeper asks for and when it does not, against a group that is a list.

use super::*;
use parking_lot::Mutex;
use proto::meta::GarbageStatus;
use proto::object::FileKind;
use proto::trash::{BucketOptions, TrashEntry, TrashReason};
use types::{Ino, SessionId};

const GROUP: GroupId = GroupId(1);
const BUCKET: BucketId = BucketId(4);
const DAY: i64 = OPEN_GRACE_SECS;

#[derive(Default)]
struct State {
    /// Removed at, and whether it is scratch.
    trash: Vec<(TrashId, bool)>,
    time: Timestamp,
    expired: Vec<(Vec<TrashId>, Timestamp)>,
    /// Waits out its grace time.
    garbage: u64,
}

struct Fake {
    state: Arc<Mutex<State>>,
    clocks: Vec<Timestamp>,
    now: Timestamp,
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs, 0)
}

fn due(id: TrashId, scratch: bool) -> Timestamp {
    let kept = if scratch { DAY } else { BucketOptions::default().trash_window_secs as i64 };
    Timestamp(id.time.0 + kept * Timestamp::SECOND)
}

impl State {
    fn list(&self, filter: &TrashFilter, after: Option<TrashId>, max: u32) -> TrashPage {
        let wanted = |(id, scratch): &&(TrashId, bool)| {
            after.is_none_or(|after| *id > after)
                && filter.since.is_none_or(|since| id.time >= since)
                && filter.until.is_none_or(|until| id.time < until)
                && filter.due.is_none_or(|time| due(*id, *scratch) <= time)
        };
        let found: Vec<_> = self.trash.iter().filter(wanted).take(max as usize).collect();
        let next = (found.len() == max as usize).then(|| found[found.len() - 1].0);
        let entries = found.into_iter().map(|(id, scratch)| TrashEntry {
            id: *id,
            path: "a".into(),
            kind: FileKind::File,
            size: 1,
            mtime: Timestamp(0),
            session: SessionId(1),
            reason: TrashReason::Unlinked,
            scratch: *scratch,
            due: due(*id, *scratch),
        });
        TrashPage { entries: entries.collect(), next, time: self.time }
    }
}

#[async_trait]
impl TrashHost for Fake {
    fn led_groups(&self) -> Vec<GroupId> {
        vec![GROUP]
    }

    async fn clocks(&self, _: GroupId) -> (Vec<Timestamp>, usize) {
        (self.clocks.clone(), 3)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn query(&self, _: GroupId, query: Query) -> Option<Answer> {
        let state = self.state.lock();
        Some(match query {
            Query::GroupBuckets { after: None, .. } => Answer::GroupBuckets(vec![BUCKET]),
            Query::GroupBuckets { .. } => Answer::GroupBuckets(Vec::new()),
            Query::BucketStatus { .. } => Answer::BucketStatus(BucketStatus {
                sealed: false,
                options: BucketOptions::default(),
                usage: Usage { trash_files: state.trash.len() as u64, ..Usage::default() },
                deletes: 0,
                deletes_max: None,
                open_until: None,
                time: state.time,
            }),
            Query::ListTrash { filter, after, max, .. } => Answer::Trash(state.list(&filter, after, max)),
            Query::Garbage => Answer::Garbage(GarbageStatus { waiting: state.garbage, ..GarbageStatus::default() }),
            other => panic!("{other:?}"),
        })
    }

    async fn expire(&self, _: GroupId, _: BucketId, entries: Vec<TrashId>, now: Timestamp) -> Option<Purged> {
        let mut state = self.state.lock();
        // As a command that is full after a hundred.
        let done = entries.len().min(100);
        state.trash.retain(|(id, _)| !entries[..done].contains(id));
        state.expired.push((entries.clone(), now));
        Some(Purged { files: done as u32, bytes: done as u64, left: (entries.len() - done) as u32 })
    }
}

/// 300 old files, 10 scratch files of two days ago, and 10 files and 10 scratch files of today.
fn keeper(now: Timestamp, clocks: &[Timestamp], group: Timestamp) -> (TrashKeeper<Fake>, Arc<Mutex<State>>) {
    let mut trash = Vec::new();
    let mut add = |count: u64, days_ago: i64, scratch: bool| {
        for number in 0..count {
            let time = Timestamp(now.0 - days_ago * DAY * Timestamp::SECOND);
            trash.push((TrashId { time, ino: Ino(number + 1000 * u64::from(scratch)) }, scratch));
        }
    };
    add(300, 8, false);
    add(10, 2, true);
    add(10, 0, false);
    add(10, 0, true);
    let state = Arc::new(Mutex::new(State { trash, time: group, ..State::default() }));
    let clocks = clocks.to_vec();
    (TrashKeeper::new(Fake { state: state.clone(), clocks, now }), state)
}

#[tokio::test]
async fn what_is_due_is_released_in_batches_and_nothing_else() {
    let now = at(100 * DAY);
    let (mut keeper, state) = keeper(now, &[at(100 * DAY - 3), at(100 * DAY + 3)], now);
    keeper.one_round().await;
    let state = state.lock();
    assert_eq!(state.trash.len(), 20);
    assert!(state.trash.iter().all(|(id, _)| id.time == now));
    assert_eq!(state.expired[0].0, [], "the group's time is moved on first");
    assert!(state.expired.iter().all(|(ids, judged)| ids.len() <= BATCH as usize && *judged == at(100 * DAY - 3)));
}

#[tokio::test]
async fn the_groups_time_is_moved_on_while_anything_counts_by_it() {
    let now = at(100 * DAY);
    for (garbage, entries) in [(0, 0), (3, 1)] {
        let (mut keeper, state) = keeper(now, &[now, now], now);
        state.lock().trash.clear();
        state.lock().garbage = garbage;
        keeper.one_round().await;
        assert_eq!(state.lock().expired, vec![(Vec::new(), now); entries]);
    }
}

#[tokio::test]
async fn clocks_that_disagree_halt_expiry() {
    let now = at(100 * DAY);
    let long_ago = at(50 * DAY);
    for (clocks, group) in
        [(vec![long_ago, long_ago], now), (vec![now, long_ago], now), (vec![], now), (vec![now, now], at(130 * DAY))]
    {
        let (mut keeper, state) = keeper(now, &clocks, group);
        keeper.one_round().await;
        let state = state.lock();
        assert_eq!((state.trash.len(), state.expired.len()), (330, 0), "{clocks:?} {group:?}");
    }
}
