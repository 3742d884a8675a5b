//! The control group: `0x80` = counters, `0x81` = the placement map, `0x82 name` = a bucket, `0x83 bucket:8` = a bucket's name,
//! `0x84 name` = a user, `0x85 access key` = a key pair, `0x86 session:8` = an open session, `0x87` = how garbage is collected,
//! `0x88 invitation:16` = an invitation, `0x89 node:8` = until when a node may be away, `0x8f bucket:8` = a deleted bucket.

use super::{Fields, KeyBytes, Table, end_of};
use crate::control::{BucketRow, DeletedBucketRow, Header, InvitationRow, SessionRow, UserRow};
use crate::row::Key;
use proto::control::{AccessKey, GarbageOptions};
use types::{BucketId, InvitationId, NodeId, PlacementMap, SessionId, Timestamp};

pub(crate) struct ControlKey;

pub(crate) struct MapKey;

/// Missing while everything is as by default.
pub(crate) struct GarbageOptionsKey;

pub(crate) struct BucketNameKey<'n>(pub(crate) &'n str);

pub(crate) struct BucketIdKey(pub(crate) BucketId);

pub(crate) struct DeletedBucketKey(pub(crate) BucketId);

pub(crate) struct InvitationKey(pub(crate) InvitationId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RestKey(pub(crate) NodeId);

pub(crate) struct UserKey<'n>(pub(crate) &'n str);

pub(crate) struct AccessKeyKey<'n>(pub(crate) &'n str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriterSessionKey(pub(crate) SessionId);

/// The range of a whole table.
pub(crate) fn range_of(table: Table) -> (Vec<u8>, Vec<u8>) {
    let start = KeyBytes::new(table).done();
    let end = end_of(&start);
    (start, end)
}

impl WriterSessionKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::WriterSession, key)?;
        let session = SessionId(fields.u64()?);
        fields.end()?;
        Some(WriterSessionKey(session))
    }
}

impl RestKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Rest, key)?;
        let node = NodeId(fields.u64()?);
        fields.end()?;
        Some(RestKey(node))
    }
}

impl Key for ControlKey {
    type Value = Header;
    // 2: the last rule of placement.
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Control).done()
    }
}

impl Key for GarbageOptionsKey {
    type Value = GarbageOptions;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::GarbageOptions).done()
    }
}

impl Key for MapKey {
    type Value = PlacementMap;
    // 2: moves, modes, disks with classes and weights, options. 3: who shall vote beside who does, levels.
    // 4: rules of placement, classes in them, the rule of each group.
    const VERSION: u8 = 4;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Map).done()
    }
}

impl Key for InvitationKey {
    type Value = InvitationRow;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Invitation).bytes(&self.0.0).done()
    }
}

impl Key for RestKey {
    type Value = Timestamp;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Rest).u64(self.0.0).done()
    }
}

impl Key for BucketNameKey<'_> {
    type Value = BucketRow;
    // 2: its rule of placement.
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::BucketName).bytes(self.0.as_bytes()).done()
    }
}

impl Key for BucketIdKey {
    type Value = String;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::BucketId).u64(self.0.0).done()
    }
}

impl Key for DeletedBucketKey {
    type Value = DeletedBucketRow;
    // 2: its rule of placement.
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::DeletedBucket).u64(self.0.0).done()
    }
}

impl Key for UserKey<'_> {
    type Value = UserRow;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::User).bytes(self.0.as_bytes()).done()
    }
}

impl Key for AccessKeyKey<'_> {
    type Value = AccessKey;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::AccessKey).bytes(self.0.as_bytes()).done()
    }
}

impl Key for WriterSessionKey {
    type Value = SessionRow;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::WriterSession).u64(self.0.0).done()
    }
}
