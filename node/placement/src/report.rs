//! What a planner decided, and what it could not do and why.

use types::{Member, PgEpoch, PgId, PlacementMap, REPLICAS, RuleId};

/// Why a copy is to move, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The copy is gone; so many are left.
    Lost {
        /// Copies left.
        copies_left: u8,
    },
    /// Its node or disk is draining.
    Drain,
    /// Copies could stand in more failure domains.
    Spread,
    /// It lies on a disk of the wrong class.
    Class,
    /// Its disk holds more than its share.
    Balance,
}

/// A move that should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// The group.
    pub pg: PgId,
    /// Its epoch in the map the plan was made from.
    pub epoch: PgEpoch,
    /// The member that leaves.
    pub from: Member,
    /// The disk that takes its place.
    pub to: Member,
    /// Why.
    pub reason: Reason,
}

/// What should be done next.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// Moves in progress that lead nowhere, with the epochs to give them up under.
    pub aborts: Vec<(PgId, PgEpoch)>,
    /// Moves to begin.
    pub moves: Vec<PlannedMove>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.aborts.is_empty() && self.moves.is_empty()
    }
}

/// Why a move that is needed is not in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No copy of the group is left to copy from.
    NoCopyLeft,
    /// No disk may take it: none is up, active and in a free failure domain.
    NoTarget,
    /// Enough moves are in progress.
    Limit,
    /// Another copy of the group is moving.
    Moving,
}

/// A move that is needed and not in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The group.
    pub pg: PgId,
    /// The member that should leave.
    pub from: Member,
    /// Why it should.
    pub reason: Reason,
    /// What is in the way.
    pub obstacle: Obstacle,
}

/// What a group at rest does not have of what its rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Copies stand in fewer domains.
    Domains,
    /// Copies lie on disks of a wrong class.
    Class,
}

/// A group at rest that its rule would have elsewhere, and no disk to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The group.
    pub pg: PgId,
    /// Its rule.
    pub rule: RuleId,
    /// What is missing.
    pub lacks: Lack,
}

/// How the groups stand.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// Groups by the number of copies that are not lost.
    pub groups_by_copies: [u32; REPLICAS + 1],
    /// Moves in progress.
    pub running: u32,
    /// Needed and not begun.
    pub blocked: Vec<Blocked>,
    /// What rules ask for and the cluster cannot give.
    pub unmet: Vec<Unmet>,
}

impl Report {
    /// The state of a map, nothing planned.
    pub(crate) fn of(map: &PlacementMap) -> Report {
        let mut report = Report::default();
        for group in &map.groups {
            let copies = group.members.iter().filter(|member| !map.is_lost(**member)).count();
            report.groups_by_copies[copies.min(REPLICAS)] += 1;
            report.running += u32::from(group.moving.is_some());
        }
        report
    }
}
