//! The way back: files in the trash get their names again.

use super::{TrashRow, by_mount, path_of};
use crate::inode::{self, IMPLICIT_MODE, Inode, Place};
use crate::key::trash::TrashKey;
use crate::namespace::{KeyPath, resolve};
use crate::trash::Reason;
use crate::txn::{COMMAND_ROWS_MAX, Step, Txn, settle};
use bytes::Bytes;
use proto::meta::Refusal;
use proto::trash::{NameTaken, Restored, TRASH_BATCH_MAX, TrashId};
use types::{BucketId, Ino, KEY_BYTES_MAX};

/// Rows that restoring one file may change: two for each directory that is made, and a few.
const RESTORE_ROWS_MAX: usize = 2 * KEY_BYTES_MAX + 32;
/// Names beside a taken one that are tried.
const BESIDE_MAX: u16 = 999;

impl Txn<'_> {
    pub(crate) fn restore_trash(
        &mut self,
        bucket: BucketId,
        entries: &[TrashId],
        to: &Bytes,
        taken: NameTaken,
    ) -> Step<Vec<Result<Restored, Refusal>>> {
        let root = self.bucket(bucket)?.root;
        if entries.len() > TRASH_BATCH_MAX {
            return Err(Refusal::TooLarge.into());
        }
        if to.len() > KEY_BYTES_MAX {
            return Err(Refusal::NameTooLong.into());
        }
        let mut restored = Vec::with_capacity(entries.len());
        for id in entries {
            restored.push(settle(self.restore_one(root, &TrashKey::of(bucket, *id), to, taken))?);
        }
        Ok(restored)
    }

    /// Restores one file. Changes nothing if it is refused.
    fn restore_one(&mut self, root: Ino, key: &TrashKey, to: &Bytes, taken: NameTaken) -> Step<Restored> {
        if self.rows_changed() + RESTORE_ROWS_MAX > COMMAND_ROWS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let Some(row) = self.read(key)? else { return self.restored_before(key) };
        let path = Bytes::from([to.as_ref(), &row.path].concat());
        let path = KeyPath::parse(&path)?;
        let way = if to.is_empty() { self.old_place(&row)? } else { None };
        let free = self.free_name(root, way.as_ref(), &path, taken)?;

        let mut inode = self.require_inode(key.ino)?;
        let mut place = match way {
            Some(place) => place,
            None => self.way_back(root, &path, &inode, row.reason)?,
        };
        let restored = match free {
            Some(beside) => {
                place.name = beside_name(&place.name, beside);
                Restored::Beside(beside)
            }
            None => Restored::Named,
        };
        if let Some(old) = self.file_at(&place)? {
            self.remove_file(&place, old.ino, Reason::Replaced)?;
        }
        self.remove(key);
        self.count_trash(inode.bucket, Some(inode.size()), None)?;
        inode.changed(self.now);
        self.add_file(place, key.ino, &mut inode)?;
        Ok(restored)
    }

    /// An entry that is not there: was it restored before?
    fn restored_before(&self, key: &TrashKey) -> Step<Restored> {
        let named = |inode: &Inode| inode.bucket == key.bucket && inode.nlink > 0;
        match inode::load(self.rows(), key.ino)?.filter(named) {
            Some(_) => Ok(Restored::Already),
            None => Err(Refusal::NotFound.into()),
        }
    }

    /// The place the file stood at, if its directory is still where it was. The path alone does not do where it was too long to be
    /// kept whole.
    fn old_place(&self, row: &TrashRow) -> Step<Option<Place>> {
        let Some(parent) = inode::load(self.rows(), row.parent)? else { return Ok(None) };
        let Ok(directory) = parent.directory() else { return Ok(None) };
        let place = Place { dir: row.parent, frag: directory.frag(), name: row.name.clone() };
        Ok((path_of(self.rows(), &place)? == row.path).then_some(place))
    }

    /// Looks at the name: `None` if the file may have it as it is, a number if it stands beside another.
    fn free_name(&self, root: Ino, way: Option<&Place>, path: &KeyPath<'_>, taken: NameTaken) -> Step<Option<u16>> {
        let there = match way {
            Some(place) => Some(place.clone()),
            None => resolve(self.rows(), root, path)?,
        };
        let Some(mut place) = there else { return Ok(None) };
        if self.file_at(&place)?.is_none() {
            return Ok(None);
        }
        match taken {
            NameTaken::Replace => Ok(None),
            NameTaken::Refuse => Err(Refusal::Exists.into()),
            NameTaken::KeepBoth => {
                let name = place.name.clone();
                for beside in 1..=BESIDE_MAX {
                    place.name = beside_name(&name, beside);
                    if self.file_at(&place)?.is_none() {
                        return Ok(Some(beside));
                    }
                }
                Err(Refusal::Exists.into())
            }
        }
    }

    /// The place the path names. What a mount removed comes back into lasting directories that belong to the file's owner, what S3
    /// removed into implicit ones.
    fn way_back(&mut self, root: Ino, path: &KeyPath<'_>, file: &Inode, reason: Reason) -> Step<Place> {
        let lasting = by_mount(reason);
        self.make_way_with(root, path, |inode| {
            if lasting {
                (inode.mode, inode.uid, inode.gid) = (IMPLICIT_MODE, file.uid, file.gid);
                if let Ok(directory) = inode.directory_mut() {
                    directory.lasting = true;
                }
            }
        })
    }
}

/// The name of a file that stands beside another of its name.
fn beside_name(name: &[u8], beside: u16) -> Bytes {
    Bytes::from([name, format!(".restored-{beside}").as_bytes()].concat())
}
