//! Buckets: names, ids, and which metadata group holds each.

use super::users::is_user_name;
use super::{BucketRow, Change, DeletedBucketRow, Header, Step, table};
use crate::key::Table;
use crate::key::control::{BucketIdKey, BucketNameKey, DeletedBucketKey, MapKey};
use crate::kv::{KvError, KvRead};
use crate::row;
use proto::control::{BucketInfo, ControlOutcome, ControlRefusal};
use std::collections::BTreeMap;
use types::{BucketId, GroupId, PlacementMap, RuleId};

/// One answer lists them all.
const BUCKETS_MAX: u32 = 8192;
/// Deleted buckets that are remembered; of more the one deleted first is forgotten.
const DELETED_BUCKETS_MAX: usize = 1024;

/// Whether S3 allows `name` for a bucket.
///
/// Source: Amazon S3 user guide, "General purpose bucket naming rules".
pub(super) fn is_bucket_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(byte))
        && edge(bytes.first())
        && edge(bytes.last())
        && !name.contains("..")
        && !is_ipv4(name)
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|reserved| name.starts_with(reserved))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|reserved| name.ends_with(reserved))
}

/// Whether a name looks like an address, in whatever range its numbers are.
fn is_ipv4(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    parts.len() == 4 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The metadata group with the fewest buckets, of these the lowest.
fn emptiest(map: &PlacementMap, header: &Header) -> Option<GroupId> {
    let count = |group: &GroupId| header.buckets.iter().find(|(id, _)| id == group).map_or(0, |(_, count)| *count);
    map.metadata_groups().min_by_key(|group| (count(group), *group))
}

impl Change<'_> {
    pub(super) fn create_bucket(&mut self, name: &str, owner: &str, nonce: u128, rule: RuleId) -> Step<ControlOutcome> {
        if !is_bucket_name(name) {
            return Err(ControlRefusal::InvalidBucketName.into());
        }
        if !is_user_name(owner) {
            return Err(ControlRefusal::InvalidName.into());
        }
        if let Some(there) = self.read(&BucketNameKey(name))? {
            return match there.info.owner == owner {
                true if there.nonce == nonce => Ok(ControlOutcome::Bucket(there.info)),
                true => Err(ControlRefusal::BucketExistsYours.into()),
                false => Err(ControlRefusal::BucketExists.into()),
            };
        }
        let map = self.read(&MapKey)?.ok_or(ControlRefusal::NotBootstrapped)?;
        if !map.has_rule(rule) {
            return Err(ControlRefusal::NoSuchRule.into());
        }
        let group = emptiest(&map, &self.header).ok_or(ControlRefusal::NotBootstrapped)?;
        if self.header.buckets.iter().map(|(_, count)| count).sum::<u32>() >= BUCKETS_MAX {
            return Err(ControlRefusal::Limit.into());
        }
        let id = BucketId(self.header.bucket.0 + 1);
        self.header.bucket = id;
        self.count(group, 1);
        let info = BucketInfo { id, name: name.to_owned(), group, owner: owner.to_owned(), created: self.now, rule };
        self.write(&BucketNameKey(name), &BucketRow { info: info.clone(), nonce });
        self.write(&BucketIdKey(id), &name.to_owned());
        Ok(ControlOutcome::Bucket(info))
    }

    /// Forgets a bucket; one that is forgotten stays so.
    pub(super) fn delete_bucket(&mut self, bucket: BucketId) -> Step<ControlOutcome> {
        let Some(name) = self.read(&BucketIdKey(bucket))? else {
            return if bucket.0 == 0 || bucket > self.header.bucket {
                Err(ControlRefusal::NoSuchBucket.into())
            } else {
                Ok(ControlOutcome::Done)
            };
        };
        if let Some(row) = self.read(&BucketNameKey(&name))? {
            self.count(row.info.group, -1);
            self.forget_oldest()?;
            let deleted = self.now;
            self.forget_bucket_rule(bucket)?;
            self.write(&DeletedBucketKey(bucket), &DeletedBucketRow { bucket: row, deleted });
        }
        self.remove(&BucketNameKey(&name));
        self.remove(&BucketIdKey(bucket));
        Ok(ControlOutcome::Done)
    }

    /// Makes room for one more deleted bucket.
    fn forget_oldest(&mut self) -> Step<()> {
        let deleted = deleted(&self.rows)?;
        if deleted.len() >= DELETED_BUCKETS_MAX
            && let Some(oldest) = deleted.iter().min_by_key(|row| (row.deleted, row.bucket.info.id))
        {
            self.remove(&DeletedBucketKey(oldest.bucket.info.id));
        }
        Ok(())
    }

    /// Remembers a deleted bucket again. One that is remembered under this name already stays so.
    pub(super) fn undelete_bucket(&mut self, bucket: BucketId, name: &str) -> Step<ControlOutcome> {
        if !is_bucket_name(name) {
            return Err(ControlRefusal::InvalidBucketName.into());
        }
        let there = self.read(&BucketNameKey(name))?;
        if let Some(there) = there {
            let same = there.info.id == bucket;
            return if same {
                Ok(ControlOutcome::Bucket(there.info))
            } else {
                Err(ControlRefusal::BucketExists.into())
            };
        }
        let Some(deleted) = self.read(&DeletedBucketKey(bucket))? else {
            return Err(ControlRefusal::NoSuchBucket.into());
        };
        if self.header.buckets.iter().map(|(_, count)| count).sum::<u32>() >= BUCKETS_MAX {
            return Err(ControlRefusal::Limit.into());
        }
        let mut row = deleted.bucket;
        name.clone_into(&mut row.info.name);
        self.count(row.info.group, 1);
        // Whoever knows the bucket from before may know an older rule of it.
        self.note_bucket_rule(bucket, row.info.rule)?;
        self.remove(&DeletedBucketKey(bucket));
        self.write(&BucketNameKey(name), &row);
        self.write(&BucketIdKey(bucket), &name.to_owned());
        Ok(ControlOutcome::Bucket(row.info))
    }

    fn count(&mut self, group: GroupId, by: i32) {
        let buckets = &mut self.header.buckets;
        let at = match buckets.binary_search_by_key(&group, |(id, _)| *id) {
            Ok(at) => at,
            Err(at) => {
                buckets.insert(at, (group, 0));
                at
            }
        };
        buckets[at].1 = buckets[at].1.saturating_add_signed(by);
    }
}

