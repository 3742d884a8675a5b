//! What a first map is made from.

use crate::PlacementError;
use std::collections::BTreeSet;
use types::{DiskId, GroupId, NODE_DISKS_MAX, NodeId, REPLICAS};

/// A node that is to be part of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedNode {
    /// Its id; not 0.
    pub id: NodeId,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain; copies of a chunk and voters of a group stand in different ones.
    pub domain: String,
    /// Its disks, in the order the map numbers them. 1..=`NODE_DISKS_MAX`.
    pub disks: Vec<DiskId>,
}

/// How the first map is cut. The defaults fit clusters of three to some twenty nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialPlan {
    /// Slots that chunk ids name. More slots than groups let later maps split groups without touching ids. 1..=65,535.
    pub slots: u16,
    /// Placement groups. 1..=`slots`. With 64, a node of a three-node cluster is in all of them and a node of twenty in about ten.
    pub groups: u16,
    /// Metadata groups beside the control group. 1..`GroupId::LIMIT`.
    pub meta_groups: u32,
}

impl Default for InitialPlan {
    fn default() -> Self {
        InitialPlan { slots: 256, groups: 64, meta_groups: 4 }
    }
}

impl InitialPlan {
    /// Refuses what no map can be made of.
    pub(crate) fn validate(&self, nodes: &[PlannedNode]) -> Result<(), PlacementError> {
        let meta_groups_fit = (1..GroupId::LIMIT).contains(&self.meta_groups);
        if self.groups == 0 || self.slots < self.groups || !meta_groups_fit {
            return Err(PlacementError::Plan(*self));
        }
        let mut ids = BTreeSet::new();
        let mut disks = BTreeSet::new();
        for node in nodes {
            if node.id == NodeId(0) || node.id.0 >= NodeId::LIMIT || !ids.insert(node.id) {
                return Err(PlacementError::NodeId(node.id));
            }
            if node.disks.is_empty() || node.disks.len() > NODE_DISKS_MAX {
                return Err(PlacementError::Disks { node: node.id, disks: node.disks.len() });
            }
            if let Some(disk) = node.disks.iter().find(|disk| !disks.insert(**disk)) {
                return Err(PlacementError::DiskTwice(*disk));
            }
        }
        let domains = nodes.iter().map(|node| &node.domain).collect::<BTreeSet<_>>().len();
        if domains < REPLICAS {
            return Err(PlacementError::TooFewDomains { domains });
        }
        Ok(())
    }
}
