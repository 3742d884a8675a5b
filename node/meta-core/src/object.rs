//! Commands of S3: whole objects by key.

#[cfg(test)]
mod tests;

use crate::dentry::{self, Dentry, Hint};
use crate::inode::{Inode, Place, What};
use crate::kv::{KvError, KvRead};
use crate::namespace::{KeyPath, resolve};
use crate::row::Corrupt;
use crate::trash::Reason;
use crate::txn::{COMMAND_ROWS_MAX, Step, Txn};
use crate::{bucket, xattr};
use bytes::Bytes;
use proto::meta::Refusal;
use proto::object::{Attr, ETag, NewContent, Precondition, TagMatch, Xattr};
use types::{BucketId, Ino, KEY_BYTES_MAX};

/// Keys one deletion may name, as S3 has it.
const DELETE_KEYS_MAX: usize = 1000;
/// Rows that deleting one key may change: a row for the name and one for the inode of each directory it leads through.
const DELETE_ROWS_MAX: usize = 2 * KEY_BYTES_MAX + 16;

/// What a listing or a precondition needs to know of a file.
pub(crate) fn hint_of(kv: &dyn KvRead, dentry: &Dentry) -> Result<Hint, KvError> {
    if let Some(hint) = &dentry.hint {
        return Ok(hint.clone());
    }
    let inode = dentry::inode_of(kv, dentry)?;
    let attr = inode.object_attr(dentry.ino);
    Ok(Hint { size: attr.size, mtime: attr.mtime, etag: attr.etag, change: attr.change })
}

/// The object of a key, if there is one.
pub(crate) fn find(kv: &dyn KvRead, root: Ino, path: &KeyPath<'_>) -> Result<Option<(Place, Dentry)>, KvError> {
    let Some(place) = resolve(kv, root, path)? else { return Ok(None) };
    Ok(dentry::file(kv, place.frag, &place.name)?.map(|found| (place, found)))
}