/// Buckets that were deleted, by id.
pub(super) fn deleted(kv: &dyn KvRead) -> Result<Vec<DeletedBucketRow>, KvError> {
    let rows = table(kv, Table::DeletedBucket)?;
    rows.iter().map(|(key, value)| row::decode::<DeletedBucketKey>(key, value)).collect()
}

/// Names and ids lead to each other, and the counts of the groups are right.
pub(super) fn check(kv: &dyn KvRead, header: &Header) -> Result<Vec<String>, KvError> {
    let mut broken = Vec::new();
    let mut counted: BTreeMap<GroupId, u32> = header.buckets.iter().map(|(group, _)| (*group, 0)).collect();
    let names = table(kv, Table::BucketName)?;
    for (key, value) in &names {
        let info = row::decode::<BucketNameKey<'_>>(key, value)?.info;
        *counted.entry(info.group).or_default() += 1;
        if row::read(kv, &BucketIdKey(info.id))?.as_deref() != Some(info.name.as_str()) {
            broken.push(format!("bucket {} is not found by {}", info.name, info.id));
        }
    }
    if names.len() != table(kv, Table::BucketId)?.len() {
        broken.push("buckets by name and by id differ in number".to_owned());
    }
    for row in deleted(kv)? {
        if row::read(kv, &BucketIdKey(row.bucket.info.id))?.is_some() {
            broken.push(format!("bucket {} is there and deleted", row.bucket.info.id));
        }
    }
    if counted.into_iter().collect::<Vec<_>>() != header.buckets {
        broken.push(format!("buckets a group: {:?} is wrong", header.buckets));
    }
    Ok(broken)
}
