//! The group's own row: its time and its counters.

use crate::key::group::GroupKey;
use crate::kv::{Kv, KvError, KvRead};
use crate::row;
use serde::{Deserialize, Serialize};
use types::{SessionId, Timestamp};

/// How far the time may move on from one entry to the next before nobody can say how much of that has really passed: the clock
/// of a leader stood still or was thrown ahead, or the cluster was off. Leaders that expire trash move the time on every few minutes.
pub(crate) const LEAP_MAX: i64 = 3600 * Timestamp::SECOND;

/// How far the stamp of an entry may lie behind the group's time. Clocks that are kept lie milliseconds apart; beyond a minute the leader's clock
/// is wrong, or an earlier leader's was. The time stands still for as long, so what is dropped meanwhile seems older than it is as soon as it goes on.
pub(crate) const BEHIND_MAX: i64 = 60 * Timestamp::SECOND;

/// What a group counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Counters {
    /// The latest stamp of all entries; never runs backwards.
    pub(crate) time: Timestamp,
    /// Where the time stood after its last leap of more than [`LEAP_MAX`], or when it went on after it had stood still: what lies in the trash or
    /// waits as garbage counts from there.
    pub(crate) leap: Timestamp,
    /// A stamp lay more than [`BEHIND_MAX`] behind the time, which stands still since.
    pub(crate) still: bool,
    /// The last inode counter handed out.
    pub(crate) ino: u64,
    /// The last extent list handed out.
    pub(crate) list: u64,
    /// The last garbage row written.
    pub(crate) garbage: u64,
    /// Uploads whose parts are still to be dropped.
    pub(crate) sweeps: u64,
    /// Sessions below it are over; their commands are refused.
    pub(crate) session_floor: SessionId,
    /// Items in garbage rows.
    pub(crate) garbage_items: u64,
    /// Condemned chunks that are not forgotten.
    pub(crate) condemned: u64,
    /// The group was recovered, and no operator has released its garbage since.
    pub(crate) held: bool,
}

pub(crate) fn load(kv: &dyn KvRead) -> Result<Counters, KvError> {
    Ok(row::read(kv, &GroupKey)?.unwrap_or_default())
}

pub(crate) fn store(kv: &mut dyn Kv, counters: &Counters) {
    row::write(kv, &GroupKey, counters);
}

/// Moves the group's time on to `stamp`, or leaves it where it is if `stamp` is earlier. Returns it.
pub(crate) fn advance_time(kv: &mut dyn Kv, stamp: Timestamp) -> Result<Timestamp, KvError> {
    let mut counters = load(kv)?;
    let forward = stamp.0.saturating_sub(counters.time.0);
    if forward > 0 {
        if counters.still || forward > LEAP_MAX {
            counters.leap = stamp;
        }
        counters.time = stamp;
        counters.still = false;
        store(kv, &counters);
    } else if forward < -BEHIND_MAX && !counters.still {
        counters.still = true;
        store(kv, &counters);
    }
    Ok(counters.time)
}
