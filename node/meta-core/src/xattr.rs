//! Extended attributes; the metadata of S3 objects are some.

use crate::inode::XattrSum;
use crate::key::inode::{InodeRow, XattrKey};
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt};
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::{Refusal, SetXattrMode};
use proto::object::Xattr;
use std::collections::BTreeSet;
use types::Ino;

/// Longest name, as Linux has it.
pub(crate) const XATTR_NAME_BYTES_MAX: usize = 255;
/// Longest value, as Linux has it.
pub(crate) const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;
/// Names and values of one inode together: an answer that lists them must fit an envelope.
pub(crate) const XATTR_BYTES_MAX: u32 = 128 << 10;
/// Attributes of one inode: a command may have to write or drop a row for each.
pub(crate) const XATTRS_MAX: u32 = 1024;

fn check(name: &Bytes, value: &Bytes) -> Result<(), Refusal> {
    if name.is_empty() || name.contains(&0) {
        return Err(Refusal::Invalid);
    }
    if name.len() > XATTR_NAME_BYTES_MAX {
        return Err(Refusal::NameTooLong);
    }
    if value.len() > XATTR_VALUE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

fn weight(name: &[u8], value: &[u8]) -> u32 {
    (name.len() + value.len()) as u32
}

/// Checks a whole set and counts it.
pub(crate) fn check_all(xattrs: &[Xattr]) -> Result<XattrSum, Refusal> {
    if xattrs.len() > XATTRS_MAX as usize {
        return Err(Refusal::TooLarge);
    }
    let mut names = BTreeSet::new();
    let mut sum = XattrSum::default();
    for (name, value) in xattrs {
        check(name, value)?;
        if !names.insert(name) {
            return Err(Refusal::Invalid);
        }
        sum.count += 1;
        sum.bytes = sum.bytes.saturating_add(weight(name, value));
    }
    if sum.bytes > XATTR_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(sum) }
}

/// All extended attributes of an inode, by name.
pub(crate) fn list(kv: &dyn KvRead, ino: Ino) -> Result<Vec<Xattr>, KvError> {
    let (start, end) = XattrKey::range(ino);
    let rows = kv.scan(&start, &end, XATTRS_MAX as usize)?;
    let xattrs = rows.into_iter().map(|(key, value)| match InodeRow::decode(&key) {
        Some(InodeRow::Xattr(XattrKey { name, .. })) => Ok((name, row::decode::<XattrKey>(&key, &value)?)),
        _ => Err(Corrupt::Row(key.to_vec()).into()),
    });
    xattrs.collect()
}

/// One extended attribute.
pub(crate) fn get(kv: &dyn KvRead, ino: Ino, name: &Bytes) -> Result<Option<Bytes>, KvError> {
    row::read(kv, &XattrKey { ino, name: name.clone() })
}

impl Txn<'_> {
    /// Writes the rows of a new inode's attributes, which have passed [`check_all`].
    pub(crate) fn write_xattrs(&mut self, ino: Ino, xattrs: &[Xattr]) {
        for (name, value) in xattrs {
            self.write(&XattrKey { ino, name: name.clone() }, value);
        }
    }

    /// Drops all attribute rows of an inode that goes.
    pub(crate) fn drop_xattrs(&mut self, ino: Ino, sum: XattrSum) -> Step<()> {
        if sum.count == 0 {
            return Ok(());
        }
        let (start, end) = XattrKey::range(ino);
        for (key, _) in self.rows().scan(&start, &end, XATTRS_MAX as usize)? {
            self.remove_raw(&key);
        }
        Ok(())
    }

    pub(crate) fn set_xattr(&mut self, ino: Ino, name: &Bytes, value: &Bytes, mode: SetXattrMode) -> Step<()> {
        let mut inode = self.inode(ino)?;
        self.bucket(inode.bucket)?;
        check(name, value)?;
        let old = get(self.rows(), ino, name)?;
        match (mode, &old) {
            (SetXattrMode::Create, Some(_)) => return Err(Refusal::Exists.into()),
            (SetXattrMode::Replace, None) => return Err(Refusal::NoXattr.into()),
            _ => {}
        }
        let before = old.as_ref().map_or(0, |old| weight(name, old));
        inode.xattrs.bytes = inode.xattrs.bytes - before + weight(name, value);
        inode.xattrs.count += u32::from(old.is_none());
        if inode.xattrs.bytes > XATTR_BYTES_MAX || inode.xattrs.count > XATTRS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        self.write(&XattrKey { ino, name: name.clone() }, value);
        inode.changed(self.now);
        self.put_inode(ino, &inode);
        Ok(())
    }

    pub(crate) fn remove_xattr(&mut self, ino: Ino, name: &Bytes) -> Step<()> {
        let mut inode = self.inode(ino)?;
        self.bucket(inode.bucket)?;
        let old = get(self.rows(), ino, name)?.ok_or(Refusal::NoXattr)?;
        inode.xattrs.bytes -= weight(name, &old);
        inode.xattrs.count -= 1;
        self.remove(&XattrKey { ino, name: name.clone() });
        inode.changed(self.now);
        self.put_inode(ino, &inode);
        Ok(())
    }
}
