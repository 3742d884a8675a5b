//! Commands of a mount: names below a directory's inode.

mod rename;
#[cfg(test)]
mod tests;

use crate::bucket::first_frag;
use crate::content::Content;
use crate::dentry::Dentry;
use crate::inode::{Directory, Inode, MODE_MASK, Place, What};
use crate::kv::KvRead;
use crate::trash::Reason;
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::{Refusal, SetTime};
use proto::object::{Attr, ETag, FileKind, NewContent, NewExtent};
use types::{FILE_BYTES_MAX, Ino, NAME_BYTES_MAX, Timestamp};

/// Names of a file, as ext4 has it.
const LINKS_MAX: u32 = 65_000;

/// What a mount asks for with `Create`.
pub(crate) struct NewFile<'c> {
    pub(crate) kind: FileKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) content: &'c NewContent,
    pub(crate) exclusive: bool,
}

/// What a mount asks for with `SetAttr`.
pub(crate) struct NewAttr {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Option<SetTime>,
    pub(crate) mtime: Option<SetTime>,
}

/// Whether a mount may make this name.
fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Refusal::NameTooLong);
    }
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Refusal::Invalid);
    }
    Ok(())
}

/// The content that a mount may change.
fn file_content(inode: &mut Inode) -> Result<&mut Content, Refusal> {
    match &mut inode.what {
        What::File(content) => Ok(content),
        What::Symlink(_) => Err(Refusal::Invalid),
        What::Directory(_) => Err(Refusal::IsDirectory),
    }
}

/// The directory and the file of one name in a directory, as far as a mount can reach them: it never sees a marker.
pub(crate) fn find(
    kv: &dyn KvRead,
    frag: types::FragId,
    name: &[u8],
) -> Result<(Option<Dentry>, Option<Dentry>), crate::kv::KvError> {
    if name.contains(&b'/') {
        return Ok((None, None));
    }
    let dir = crate::dentry::dir(kv, frag, name)?;
    let file = if name.is_empty() { None } else { crate::dentry::file(kv, frag, name)? };
    Ok((dir, file))
}

