//! What a mount asks for.

use super::{Dir, Expected, File, Id, Kind, Result, World};
use bytes::Bytes;
use proto::meta::{BadChunk, Command, Refusal, SetTime, SetXattrMode};
use proto::object::{ETag, FileKind, NewContent, NewExtent};
use proto::trash::TrashReason;
use types::Ino;

impl World {
    pub(super) fn apply_posix(&mut self, command: &Command) -> Result<Expected> {
        match command {
            Command::Create { parent, name, kind, mode, uid, gid, content, exclusive } => {
                let dir = self.dir_named(*parent)?;
                Self::check_name(name)?;
                if *mode > 0o7777 {
                    return Err(Refusal::Invalid);
                }
                let (there, file) = self.find(dir, name);
                if let Some(id) = there.or(file) {
                    return match (exclusive, there.is_some(), kind) {
                        (true, ..) | (false, false, FileKind::Directory) => Err(Refusal::Exists),
                        (false, true, FileKind::File | FileKind::Symlink) => Err(Refusal::IsDirectory),
                        _ => Ok(Expected::Attr(id)),
                    };
                }
                let kind = match kind {
                    FileKind::Directory if !content.is_empty() => return Err(Refusal::Invalid),
                    FileKind::Directory => Kind::Dir(Dir { lasting: true, ..Dir::default() }),
                    FileKind::File => Kind::File(self.accept(content, ETag::Posix)?),
                    FileKind::Symlink => match content {
                        NewContent::Inline(target) if !target.is_empty() => {
                            Kind::Symlink(self.accept(content, ETag::Posix)?)
                        }
                        _ => return Err(Refusal::Invalid),
                    },
                };
                let is_dir = matches!(kind, Kind::Dir(_));
                let id = self.add(self.nodes[&dir].bucket, kind, *mode);
                let node = self.nodes.get_mut(&id).expect("new");
                (node.uid, node.gid) = (*uid, *gid);
                let parent = self.dir_mut(dir);
                if is_dir { &mut parent.dirs } else { &mut parent.files }.insert(name.clone(), id);
                Ok(Expected::Attr(id))
            }
            Command::Link { ino, parent, name } => {
                let dir = self.dir_named(*parent)?;
                Self::check_name(name)?;
                let id = self.node_of(*ino)?;
                if self.file(id).is_none() {
                    return Err(Refusal::IsDirectory);
                }
                if self.nodes[&id].bucket != self.nodes[&dir].bucket {
                    return Err(Refusal::CrossBucket);
                }
                if self.links(id) == 0 {
                    return Err(Refusal::StaleInode);
                }
                if self.find(dir, name) != (None, None) {
                    return Err(Refusal::Exists);
                }
                let node = self.nodes.get_mut(&id).expect("there");
                (node.ctime, node.knows_its_name) = (self.now, false);
                self.dir_mut(dir).files.insert(name.clone(), id);
                Ok(Expected::Attr(id))
            }
            Command::Unlink { parent, name } => {
                let dir = self.dir_named(*parent)?;
                match self.find(dir, name) {
                    (_, Some(_)) => self.remove_name(dir, name, TrashReason::Unlinked)?,
                    (Some(_), None) => return Err(Refusal::IsDirectory),
                    (None, None) => return Err(Refusal::NotFound),
                }
                self.adopt(dir);
                Ok(Expected::Done)
            }
            Command::Rmdir { parent, name } => {
                let dir = self.dir_named(*parent)?;
                match self.find(dir, name) {
                    (Some(child), _) => self.remove_dir(dir, name, child)?,
                    (None, Some(_)) => return Err(Refusal::NotDirectory),
                    (None, None) => return Err(Refusal::NotFound),
                }
                self.adopt(dir);
                Ok(Expected::Done)
            }
            Command::Rename { parent, name, new_parent, new_name, no_replace } => {
                self.rename(*parent, name, *new_parent, new_name, *no_replace)
            }
            Command::SetAttr { ino, mode, uid, gid, size, atime, mtime } => {
                let id = self.node_of(*ino)?;
                self.usable(self.nodes[&id].bucket)?;
                if mode.is_some_and(|mode| mode > 0o7777) {
                    return Err(Refusal::Invalid);
                }
                let now = self.now;
                match (size, &self.nodes[&id].kind) {
                    (None, _) => {}
                    (Some(_), Kind::Dir(_)) => return Err(Refusal::IsDirectory),
                    (Some(_), Kind::Symlink(_)) => return Err(Refusal::Invalid),
                    (Some(size), Kind::File(_)) if *size > 5 << 40 => return Err(Refusal::TooLarge),
                    (Some(size), Kind::File(_)) => self.truncate(id, *size)?,
                }
                let node = self.nodes.get_mut(&id).expect("there");
                let time = |set: &SetTime| match set {
                    SetTime::Now => now,
                    SetTime::At(time) => *time,
                };
                node.mode = mode.unwrap_or(node.mode);
                node.uid = uid.unwrap_or(node.uid);
                node.gid = gid.unwrap_or(node.gid);
                node.atime = atime.as_ref().map_or(node.atime, time);
                node.mtime = mtime.as_ref().map_or(node.mtime, time);
                node.ctime = now;
                Ok(Expected::Attr(id))
            }
            Command::Write { ino, inline, extents, append } => self.write(*ino, inline.as_ref(), extents, *append),
            Command::SetXattr { ino, name, value, mode } => {
                let id = self.node_of(*ino)?;
                self.usable(self.nodes[&id].bucket)?;
                Self::check_xattr(name, value)?;
                let now = self.now;
                let node = self.nodes.get_mut(&id).expect("there");
                match (mode, node.xattrs.contains_key(name)) {
                    (SetXattrMode::Create, true) => return Err(Refusal::Exists),
                    (SetXattrMode::Replace, false) => return Err(Refusal::NoXattr),
                    _ => {}
                }
                node.xattrs.insert(name.clone(), value.clone());
                node.ctime = now;
                Ok(Expected::Done)
            }
            Command::RemoveXattr { ino, name } => {
                let id = self.node_of(*ino)?;
                self.usable(self.nodes[&id].bucket)?;
                let now = self.now;
                let node = self.nodes.get_mut(&id).expect("there");
                node.xattrs.remove(name).ok_or(Refusal::NoXattr)?;
                node.ctime = now;
                Ok(Expected::Done)
            }
            other => panic!("no command of a mount: {other:?}"),
        }
    }

