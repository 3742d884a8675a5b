//! Chooses where copies and voters stand, and checks a map that claims to have done so.
//!
//! Pure: the same input gives the same map, on every machine. A leader decides once and the log carries the decision, so the
//! algorithm may change between versions while the maps it made stay.
//!
//! * [`initial`] makes the first map of a cluster: placement groups of three disks in three failure domains, evenly spread over
//!   disks and pairs of nodes, and the voters of every Raft group.
//! * [`found_rule`] makes the groups of a further rule.
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
mod rules;
#[cfg(test)]
mod rules_tests;
mod shares;
mod voters;
#[cfg(test)]
mod voters_tests;

pub use check::{check, check_plan};
pub use error::PlacementError;
pub use groups::initial;
pub use input::{InitialPlan, PlannedNode};
pub use plan::{Limits, plan};
pub use report::{Blocked, Lack, Obstacle, Plan, PlannedMove, Reason, Report, Unmet};
pub use rules::{RULE_GROUPS, found_rule};
pub use voters::{Standing, VoterNode, VoterPlan, plan_voters};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