impl Txn<'_> {
    /// A name in a directory that a caller named, in a bucket that may be changed; and that directory.
    fn place_in(&self, parent: Ino, name: &Bytes) -> Step<(Place, Inode)> {
        let inode = self.inode(parent)?;
        let frag = inode.directory()?.frag();
        self.bucket(inode.bucket)?;
        Ok((Place { dir: parent, frag, name: name.clone() }, inode))
    }

    fn find(&self, place: &Place) -> Step<(Option<Dentry>, Option<Dentry>)> {
        Ok(find(self.rows(), place.frag, &place.name)?)
    }

    pub(crate) fn create(&mut self, parent: Ino, name: &Bytes, new: &NewFile<'_>) -> Step<Attr> {
        let (place, dir) = self.place_in(parent, name)?;
        check_name(name)?;
        if new.mode > MODE_MASK {
            return Err(Refusal::Invalid.into());
        }
        let (there, file) = self.find(&place)?;
        if let Some(there) = there.or(file) {
            return self.create_existing(&there, new);
        }
        let what = match new.kind {
            FileKind::Directory => return self.create_dir(place, &dir, new),
            FileKind::File => What::File,
            FileKind::Symlink => {
                if !matches!(new.content, NewContent::Inline(target) if !target.is_empty()) {
                    return Err(Refusal::Invalid.into());
                }
                What::Symlink
            }
        };
        let ino = self.next_ino();
        let content = self.accept(ino, new.content, ETag::Posix)?;
        let mut inode = self.new_inode(dir.bucket, what(content));
        (inode.mode, inode.uid, inode.gid) = (new.mode, new.uid, new.gid);
        self.add_file(place, ino, &mut inode)?;
        Ok(inode.attr(ino))
    }

    fn create_existing(&self, there: &Dentry, new: &NewFile<'_>) -> Step<Attr> {
        match (new.exclusive, there.kind, new.kind) {
            (false, FileKind::Directory, FileKind::File | FileKind::Symlink) => Err(Refusal::IsDirectory.into()),
            (true, _, _) | (false, FileKind::File | FileKind::Symlink, FileKind::Directory) => {
                Err(Refusal::Exists.into())
            }
            _ => Ok(self.require_inode(there.ino)?.attr(there.ino)),
        }
    }

    fn create_dir(&mut self, place: Place, parent: &Inode, new: &NewFile<'_>) -> Step<Attr> {
        if !new.content.is_empty() {
            return Err(Refusal::Invalid.into());
        }
        let mut inode = self.new_inode(parent.bucket, What::Directory(Directory::new(first_frag(place.dir), true)));
        (inode.mode, inode.uid, inode.gid) = (new.mode, new.uid, new.gid);
        let ino = self.add_dir(place, inode)?;
        Ok(self.require_inode(ino)?.attr(ino))
    }

    pub(crate) fn link(&mut self, ino: Ino, parent: Ino, name: &Bytes) -> Step<Attr> {
        let (place, dir) = self.place_in(parent, name)?;
        check_name(name)?;
        let mut inode = self.inode(ino)?;
        if inode.content().is_none() {
            return Err(Refusal::IsDirectory.into());
        }
        if inode.bucket != dir.bucket {
            return Err(Refusal::CrossBucket.into());
        }
        if inode.nlink == 0 {
            return Err(Refusal::StaleInode.into());
        }
        if self.find(&place)? != (None, None) {
            return Err(Refusal::Exists.into());
        }
        if inode.nlink >= LINKS_MAX {
            return Err(Refusal::TooManyLinks.into());
        }
        inode.changed(self.now);
        self.give_name(place, ino, &mut inode)?;
        Ok(inode.attr(ino))
    }

    pub(crate) fn unlink(&mut self, parent: Ino, name: &Bytes) -> Step<()> {
        let (place, _) = self.place_in(parent, name)?;
        match self.find(&place)? {
            (_, Some(file)) => {
                self.remove_file(&place, file.ino, Reason::Unlinked)?;
                self.adopt(parent)
            }
            (Some(_), None) => Err(Refusal::IsDirectory.into()),
            (None, None) => Err(Refusal::NotFound.into()),
        }
    }

    pub(crate) fn rmdir(&mut self, parent: Ino, name: &Bytes) -> Step<()> {
        let (place, _) = self.place_in(parent, name)?;
        match self.find(&place)? {
            (Some(dir), _) => {
                self.empty_dir(dir.ino)?;
                self.remove_dir(&place, dir.ino)?;
                self.adopt(parent)
            }
            (None, Some(_)) => Err(Refusal::NotDirectory.into()),
            (None, None) => Err(Refusal::NotFound.into()),
        }
    }

    /// Makes a directory bare in which a mount sees nothing: a marker goes to the trash.
    fn empty_dir(&mut self, dir: Ino) -> Step<()> {
        let inode = self.require_inode(dir)?;
        let directory = inode.directory()?;
        if directory.entries > 0 {
            return Err(Refusal::NotEmpty.into());
        }
        if directory.marker {
            let place = Place { dir, frag: directory.frag(), name: Bytes::new() };
            let marker = self.require(&crate::key::dentry::DentryKey::file(place.frag, b""))?;
            self.remove_file(&place, marker.ino, Reason::Unlinked)?;
        }
        Ok(())
    }

    /// An inode as it is within this command.
    pub(crate) fn attr(&self, ino: Ino) -> Step<Attr> {
        Ok(self.require_inode(ino)?.attr(ino))
    }

    pub(crate) fn set_attr(&mut self, ino: Ino, new: &NewAttr) -> Step<Attr> {
        let mut inode = self.inode(ino)?;
        self.bucket(inode.bucket)?;
        if new.mode.is_some_and(|mode| mode > MODE_MASK) {
            return Err(Refusal::Invalid.into());
        }
        if let Some(size) = new.size {
            self.truncate(ino, &mut inode, size)?;
        }
        inode.mode = new.mode.unwrap_or(inode.mode);
        inode.uid = new.uid.unwrap_or(inode.uid);
        inode.gid = new.gid.unwrap_or(inode.gid);
        inode.atime = self.time(new.atime).unwrap_or(inode.atime);
        inode.mtime = self.time(new.mtime).unwrap_or(inode.mtime);
        inode.changed(self.now);
        self.put_inode(ino, &inode);
        Ok(inode.attr(ino))
    }

    fn time(&self, set: Option<SetTime>) -> Option<Timestamp> {
        set.map(|set| match set {
            SetTime::Now => self.now,
            SetTime::At(time) => time,
        })
    }

    fn truncate(&mut self, ino: Ino, inode: &mut Inode, size: u64) -> Step<()> {
        file_content(inode)?;
        if size > FILE_BYTES_MAX {
            return Err(Refusal::TooLarge.into());
        }
        if size == 0 {
            self.replace_content(ino, inode)?;
        }
        let now = self.now;
        let (bucket, named) = (inode.bucket, inode.nlink > 0);
        let content = file_content(inode)?;
        let before = content.size;
        if size != before {
            self.resize(ino, content, size)?;
            content.etag = ETag::Posix;
        }
        inode.mtime = now;
        self.count_size(bucket, named, before, size)
    }

    /// Counts the new size of a file with or without a name.
    fn count_size(&mut self, bucket: types::BucketId, named: bool, before: u64, after: u64) -> Step<()> {
        let (before, after) = (Some(before), Some(after));
        if named { self.count_usage(bucket, before, after) } else { self.count_trash(bucket, before, after) }
    }

    pub(crate) fn write_file(
        &mut self,
        ino: Ino,
        inline: Option<&Bytes>,
        extents: &[NewExtent],
        append: bool,
    ) -> Step<Attr> {
        let mut inode = self.inode(ino)?;
        self.bucket(inode.bucket)?;
        file_content(&mut inode)?;
        if inline.is_none() && extents.is_empty() {
            return Ok(inode.attr(ino));
        }
        if self.replaces_all(ino, &inode, inline, extents, append)? {
            self.replace_content(ino, &mut inode)?;
        }
        let (bucket, named) = (inode.bucket, inode.nlink > 0);
        let content = file_content(&mut inode)?;
        let before = content.size;
        self.write_content(ino, content, inline, extents, append)?;
        content.etag = ETag::Posix;
        let after = content.size;
        inode.modified(self.now);
        self.count_size(bucket, named, before, after)?;
        self.put_inode(ino, &inode);
        Ok(inode.attr(ino))
    }
}
