//! How copies are moved: settings of the whole cluster, changed at run time and kept with the map.

use serde::{Deserialize, Serialize};

/// Settings of placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementOptions {
    /// Seconds a node may be down before its copies are made anew elsewhere. 1 to 604,800; default 300: a restart or a new kernel takes
    /// less, and copying a node's disks for nothing takes hours.
    pub out_after_seconds: u32,
    /// Moves in progress in the whole cluster. 1 to 4,096; default 16.
    pub moves_max: u16,
    /// Moves into one node, and as many out of it. 1 to 256; default 4.
    pub moves_per_node_max: u16,
    /// Moves into one disk. 1 to 256; default 2.
    pub moves_per_disk_max: u16,
    /// Bytes a second that one node copies for moves; groups with one copy left are not held back. 0 means no cap; default 64 MiB.
    pub copy_bytes_per_second: u64,
}

/// A setting outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionFault(pub &'static str);

impl Default for PlacementOptions {
    fn default() -> Self {
        PlacementOptions {
            out_after_seconds: 300,
            moves_max: 16,
            moves_per_node_max: 4,
            moves_per_disk_max: 2,
            copy_bytes_per_second: 64 << 20,
        }
    }
}

impl PlacementOptions {
    /// Refuses what is outside its range.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), OptionFault> {
        let rules = [
            ((1..=604_800).contains(&self.out_after_seconds), "out_after_seconds is 1 to 604800"),
            ((1..=4096).contains(&self.moves_max), "moves_max is 1 to 4096"),
            ((1..=256).contains(&self.moves_per_node_max), "moves_per_node_max is 1 to 256"),
            ((1..=256).contains(&self.moves_per_disk_max), "moves_per_disk_max is 1 to 256"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(OptionFault(rule)),
            None => Ok(()),
        }
    }
}
