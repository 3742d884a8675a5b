//! Why no map can be made.

use crate::InitialPlan;
use types::{DiskId, NodeId};

/// The input allows no map. Nothing helps but another input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Three copies need three failure domains.
    #[error("copies need 3 failure domains, the nodes stand in {domains}")]
    TooFewDomains {
        /// How many there are.
        domains: usize,
    },
    /// A node id that is 0, too large or used twice.
    #[error("{0} is used twice, or is not one of 1 to 1,048,575")]
    NodeId(NodeId),
    /// A node without disks, or with too many.
    #[error("{node} has {disks} disks; 1 to 256 are possible")]
    Disks {
        /// The node.
        node: NodeId,
        /// How many it has.
        disks: usize,
    },
    /// The same disk is named twice.
    #[error("disk {0} is named twice")]
    DiskTwice(DiskId),
    /// Counts outside their ranges.
    #[error("impossible counts: {0:?}")]
    Plan(InitialPlan),
}