    pub(super) fn truncate(&mut self, id: Id, size: u64) -> Result<()> {
        if size == 0 {
            let kept = self.judge_replaced(id)?;
            self.replaced(id, kept);
        }
        let node = self.nodes.get_mut(&id).expect("there");
        node.mtime = self.now;
        if let Kind::File(file) = &mut node.kind
            && file.data.len() as u64 != size
        {
            file.resize(size);
            file.etag = ETag::Posix;
            node.version += 1;
        }
        Ok(())
    }

    /// Removes a directory in which a mount sees nothing.
    pub(super) fn remove_dir(&mut self, parent: Id, name: &Bytes, dir: Id) -> Result<()> {
        let this = self.dir(dir);
        if !this.dirs.is_empty() || this.files.keys().any(|name| !name.is_empty()) {
            return Err(Refusal::NotEmpty);
        }
        if self.dir(dir).files.contains_key(&b""[..]) {
            self.remove_name(dir, &Bytes::new(), TrashReason::Unlinked)?;
        }
        self.dir_mut(parent).dirs.remove(name);
        self.nodes.remove(&dir);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        parent: Ino,
        name: &Bytes,
        to: Ino,
        new: &Bytes,
        no_replace: bool,
    ) -> Result<Expected> {
        let from = self.dir_named(parent)?;
        let to = self.dir_named(to)?;
        if self.nodes[&from].bucket != self.nodes[&to].bucket {
            return Err(Refusal::CrossBucket);
        }
        Self::check_name(new)?;
        let (dir, file) = self.find(from, name);
        let there = self.find(to, new);
        let source = dir.or(file).ok_or(Refusal::NotFound)?;
        if no_replace && there != (None, None) {
            return Err(Refusal::Exists);
        }
        if let Some(dir) = dir {
            if (from, name) == (to, new) {
                return Ok(Expected::Done);
            }
            let mut above = Some(to);
            while let Some(at) = above {
                if at == dir {
                    return Err(Refusal::Invalid);
                }
                above = self.parent_of(at).map(|(parent, _)| parent);
            }
            match there {
                (Some(old), _) => self.remove_dir(to, new, old)?,
                (None, Some(_)) => return Err(Refusal::NotDirectory),
                (None, None) => {}
            }
            self.dir_mut(from).dirs.remove(name);
            self.dir_mut(to).dirs.insert(new.clone(), dir);
        } else {
            match there {
                (Some(_), _) => return Err(Refusal::IsDirectory),
                (None, Some(old)) if old == source => return Ok(Expected::Done),
                (None, Some(_)) => self.remove_name(to, new, TrashReason::RenamedOver)?,
                (None, None) => {}
            }
            self.dir_mut(from).files.remove(name);
            self.dir_mut(to).files.insert(new.clone(), source);
            // Where it has no other name, it knows the new one.
            self.nodes.get_mut(&source).expect("there").knows_its_name = self.links(source) == 1;
        }
        self.nodes.get_mut(&source).expect("there").ctime = self.now;
        self.adopt(from);
        Ok(Expected::Done)
    }

    pub(super) fn write(
        &mut self,
        ino: Ino,
        inline: Option<&Bytes>,
        extents: &[NewExtent],
        append: bool,
    ) -> Result<Expected> {
        let id = self.node_of(ino)?;
        self.usable(self.nodes[&id].bucket)?;
        match &self.nodes[&id].kind {
            Kind::Dir(_) => return Err(Refusal::IsDirectory),
            Kind::Symlink(_) => return Err(Refusal::Invalid),
            Kind::File(_) => {}
        }
        if inline.is_none() && extents.is_empty() {
            return Ok(Expected::Attr(id));
        }
        let replaced = self.replaces_all(id, inline, extents, append);
        let kept = replaced && self.judge_replaced(id)?;
        let mut at = 0;
        for NewExtent { extent, .. } in extents {
            if extent.file_offset < at || !extent.is_well_formed() {
                return Err(Refusal::BadChunk(BadChunk::Malformed));
            }
            at = extent.end();
        }
        if inline.is_some_and(|data| data.len() > 4096) {
            return Err(Refusal::TooLarge);
        }
        self.commit(extents)?;
        if replaced {
            self.replaced(id, kept);
        }
        let mut file = match inline {
            Some(data) => File::new(data.to_vec(), ETag::Posix, false),
            None => self.file(id).expect("a file").clone(),
        };
        let base = if append { file.data.len() as u64 } else { 0 };
        self.lay(&mut file.data, extents, base);
        file.laid.extend(extents.iter().map(|new| new.extent.file_offset + base..new.extent.end() + base));
        file.etag = ETag::Posix;
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("there");
        (node.mtime, node.ctime) = (now, now);
        node.version += 1;
        node.kind = Kind::File(file);
        Ok(Expected::Attr(id))
    }
}