/// As [`find`], with its inode.
pub(crate) fn load(kv: &dyn KvRead, bucket: BucketId, key: &[u8]) -> Result<Result<(Ino, Inode), Refusal>, KvError> {
    let root = match bucket::load(kv, bucket)? {
        Ok(bucket) => bucket.root,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let path = match KeyPath::parse(key) {
        Ok(path) => path,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match find(kv, root, &path)? {
        Some((_, found)) => Ok(Ok((found.ino, dentry::inode_of(kv, &found)?))),
        None => Ok(Err(Refusal::NotFound)),
    }
}

fn matches(tags: &TagMatch, tag: Option<&str>) -> bool {
    match (tags, tag) {
        (_, None) => false,
        (TagMatch::Any, Some(_)) => true,
        (TagMatch::Tags(tags), Some(tag)) => tags.iter().any(|wanted| wanted == tag),
    }
}

/// Judges a precondition on an object with this entity tag, or on none.
pub(crate) fn judge(precondition: &Precondition, tag: Option<&str>) -> Result<(), Refusal> {
    if let Some(tags) = &precondition.if_match
        && !matches(tags, tag)
    {
        return Err(if tag.is_some() { Refusal::PreconditionFailed } else { Refusal::PreconditionNotFound });
    }
    match &precondition.if_none_match {
        Some(tags) if matches(tags, tag) => Err(Refusal::PreconditionFailed),
        _ => Ok(()),
    }
}

impl Txn<'_> {
    /// Judges a precondition on what a key leads to.
    fn judge_found(&self, precondition: &Precondition, found: Option<&Dentry>) -> Step<()> {
        if *precondition == Precondition::default() {
            return Ok(());
        }
        let tag = match found {
            Some(found) => {
                let hint = hint_of(self.rows(), found)?;
                Some(hint.etag.render(found.ino, hint.change))
            }
            None => None,
        };
        Ok(judge(precondition, tag.as_deref())?)
    }

    /// Judges a precondition on a key.
    pub(crate) fn judge_key(&self, precondition: &Precondition, root: Ino, path: &KeyPath<'_>) -> Step<()> {
        if *precondition == Precondition::default() {
            return Ok(());
        }
        let found = find(self.rows(), root, path)?;
        self.judge_found(precondition, found.as_ref().map(|(_, dentry)| dentry))
    }

    /// Makes a new inode the object of a key; what stood there loses that name.
    pub(crate) fn place_object(&mut self, root: Ino, path: &KeyPath<'_>, ino: Ino, mut inode: Inode) -> Step<Attr> {
        let place = self.make_way(root, path)?;
        if let Some(old) = self.file_at(&place)? {
            self.remove_file(&place, old.ino, Reason::Overwritten)?;
        }
        self.add_file(place, ino, &mut inode)?;
        Ok(inode.object_attr(ino))
    }

    pub(crate) fn put_object(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        content: &NewContent,
        etag: ETag,
        xattrs: &[Xattr],
        precondition: &Precondition,
    ) -> Step<Attr> {
        let root = self.bucket(bucket)?.root;
        let path = KeyPath::parse_new(key)?;
        let sum = xattr::check_all(xattrs)?;
        self.judge_key(precondition, root, &path)?;
        let ino = self.next_ino();
        let content = self.accept(ino, content, etag)?;
        self.write_xattrs(ino, xattrs);
        let mut inode = self.new_inode(bucket, What::File(content));
        inode.xattrs = sum;
        self.place_object(root, &path, ino, inode)
    }

    pub(crate) fn delete_objects(
        &mut self,
        bucket: BucketId,
        keys: &[Bytes],
        precondition: &Precondition,
    ) -> Step<Vec<Result<bool, Refusal>>> {
        if keys.len() > DELETE_KEYS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let root = self.bucket(bucket)?.root;
        let mut deleted = Vec::with_capacity(keys.len());
        for key in keys {
            deleted.push(crate::txn::settle(self.delete_object(root, key, precondition))?);
        }
        Ok(deleted)
    }

    /// Deletes one object. Changes nothing if it is refused.
    fn delete_object(&mut self, root: Ino, key: &[u8], precondition: &Precondition) -> Step<bool> {
        if self.rows_changed() + DELETE_ROWS_MAX > COMMAND_ROWS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let path = KeyPath::parse(key)?;
        let found = find(self.rows(), root, &path)?;
        self.judge_found(precondition, found.as_ref().map(|(_, dentry)| dentry))?;
        let Some((place, dentry)) = found else { return Ok(false) };
        self.remove_file(&place, dentry.ino, Reason::Deleted)?;
        self.prune(place.dir)?;
        Ok(true)
    }

    /// Copies an object by reference. The copy of a symbolic link is one.
    pub(crate) fn copy_object(
        &mut self,
        source: (BucketId, &[u8], &Precondition),
        target: (BucketId, &[u8], &Precondition),
        xattrs: Option<&[Xattr]>,
    ) -> Step<Attr> {
        let root = self.bucket(target.0)?.root;
        let path = KeyPath::parse_new(target.1)?;
        let (from, original) = load(self.rows(), source.0, source.1)??;
        judge(source.2, Some(&original.object_attr(from).etag_text()))?;
        let copied;
        let xattrs = match xattrs {
            Some(xattrs) => xattrs,
            None => {
                copied = xattr::list(self.rows(), from)?;
                &copied
            }
        };
        let sum = xattr::check_all(xattrs)?;
        self.judge_key(target.2, root, &path)?;
        let ino = self.next_ino();
        let what = match &original.what {
            What::File(content) => What::File(self.share(from, content, ino)?),
            What::Symlink(content) => What::Symlink(self.share(from, content, ino)?),
            What::Directory(_) => {
                return Err(KvError::from(Corrupt::Row(source.1.to_vec())).into());
            }
        };
        self.write_xattrs(ino, xattrs);
        let mut inode = self.new_inode(target.0, what);
        inode.xattrs = sum;
        self.place_object(root, &path, ino, inode)
    }
}
