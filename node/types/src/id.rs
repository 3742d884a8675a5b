//! Newtypes for every id, index, term and epoch, so that no two of them can be swapped by mistake.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number_id!(/// A machine of the cluster. Never reused; 0 is not valid, and it is below [`NodeId::LIMIT`].
    NodeId, u64, "node-");
number_id!(/// A Raft group. 0 is the control group, 1 and up are metadata groups. 20 bits.
    GroupId, u32, "group-");
number_id!(/// One process life of a gateway, mount or tool. Handed out by the control group, monotonic. 44 bits.
    SessionId, u64, "session-");
number_id!(/// The writer epoch of a session: chunk ids of a closed epoch are refused at commit.
    WriterEpoch, u16, "epoch-");
number_id!(/// A placement slot: the part of a chunk id that names where it lies.
    Slot, u16, "slot-");
number_id!(/// A placement group: three disks in three failure domains.
    PgId, u32, "pg-");
number_id!(/// A rule of placement. Never reused; 0 is the default one.
    RuleId, u16, "rule-");
number_id!(/// The epoch of a placement group. A request with an older one than the node knows is refused.
    PgEpoch, u64, "pge-");
number_id!(/// A bucket. Never reused.
    BucketId, u64, "bucket-");
number_id!(/// A fragment of a directory: the range of one ordered run of directory entries.
    FragId, u64, "frag-");
number_id!(/// A counted extent list, referred to by inodes, uploads and trash.
    ListId, u64, "list-");
number_id!(/// A Raft term.
    Term, u64, "term-");
number_id!(/// A position in a Raft log; 0 is "before the first entry".
    LogIndex, u64, "index-");
number_id!(/// Counts the starts of a node under one id.
    Incarnation, u64, "inc-");

impl GroupId {
    /// The control group: nodes, placement map, buckets, users, sessions.
    pub const CONTROL: GroupId = GroupId(0);
    /// Exclusive upper bound of a group number: it takes 20 bits of an inode number and of a chunk id.
    pub const LIMIT: u32 = 1 << 20;
}

impl RuleId {
    /// The rule of buckets of which nothing was said.
    pub const DEFAULT: RuleId = RuleId(0);
}

impl NodeId {
    /// Exclusive upper bound of a node's number: it takes 20 bits of a [`ReplicaId`].
    pub const LIMIT: u64 = 1 << ReplicaId::NODE_BITS;
}

/// One replica of a Raft group, the peer of Raft's own protocol: `life:44 | node:20`.
///
/// A node that leaves a group and is taken in again comes back as another replica: its life is the index of the log entry that
/// took it in, and 0 for those a group began with, so no id is ever used twice. What the former one promised, and messages of it
/// that are still under way, mean nothing to the group any more. 0 = nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// Bits of the node's part.
    pub const NODE_BITS: u32 = 20;

    /// The replica that the entry at `life` took in on `node`. `node` is below [`NodeId::LIMIT`].
    #[must_use]
    pub fn new(node: NodeId, life: LogIndex) -> Self {
        ReplicaId((life.0 << Self::NODE_BITS) | (node.0 & (NodeId::LIMIT - 1)))
    }

    /// The replica on `node` in a group that began with it.
    #[must_use]
    pub fn founding(node: NodeId) -> Self {
        ReplicaId::new(node, LogIndex(0))
    }

    /// The node it stands on.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId(self.0 & (NodeId::LIMIT - 1))
    }

    /// The entry that took it in.
    #[must_use]
    pub fn life(self) -> LogIndex {
        LogIndex(self.0 >> Self::NODE_BITS)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.life().0 {
            0 => write!(f, "replica-{}", self.node().0),
            life => write!(f, "replica-{}.{life}", self.node().0),
        }
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An inode number: `group:20 | counter:44`. The owning metadata group can be read off it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Ino(pub u64);

impl Ino {
    /// Bits of the counter part.
    pub const COUNTER_BITS: u32 = 44;

    /// Builds an inode number. `counter` is truncated to 44 bits.
    #[must_use]
    pub fn new(group: GroupId, counter: u64) -> Self {
        Ino((u64::from(group.0) << Self::COUNTER_BITS) | (counter & ((1 << Self::COUNTER_BITS) - 1)))
    }

    /// The metadata group that owns the inode.
    #[must_use]
    pub fn group(self) -> GroupId {
        GroupId((self.0 >> Self::COUNTER_BITS) as u32)
    }

    /// The counter within the group.
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0 & ((1 << Self::COUNTER_BITS) - 1)
    }
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ino-{}.{}", self.group().0, self.counter())
    }
}

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex16(text).map($name).ok_or(ParseIdError)
            }
        }
    };
}

random_id!(/// A cluster: 16 random bytes made by `sago cluster init`. Frames of another cluster are dropped.
    ClusterId);
random_id!(/// A data directory: 16 random bytes written into it when it is first used.
    DiskId);
random_id!(/// A multipart upload: 16 random bytes chosen by the gateway that began it.
    UploadId);
random_id!(/// An invitation to join a cluster: 16 random bytes chosen by the operator who gives it.
    InvitationId);

/// An id given as text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct ParseIdError;

fn parse_hex16(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0u8; 16];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Names one mutation of one session, so that it is applied at most once however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The session that sends it.
    pub session: SessionId,
    /// Its number, counted per (session, group) from 1.
    pub seq: u64,
    /// The lowest sequence number the session has not had an answer for; results below it are forgotten.
    pub low: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ino_keeps_group_and_counter_apart() {
        let ino = Ino::new(GroupId(7), (1 << 44) - 1);
        assert_eq!((ino.group(), ino.counter()), (GroupId(7), (1 << 44) - 1));
    }

    #[test]
    fn a_replica_keeps_node_and_life_apart() {
        let replica = ReplicaId::new(NodeId(NodeId::LIMIT - 1), LogIndex((1 << 44) - 1));
        assert_eq!((replica.node().0, replica.life().0), (NodeId::LIMIT - 1, (1 << 44) - 1));
        assert_eq!(ReplicaId::founding(NodeId(7)), ReplicaId(7));
        assert_eq!(ReplicaId::new(NodeId(7), LogIndex(12)).to_string(), "replica-7.12");
    }

    #[test]
    fn ids_print_and_parse_alike() {
        let id = UploadId([0xab; 16]);
        assert_eq!(id.to_string().parse::<UploadId>(), Ok(id));
        assert!("xyz".parse::<UploadId>().is_err());
        assert!("é".repeat(16).parse::<UploadId>().is_err());
    }
}
