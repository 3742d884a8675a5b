//! The feature level: what the nodes of a cluster may rely on each other to understand.
//!
//! A new program reads and answers what the one before it did, and writes and asks nothing else until every node runs it and an operator has said
//! so (`sago cluster finalize`). From then on the one before it cannot take part any more.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A level. History: 1 = the first; 2 = nodes rest; 3 = records. 0 = nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct FeatureLevel(pub u32);

impl FeatureLevel {
    /// What every program can do.
    pub const FIRST: FeatureLevel = FeatureLevel(1);
    /// A node may be away for a while without being given up (docs/adr/0026-rests.md).
    pub const RESTS: FeatureLevel = FeatureLevel(2);
    /// Metadata groups keep records (docs/adr/0031-records.md).
    pub const RECORDS: FeatureLevel = FeatureLevel(3);
    /// What this program can do.
    pub const NEWEST: FeatureLevel = FeatureLevel::RECORDS;
    /// The oldest at which it works; the level before [`FeatureLevel::NEWEST`], if there was one.
    pub const OLDEST: FeatureLevel = FeatureLevel::RESTS;
}

const _: () = assert!(FeatureLevel::OLDEST.0 <= FeatureLevel::NEWEST.0, "a program works at its own level");
const _: () = assert!(FeatureLevel::NEWEST.0 - FeatureLevel::OLDEST.0 <= 1, "N and N-1 work together, and no others");

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level-{}", self.0)
    }
}
