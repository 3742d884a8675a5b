//! What a state has to be told that is made the only truth and may be older than what the cluster has done: after `sago recover`, as an
//! entry of the log, and in `sago meta import`, before there is a log.
//!
//! | must not come back | because | so |
//! | --- | --- | --- |
//! | a session | chunk ids carry it, and chunks of the lost time lie on disks, with other bytes | [`SESSIONS`] are passed over |
//! | a version of the map, an epoch of a placement group | nodes and clients keep the newest they have heard of | they are moved beyond all that were |
//! | an inode, a list, a bucket, a revision of a record | mounts and gateways that still run remember them by number | [`NUMBERS`] are passed over |
//!
//! And nothing is deleted on the evidence of a log of which a part is lost: the group holds its garbage and its trash, and the control group
//! switches the collector off, until an operator says otherwise.
//!
//! Source: docs/adr/0016-unsafe-recovery.md.

use crate::control::Header;
use crate::group;
use crate::key::control::{ControlKey, GarbageOptionsKey, MapKey};
use crate::kv::{Kv, KvError, KvRead};
use crate::row;
use proto::control::GarbageOptions;
use proto::log::Recovery;
use types::{GroupId, LogIndex, NodeMode, PlacementMap, Timestamp};

/// Sessions passed over, and versions of the map: more than any cluster opens, or makes, between two copies of a state that anybody would
/// still want. There are 2^44 sessions, so a cluster can be recovered four thousand times.
const SESSIONS: u64 = 1 << 32;
const VERSIONS: u64 = 1 << 32;
/// Inodes (and with them revisions), lists and buckets passed over, and epochs of each placement group. Only what is remembered in memory could be mixed up, and
/// a group makes fewer in an hour; of inodes there are 2^44.
const NUMBERS: u64 = 1 << 20;

/// Moves the counters of a group's state on, holds its garbage, and, in the control group, takes the lost nodes out. Every replica that starts
/// from the same rows comes to the same. Doing it twice only moves further on.
///
/// # Errors
/// The store failed or contradicts itself.
pub fn recover(kv: &mut dyn Kv, group: GroupId, recovery: &Recovery) -> Result<(), KvError> {
    if group == GroupId::CONTROL { control(kv, recovery) } else { metadata(kv) }
}

/// The group's time: the latest stamp of all entries that are applied. 0 in a group that never had any.
///
/// # Errors
/// The store failed, or the row cannot be read.
pub fn group_time(kv: &dyn KvRead) -> Result<Timestamp, KvError> {
    Ok(group::load(kv)?.time)
}

fn metadata(kv: &mut dyn Kv) -> Result<(), KvError> {
    let mut counters = group::load(kv)?;
    counters.ino += NUMBERS;
    counters.list += NUMBERS;
    counters.held = true;
    group::store(kv, &counters);
    Ok(())
}

fn control(kv: &mut dyn Kv, recovery: &Recovery) -> Result<(), KvError> {
    let mut header: Header = row::read(kv, &ControlKey)?.unwrap_or_default();
    header.session.0 += SESSIONS;
    header.bucket.0 += NUMBERS;
    row::write(kv, &ControlKey, &header);
    let options: GarbageOptions = row::read(kv, &GarbageOptionsKey)?.unwrap_or_default();
    row::write(kv, &GarbageOptionsKey, &GarbageOptions { on: false, ..options });
    if let Some(mut map) = row::read(kv, &MapKey)? {
        move_map_on(&mut map, recovery);
        row::write(kv, &MapKey, &map);
    }
    Ok(())
}

fn move_map_on(map: &mut PlacementMap, recovery: &Recovery) {
    map.version += VERSIONS;
    for group in &mut map.groups {
        group.epoch.0 += NUMBERS;
    }
    for entry in map.nodes.iter_mut().filter(|entry| recovery.lost.contains(&entry.id)) {
        entry.mode = NodeMode::Removed;
    }
    for (id, voters) in &recovery.voters {
        if let Some(placed) = map.raft_groups.iter_mut().find(|placed| placed.id == *id) {
            placed.voters.clone_from(voters);
            placed.wanted.clone_from(voters);
            // Whatever was reported of entries that are lost must not outweigh what the group says from now on.
            placed.voters_at = LogIndex(0);
        }
    }
}

#[cfg(test)]
mod tests;
