//! The tree: adding and removing names, whichever face asked for it.
//!
//! A file has a row `name`, a directory a row `name/`; the two are different names, both may stand side by side. The object
//! whose key is a directory's own path (`a/`) is a file with the empty name in that directory, its marker. A directory
//! that was made for a key goes with its last child when S3 removes that (`prune`); when a mount removes it, the
//! directory becomes a lasting one (`adopt`), since a mount must be able to go on in a directory it has emptied.

use crate::bucket::first_frag;
use crate::dentry::{self, Dentry};
use crate::inode::{Directory, Inode, Place, What};
use crate::key::dentry::DentryKey;
use crate::key::inode::InodeKey;
use crate::kv::{KvError, KvRead};
use crate::trash::Reason;
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::Refusal;
use types::{Ino, KEY_BYTES_MAX};

/// An S3 key taken apart: the directories it leads through, and the name in the last; empty for a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyPath<'k> {
    dirs: Option<&'k [u8]>,
    pub(crate) name: &'k [u8],
}

impl<'k> KeyPath<'k> {
    pub(crate) fn parse(key: &'k [u8]) -> Result<Self, Refusal> {
        if key.is_empty() {
            return Err(Refusal::Invalid);
        }
        Ok(match key.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => KeyPath { dirs: Some(&key[..slash]), name: &key[slash + 1..] },
            None => KeyPath { dirs: None, name: key },
        })
    }

    /// As [`KeyPath::parse`] for a key that is to be made.
    pub(crate) fn parse_new(key: &'k [u8]) -> Result<Self, Refusal> {
        if key.len() > KEY_BYTES_MAX {
            return Err(Refusal::NameTooLong);
        }
        Self::parse(key)
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = &'k [u8]> {
        self.dirs.into_iter().flat_map(|dirs| dirs.split(|byte| *byte == b'/'))
    }
}

/// The place a key names, if all its directories are there.
pub(crate) fn resolve(kv: &dyn KvRead, root: Ino, path: &KeyPath<'_>) -> Result<Option<Place>, KvError> {
    let mut dir = root;
    let mut frag = frag_of(kv, dir)?;
    for name in path.dirs() {
        let Some(child) = dentry::dir(kv, frag, name)? else { return Ok(None) };
        dir = child.ino;
        frag = frag_of(kv, dir)?;
    }
    Ok(Some(Place { dir, frag, name: Bytes::copy_from_slice(path.name) }))
}

/// The fragment of a directory that a row refers to.
pub(crate) fn frag_of(kv: &dyn KvRead, dir: Ino) -> Result<types::FragId, KvError> {
    let inode = crate::row::require(kv, &InodeKey(dir))?;
    match inode.directory() {
        Ok(directory) => Ok(directory.frag()),
        Err(_) => Err(crate::row::Corrupt::Row(crate::row::Key::encode(&InodeKey(dir))).into()),
    }
}

