//! Who shall vote in the Raft groups, and who does.

use super::{Change, Step};
use proto::control::{ControlOutcome, ControlRefusal};
use std::collections::BTreeSet;
use types::{GroupId, GroupPlacement, LogIndex, NodeId, NodeMode, PlacementMap};

/// Voters of one group. Five survive the loss of two; more would only slow every commit.
const VOTERS_MAX: usize = 7;
/// Voters before and after a change.
const RECORDED_MAX: usize = 2 * VOTERS_MAX;

impl Change<'_> {
    pub(super) fn place_voters(&mut self, group: GroupId, wanted: &[NodeId]) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        if wanted.len() > VOTERS_MAX || wanted.len().is_multiple_of(2) {
            return Err(ControlRefusal::BadVoters.into());
        }
        let mut domains = BTreeSet::new();
        for node in wanted {
            let entry = map.node(*node).ok_or(ControlRefusal::BadVoters)?;
            if entry.mode == NodeMode::Removed || !domains.insert(entry.domain.clone()) {
                return Err(ControlRefusal::BadVoters.into());
            }
        }
        let placed = placed(&mut map, group)?;
        if placed.wanted == wanted {
            return Ok(ControlOutcome::Done);
        }
        placed.wanted = wanted.to_vec();
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn record_voters(&mut self, group: GroupId, at: LogIndex, voters: &[NodeId]) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        if voters.is_empty() || voters.len() > RECORDED_MAX {
            return Err(ControlRefusal::BadVoters.into());
        }
        let placed = placed(&mut map, group)?;
        if at <= placed.voters_at || placed.voters == voters {
            return Ok(ControlOutcome::Done);
        }
        placed.voters = voters.to_vec();
        placed.voters_at = at;
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }
}

fn placed(map: &mut PlacementMap, group: GroupId) -> Result<&mut GroupPlacement, ControlRefusal> {
    map.raft_groups.iter_mut().find(|placed| placed.id == group).ok_or(ControlRefusal::NoSuchRaftGroup)
}
