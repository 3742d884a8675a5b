//! Chooses where copies and voters stand, and checks a map that claims to have done so.
//!
//! Pure: the same input gives the same map, on every machine. A leader decides once and the log carries the decision, so the
//! algorithm may change between versions while the maps it made stay.
//!
//! * [`initial`] makes the first map of a cluster: placement groups of three disks in three failure domains, evenly spread over
//!   disks and pairs of nodes, and the voters of every Raft group.
//! * [`plan_voters`] says who shall vote when nodes come and go, one step at a time.
//! * [`check()`] says what is wrong with a map, whoever made it.
//! * [`plan()`] says which copies should move next, and what it could not help; [`check_plan`] looks at every plan again.

#![forbid(unsafe_code)]

mod check;
mod error;
mod groups;
mod input;
mod plan;
mod report;
mod shares;
mod voters;
#[cfg(test)]
mod voters_tests;

pub use check::{check, check_plan};
pub use error::PlacementError;
pub use groups::initial;
pub use input::{InitialPlan, PlannedNode};
pub use plan::{Limits, plan};
pub use report::{Blocked, Obstacle, Plan, PlannedMove, Reason, Report};
pub use voters::{Standing, VoterNode, VoterPlan, plan_voters};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;
