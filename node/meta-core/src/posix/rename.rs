//! Rename, as rename(2) has it.

use crate::dentry::Dentry;
use crate::inode::Place;
use crate::trash::Reason;
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::Refusal;
use types::Ino;

/// Directories above the target of a directory's rename: each is read to rule out a loop. Four times the deepest S3 key.
const RENAME_DEPTH_MAX: usize = 4096;

impl Txn<'_> {
    /// Renames a file or, if one of that name is there, a directory.
    pub(crate) fn rename(&mut self, from: (Ino, &Bytes), to: (Ino, &Bytes), no_replace: bool) -> Step<()> {
        let (source, dir) = self.place_in(from.0, from.1)?;
        let (target, new_dir) = self.place_in(to.0, to.1)?;
        if dir.bucket != new_dir.bucket {
            return Err(Refusal::CrossBucket.into());
        }
        super::check_name(to.1)?;
        let (dir, file) = self.find(&source)?;
        let there = self.find(&target)?;
        if no_replace && there != (None, None) && (dir.is_some() || file.is_some()) {
            return Err(Refusal::Exists.into());
        }
        match (dir, file) {
            (Some(dir), _) => self.rename_dir(&source, &dir, target, there)?,
            (None, Some(file)) => self.rename_file(&source, &file, target, there)?,
            (None, None) => return Err(Refusal::NotFound.into()),
        }
        self.adopt(source.dir)
    }

    fn rename_dir(
        &mut self,
        source: &Place,
        dir: &Dentry,
        target: Place,
        there: (Option<Dentry>, Option<Dentry>),
    ) -> Step<()> {
        if *source == target {
            return Ok(());
        }
        if self.is_at_or_above(dir.ino, target.dir)? {
            return Err(Refusal::Invalid.into());
        }
        match there {
            (Some(old), _) => {
                self.empty_dir(old.ino)?;
                self.remove_dir(&target, old.ino)?;
            }
            (None, Some(_)) => return Err(Refusal::NotDirectory.into()),
            (None, None) => {}
        }
        self.move_dir(source, target, dir.ino)
    }

    fn rename_file(
        &mut self,
        source: &Place,
        file: &Dentry,
        target: Place,
        there: (Option<Dentry>, Option<Dentry>),
    ) -> Step<()> {
        match there {
            (Some(_), _) => return Err(Refusal::IsDirectory.into()),
            (None, Some(old)) if old.ino == file.ino => return Ok(()),
            (None, Some(old)) => self.remove_file(&target, old.ino, Reason::RenamedOver)?,
            (None, None) => {}
        }
        let mut inode = self.take_name(source, file.ino)?;
        inode.changed(self.now);
        self.give_name(target, file.ino, &mut inode)
    }

    /// Whether `dir` is `below` or one of the directories above it. The walk ends at the root, since there are no loops.
    fn is_at_or_above(&self, dir: Ino, below: Ino) -> Step<bool> {
        let mut at = below;
        for _ in 0..RENAME_DEPTH_MAX {
            if at == dir {
                return Ok(true);
            }
            match self.require_inode(at)?.parent {
                Some(place) => at = place.dir,
                None => return Ok(false),
            }
        }
        Err(Refusal::TooLarge.into())
    }
}
