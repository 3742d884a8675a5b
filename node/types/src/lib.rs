//! Ids, epochs, sizes, checksums, the placement map and what checks find: the nouns every other crate shares.
//!
//! No I/O, no clock, no randomness. Everything here is plain data with a fixed meaning; the byte
//! layout of what is stored or sent stands in `docs/FORMATS.md`.

#![forbid(unsafe_code)]

mod chunk;
mod content;
mod finding;
mod hash;
mod id;
mod level;
mod limits;
mod moment;
mod placement_map;
mod retry;
mod set_digest;
mod time;

pub use chunk::{ChunkId, ChunkIdParts};
pub use content::{ChunkRef, Extent};
pub use finding::{FINDINGS_LISTED_MAX, Finding, Findings, Severity};
pub use hash::{Blake3Root, Leaf, LeafList, RootMismatch, leaves_of, root_of, verify_range};
pub use id::{
    BucketId, ClusterId, DiskId, FragId, GroupId, Incarnation, Ino, InvitationId, ListId, LogIndex, NodeId, PgEpoch,
    PgId, ReplicaId, RequestId, RuleId, SessionId, Slot, Term, UploadId, WriterEpoch,
};
pub use level::FeatureLevel;
pub use limits::*;
pub use moment::Moment;
pub use placement_map::{
    CLASS_BYTES_MAX, ClassCopies, DISK_WEIGHT_DEFAULT, DiskEntry, DiskState, Domain, FailureLevel, GroupPlacement,
    Member, Move, MoveFault, MovePhase, NodeEntry, NodeMode, NodeState, OptionFault, PlacementGroup, PlacementMap,
    PlacementOptions, PlacementRule, RULE_NAME_BYTES_MAX, RULES_MAX, RuleEntry, RuleFault, SLOTS_MAX, Spread, zone_of,
};
pub use retry::RetryClass;
pub use set_digest::SetDigest;
pub use time::Timestamp;