impl Txn<'_> {
    /// Changes a directory that is there and notes the time.
    pub(crate) fn update_dir(&mut self, dir: Ino, change: impl FnOnce(&mut Directory)) -> Step<()> {
        let mut inode = self.require_inode(dir)?;
        change(inode.directory_mut()?);
        inode.modified(self.now);
        self.put_inode(dir, &inode);
        Ok(())
    }

    /// Gives a new file its first name; the name must be free. Writes the inode.
    pub(crate) fn add_file(&mut self, place: Place, ino: Ino, inode: &mut Inode) -> Step<()> {
        self.count_usage(inode.bucket, None, Some(inode.size()))?;
        self.give_name(place, ino, inode)
    }

    /// Gives a file another name; the name must be free. Writes the inode.
    pub(crate) fn give_name(&mut self, place: Place, ino: Ino, inode: &mut Inode) -> Step<()> {
        let marker = place.name.is_empty();
        let dir = place.dir;
        inode.nlink += 1;
        let key = DentryKey::file(place.frag, &place.name);
        if inode.nlink == 1 {
            inode.parent = Some(place);
        } else if let Some(first) = inode.parent.take() {
            self.write(&DentryKey::file(first.frag, &first.name), &inode.dentry(ino));
        }
        self.write(&key, &inode.dentry(ino));
        self.put_inode(ino, inode);
        self.update_dir(dir, |directory| {
            directory.marker |= marker;
            directory.entries += u64::from(!marker);
        })
    }

    /// Takes a file's name away; the last one moves it to the trash. Changes nothing if the bucket's breaker refuses that.
    pub(crate) fn remove_file(&mut self, place: &Place, ino: Ino, reason: Reason) -> Step<()> {
        let before = self.require_inode(ino)?;
        if before.nlink == 1 && self.counts_as_deletion(&before, reason) {
            self.check_breaker(before.bucket)?;
        }
        let mut inode = self.take_name(place, ino)?;
        inode.changed(self.now);
        if inode.nlink == 0 {
            self.count_usage(inode.bucket, Some(inode.size()), None)?;
            self.bin(ino, &inode, place, reason)?;
        }
        self.put_inode(ino, &inode);
        Ok(())
    }

    /// Takes a file's name away and hands over its inode, with one link less and not yet written.
    pub(crate) fn take_name(&mut self, place: &Place, ino: Ino) -> Step<Inode> {
        let mut inode = self.require_inode(ino)?;
        self.remove(&DentryKey::file(place.frag, &place.name));
        inode.nlink = inode.nlink.saturating_sub(1);
        if inode.parent.as_ref() == Some(place) {
            inode.parent = None;
        }
        let marker = place.name.is_empty();
        self.update_dir(place.dir, |directory| {
            directory.marker &= !marker;
            directory.entries -= u64::from(!marker);
        })?;
        Ok(inode)
    }

    /// Makes a directory; the name must be free.
    pub(crate) fn add_dir(&mut self, place: Place, mut inode: Inode) -> Step<Ino> {
        let ino = self.next_ino();
        let dir = place.dir;
        if let Ok(directory) = inode.directory_mut() {
            directory.fragments = Directory::new(first_frag(ino), false).fragments;
        }
        self.write(&DentryKey::dir(place.frag, &place.name), &inode.dentry(ino));
        inode.parent = Some(place);
        self.put_inode(ino, &inode);
        self.update_dir(dir, |directory| {
            directory.entries += 1;
            directory.subdirs += 1;
        })?;
        Ok(ino)
    }

    /// Removes a directory that is bare.
    pub(crate) fn remove_dir(&mut self, place: &Place, ino: Ino) -> Step<()> {
        let inode = self.require_inode(ino)?;
        self.drop_xattrs(ino, inode.xattrs)?;
        self.remove(&InodeKey(ino));
        self.remove(&DentryKey::dir(place.frag, &place.name));
        self.update_dir(place.dir, |directory| {
            directory.entries -= 1;
            directory.subdirs -= 1;
        })
    }

    /// Moves a directory to another name, which must be free.
    pub(crate) fn move_dir(&mut self, from: &Place, to: Place, ino: Ino) -> Step<()> {
        let mut inode = self.require_inode(ino)?;
        self.remove(&DentryKey::dir(from.frag, &from.name));
        self.write(&DentryKey::dir(to.frag, &to.name), &inode.dentry(ino));
        let dir = to.dir;
        inode.parent = Some(to);
        inode.changed(self.now);
        self.put_inode(ino, &inode);
        self.update_dir(from.dir, |directory| {
            directory.entries -= 1;
            directory.subdirs -= 1;
        })?;
        self.update_dir(dir, |directory| {
            directory.entries += 1;
            directory.subdirs += 1;
        })
    }

    /// The place a key names; directories that are missing are made, implicit.
    pub(crate) fn make_way(&mut self, root: Ino, path: &KeyPath<'_>) -> Step<Place> {
        self.make_way_with(root, path, |_| {})
    }

    /// As [`Txn::make_way`]; `shape` may change each new directory before it is made.
    pub(crate) fn make_way_with(&mut self, root: Ino, path: &KeyPath<'_>, shape: impl Fn(&mut Inode)) -> Step<Place> {
        let mut dir = root;
        for name in path.dirs() {
            let place = self.place(dir, name)?;
            dir = match dentry::dir(self.rows(), place.frag, name)? {
                Some(child) => child.ino,
                None => {
                    let bucket = self.require_inode(dir)?.bucket;
                    let mut inode = self.new_inode(bucket, What::Directory(Directory::new(first_frag(dir), false)));
                    shape(&mut inode);
                    self.add_dir(place, inode)?
                }
            };
        }
        self.place(dir, path.name)
    }

    /// Removes a directory that was made for a key and is bare now, and those above it in the same state.
    pub(crate) fn prune(&mut self, mut dir: Ino) -> Step<()> {
        loop {
            let inode = self.require_inode(dir)?;
            let directory = inode.directory()?;
            let Some(place) = inode.parent.as_ref().filter(|_| directory.is_bare() && !directory.lasting) else {
                return Ok(());
            };
            self.remove_dir(place, dir)?;
            dir = place.dir;
        }
    }

    /// Lets a directory that was made for a key and is bare now stay.
    pub(crate) fn adopt(&mut self, dir: Ino) -> Step<()> {
        let mut inode = self.require_inode(dir)?;
        let directory = inode.directory_mut()?;
        if directory.is_bare() && !directory.lasting {
            directory.lasting = true;
            self.put_inode(dir, &inode);
        }
        Ok(())
    }

    /// The file a place names.
    pub(crate) fn file_at(&self, place: &Place) -> Step<Option<Dentry>> {
        Ok(dentry::file(self.rows(), place.frag, &place.name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_into_directories_and_a_name() {
        let split = |key: &'static str| {
            let path = KeyPath::parse(key.as_bytes()).expect("not empty");
            let dirs = path.dirs().map(|dir| String::from_utf8_lossy(dir).into_owned()).collect::<Vec<_>>();
            (dirs.join("|"), path.dirs().count(), String::from_utf8_lossy(path.name).into_owned())
        };
        assert_eq!(split("a"), (String::new(), 0, "a".into()));
        assert_eq!(split("a/"), ("a".into(), 1, String::new()));
        assert_eq!(split("a/b"), ("a".into(), 1, "b".into()));
        assert_eq!(split("/"), (String::new(), 1, String::new()));
        assert_eq!(split("//x"), ("|".into(), 2, "x".into()));
        assert_eq!(split("a/./../b/"), ("a|.|..|b".into(), 4, String::new()));
        assert_eq!(KeyPath::parse(b""), Err(Refusal::Invalid));
        assert_eq!(KeyPath::parse_new(&[b'a'; 1025]), Err(Refusal::NameTooLong));
        assert!(KeyPath::parse_new(&[b'a'; 1024]).is_ok());
    }
}
