//! The move of one copy of a placement group from one disk to another, as the control group records it.
//!
//! ```text
//!            begin            barrier passed         synced              commit
//!  settled --------> Barrier ----------------> Copying -------> Synced ----------> settled, with the new member
//!     e       e+1               e+1               e+1      e+1             e+2
//!                       abort in any of them: settled, with the old members, e+2
//! ```
//! From the begin on writers write to the old members and the new one. After the barrier no put is left that the new member did not
//! get a chance of, so a listing of the old members shows everything else.

use super::{DiskState, FailureLevel, Member, NodeMode, NodeState, PlacementGroup, PlacementMap};
use crate::{NodeId, SetDigest};
use serde::{Deserialize, Serialize};

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovePhase {
    /// Members may still take puts of the epoch before.
    Barrier,
    /// No such put is left; the new member copies.
    Copying,
    /// The new member was found to hold what the old members hold.
    Synced {
        /// Chunks compared.
        chunks: u64,
        /// Their ids, lengths and hashes.
        digest: SetDigest,
    },
}

/// A move in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Index into `members` of the one that leaves.
    pub at: u8,
    /// The disk that comes in its place.
    pub to: Member,
    /// How far it has come.
    pub phase: MovePhase,
}

/// Why a copy may not move there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MoveFault {
    /// The group has no such member.
    #[error("no such member")]
    NoSuchMember,
    /// No such node or disk.
    #[error("no such disk")]
    NoSuchDisk,
    /// The node is not up, is draining or was removed.
    #[error("{0} takes no copies")]
    NodeUnfit(NodeId),
    /// The disk is draining, full or broken, or its weight is 0.
    #[error("the disk takes no copies")]
    DiskUnfit,
    /// The node has a copy of the group already.
    #[error("{0} has a copy already")]
    NodeTaken(NodeId),
    /// Copies would stand in fewer failure domains than those that are left now.
    #[error("fewer failure domains than before")]
    FewerDomains,
}

impl PlacementMap {
    /// Whether member `at` of a group may move to `to`: a disk that takes copies, on a node that has no other copy, no nearer to the others than
    /// the copies that are left stand now. Racks and zones that the group's rule does not ask for may become fewer where that gives copies the
    /// class that it does ask for. The one rule for planners and for the state machine.
    ///
    /// # Errors
    /// [`MoveFault`], the first that is found.
    pub fn move_fits(&self, group: &PlacementGroup, at: usize, to: Member) -> Result<(), MoveFault> {
        group.members.get(at).ok_or(MoveFault::NoSuchMember)?;
        let node = self.node(to.node).ok_or(MoveFault::NoSuchDisk)?;
        let disk = node.disks.get(usize::from(to.disk)).ok_or(MoveFault::NoSuchDisk)?;
        if node.state != NodeState::Up || node.mode != NodeMode::Active {
            return Err(MoveFault::NodeUnfit(to.node));
        }
        if disk.state != DiskState::Active || disk.weight == 0 {
            return Err(MoveFault::DiskUnfit);
        }
        let stay = || group.members.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, member)| *member);
        if group.members.contains(&to) || stay().any(|member| member.node == to.node) {
            return Err(MoveFault::NodeTaken(to.node));
        }
        let rule = self.rule(group.rule);
        let now = self.spread_at(rule.level, group.members.iter().copied().filter(|member| !self.is_lost(*member)));
        let then = self.spread_at(rule.level, stay().chain([to]));
        if then.asked < now.asked {
            return Err(MoveFault::FewerDomains);
        }
        let nearer = then.domains < now.domains || then.zones < now.zones;
        let lacked = self.copies_lacking(rule, group.members.iter().copied());
        if nearer && self.copies_lacking(rule, stay().chain([to])) >= lacked {
            return Err(MoveFault::FewerDomains);
        }
        Ok(())
    }

    /// In how many domains and how many zones these members stand.
    pub fn spread(&self, members: impl Iterator<Item = Member>) -> (usize, usize) {
        let spread = self.spread_at(FailureLevel::Rack, members);
        (spread.domains, spread.zones)
    }
}
