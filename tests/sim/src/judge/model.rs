//! The namespace as one would write it down in an hour: names of one directory, files with links, uploads.
//!
//! It knows nothing of rows, and stands beside meta-core as the second opinion of both faces.

mod records;
mod trash;

use super::content::Content;
use bytes::Bytes;
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::{Attr, ETag, Precondition, TagMatch};
use proto::trash::TrashReason;
use records::Records;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trash::Trash;
use types::{ChunkId, Ino, SessionId, Timestamp, UploadId};

#[derive(Clone, Debug)]
struct File {
    content: Content,
    etag: ETag,
    mode: u32,
    nlink: u32,
    xattrs: BTreeMap<Bytes, Bytes>,
    /// Its name, if it has had one only since it had none.
    place: Option<Bytes>,
    /// Who made it and when; who began its content and when.
    made: (SessionId, Timestamp),
    begun: (SessionId, Timestamp),
}

#[derive(Clone, Debug)]
struct Upload {
    key: Bytes,
    parts: BTreeMap<u16, ([u8; 16], Content)>,
}

/// The state after one entry. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    bucket: bool,
    names: BTreeMap<Bytes, Ino>,
    /// All files with a name, and all in the trash.
    files: BTreeMap<Ino, Arc<File>>,
    uploads: BTreeMap<UploadId, Arc<Upload>>,
    trash: Trash,
    records: Records,
    /// The greatest number of an inode so far.
    numbered: u64,
    /// Who has sent the command at hand; nobody if it is the group's own.
    session: SessionId,
}

/// Numbers of inodes that a recovery passes over.
const NUMBERS_PASSED: u64 = 1 << 20;

type Why = String;

/// An outcome is the one that is expected.
fn same<T: std::fmt::Debug + PartialEq>(expected: &T, found: &T) -> Result<(), Why> {
    if expected == found { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
}

fn refused(expected: Refusal, found: &Result<Outcome, Refusal>) -> Result<(), Why> {
    same(&Err(expected), found)
}

/// The attributes of a command that made or changed a file.
fn attr_of(found: &Result<Outcome, Refusal>) -> Result<&Attr, Why> {
    match found {
        Ok(Outcome::Object(attr) | Outcome::Attr(attr) | Outcome::Created { attr, .. }) => Ok(attr),
        other => Err(format!("{other:?}, expected a file")),
    }
}

impl Model {
    /// An entry of that stamp begins.
    pub(super) fn entry(&mut self, stamp: Timestamp) {
        self.trash.advance(stamp);
    }

    /// The group was recovered: numbers are passed over, and nothing expires.
    pub(super) fn recovers(&mut self) {
        self.numbered += NUMBERS_PASSED;
        self.trash.keep(true);
    }

    /// Carries out a command and compares what it came to.
    pub(super) fn apply(
        &mut self,
        session: SessionId,
        command: &Command,
        found: &Result<Outcome, Refusal>,
    ) -> Result<(), Why> {
        self.session = session;
        match command {
            Command::EnsureBucket { .. } => {
                self.numbered += u64::from(!self.bucket);
                self.bucket = true;
                same(&Ok(Outcome::Done), found)
            }
            _ if !self.bucket => refused(Refusal::NoSuchBucket, found),
            Command::PutObject { key, content, etag, precondition, .. } => {
                if let Err(refusal) = self.judge(precondition, key) {
                    return refused(refusal, found);
                }
                self.place_new(key, Content::of(content), *etag, BTreeMap::new(), attr_of(found)?)
            }
            Command::DeleteObjects { keys, .. } => {
                let deleted = keys.iter().map(|key| Ok(self.remove(key, TrashReason::Deleted))).collect();
                same(&Ok(Outcome::Deleted(deleted)), found)
            }
            Command::CopyObject { source_key, key, .. } => {
                let Some(source) = self.file(source_key).cloned() else { return refused(Refusal::NotFound, found) };
                let File { content, etag, xattrs, .. } = (*source).clone();
                self.place_new(key, content, etag, xattrs, attr_of(found)?)
            }
            Command::SetBucketOptions { options, .. } => {
                self.trash.set(options);
                same(&Ok(Outcome::Done), found)
            }
            Command::RestoreTrash { entries, taken, .. } => {
                let expected = Ok(self.restore(entries, *taken));
                same(&expected, found)
            }
            Command::PurgeTrash { entries, .. } => {
                let expected = Ok(self.release(entries, None));
                same(&expected, found)
            }
            Command::ExpireTrash { entries, now, .. } => {
                let expected = Ok(self.release(entries, Some(*now)));
                same(&expected, found)
            }
            Command::CreateUpload { key, upload, .. } => {
                self.numbered += 1;
                self.uploads.insert(*upload, Arc::new(Upload { key: key.clone(), parts: BTreeMap::new() }));
                same(&Ok(Outcome::Done), found)
            }
            Command::PutPart { upload, part, content, md5, .. } => {
                let Some(there) = self.uploads.get_mut(upload) else { return refused(Refusal::NoSuchUpload, found) };
                Arc::make_mut(there).parts.insert(*part, (*md5, Content::of(content)));
                same(&Ok(Outcome::Done), found)
            }
            Command::CompleteUpload { upload, key, parts, etag, .. } => {
                let Some(there) = self.uploads.remove(upload) else { return refused(Refusal::NoSuchUpload, found) };
                let mut content = Content::default();
                for (number, md5) in parts {
                    match there.parts.get(number) {
                        Some((stored, part)) if stored == md5 => content.extend(part),
                        _ => return refused(Refusal::InvalidPart, found),
                    }
                }
                self.place_new(key, content, *etag, BTreeMap::new(), attr_of(found)?)
            }
            Command::AbortUpload { upload, .. } => match self.uploads.remove(upload) {
                Some(_) => same(&Ok(Outcome::Done), found),
                None => refused(Refusal::NoSuchUpload, found),
            },
            Command::PutRecords { changes, .. } => self.put_records(changes, found),
            Command::ClearUnderReplicated { .. } => same(&Ok(Outcome::Done), found),
            Command::ReleaseHold => {
                self.trash.keep(false);
                same(&Ok(Outcome::Done), found)
            }
            posix => self.apply_posix(posix, found),
        }
    }

    fn apply_posix(&mut self, command: &Command, found: &Result<Outcome, Refusal>) -> Result<(), Why> {
        match command {
            Command::Create { name, mode, content, exclusive, .. } => match (self.names.get(name), exclusive) {
                (Some(_), true) => refused(Refusal::Exists, found),
                (Some(there), false) => same(there, &attr_of(found)?.ino),
                (None, _) => {
                    let attr = attr_of(found)?;
                    self.place_new(name, Content::of(content), ETag::Posix, BTreeMap::new(), attr)?;
                    same(mode, &attr.mode)
                }
            },
            Command::Link { ino, name, .. } => match (self.files.get(ino), self.names.get(name)) {
                (Some(file), _) if file.nlink == 0 => refused(Refusal::StaleInode, found),
                (None, _) => refused(Refusal::StaleInode, found),
                (Some(_), Some(_)) => refused(Refusal::Exists, found),
                (Some(_), None) => {
                    self.names.insert(name.clone(), *ino);
                    self.change(*ino, |file| (file.nlink, file.place) = (file.nlink + 1, None));
                    self.compare(*ino, attr_of(found)?)
                }
            },
            Command::Unlink { name, .. } => match self.remove(name, TrashReason::Unlinked) {
                true => attr_of(found).map(|_| ()),
                false => refused(Refusal::NotFound, found),
            },
            Command::Rename { name, new_name, no_replace, .. } => {
                let (from, to) = (self.names.get(name).copied(), self.names.get(new_name).copied());
                match (from, to) {
                    (None, _) => refused(Refusal::NotFound, found),
                    (Some(_), Some(_)) if *no_replace => refused(Refusal::Exists, found),
                    (Some(from), Some(to)) if from == to => same(&Ok(Outcome::Done), found),
                    (Some(from), _) => {
                        self.remove(new_name, TrashReason::RenamedOver);
                        self.names.remove(name);
                        self.names.insert(new_name.clone(), from);
                        self.change(from, |file| file.place = (file.nlink == 1).then(|| new_name.clone()));
                        same(&Ok(Outcome::Done), found)
                    }
                }
            }
            Command::SetAttr { ino, mode, size, .. } => {
                if !self.files.contains_key(ino) {
                    return refused(Refusal::StaleInode, found);
                }
                if *size == Some(0) {
                    self.cut_off(*ino);
                }
                self.change(*ino, |file| {
                    file.mode = mode.unwrap_or(file.mode);
                    if let Some(size) = size.map(|size| size as usize).filter(|size| *size != file.content.len()) {
                        file.content.resize(size);
                        file.etag = ETag::Posix;
                    }
                });
                self.compare(*ino, attr_of(found)?)
            }
            Command::Write { ino, extents, .. } => {
                if !self.files.contains_key(ino) {
                    return refused(Refusal::StaleInode, found);
                }
                self.change(*ino, |file| {
                    file.content.append(extents);
                    file.etag = ETag::Posix;
                });
                self.compare(*ino, attr_of(found)?)
            }
            Command::SetXattr { ino, name, value, .. } => {
                if !self.files.contains_key(ino) {
                    return refused(Refusal::StaleInode, found);
                }
                self.change(*ino, |file| drop(file.xattrs.insert(name.clone(), value.clone())));
                same(&Ok(Outcome::Done), found)
            }
            other => Err(format!("the model does not know {other:?}")),
        }
    }

    fn file(&self, name: &Bytes) -> Option<&Arc<File>> {
        self.names.get(name).and_then(|ino| self.files.get(ino))
    }

    fn change(&mut self, ino: Ino, change: impl FnOnce(&mut File)) {
        if let Some(file) = self.files.get_mut(&ino) {
            change(Arc::make_mut(file));
        }
    }

    /// A new file takes a name.
    fn place_new(
        &mut self,
        name: &Bytes,
        content: Content,
        etag: ETag,
        xattrs: BTreeMap<Bytes, Bytes>,
        attr: &Attr,
    ) -> Result<(), Why> {
        self.remove(name, TrashReason::Overwritten);
        let made = (self.session, self.trash.time());
        let place = Some(name.clone());
        let file = File { content, etag, mode: attr.mode, nlink: 1, xattrs, place, made, begun: made };
        self.numbered = self.numbered.max(attr.ino.counter());
        if self.files.insert(attr.ino, Arc::new(file)).is_some() {
            return Err(format!("{} was used before", attr.ino));
        }
        self.names.insert(name.clone(), attr.ino);
        self.compare(attr.ino, attr)
    }

    fn compare(&self, ino: Ino, attr: &Attr) -> Result<(), Why> {
        let Some(file) = self.files.get(&ino) else { return Err(format!("no {ino}")) };
        let expected = (ino, file.content.len() as u64, file.nlink, file.mode, file.etag);
        same(&expected, &(attr.ino, attr.size, attr.nlink, attr.mode, attr.etag))
    }

    fn judge(&self, precondition: &Precondition, name: &Bytes) -> Result<(), Refusal> {
        let there = self.file(name);
        if precondition.if_none_match.is_some() && there.is_some() {
            return Err(Refusal::PreconditionFailed);
        }
        let Some(TagMatch::Tags(tags)) = &precondition.if_match else { return Ok(()) };
        // Clients ask for tags of S3 only, and a file of a mount has none of those.
        match there.map(|file| file.etag) {
            None => Err(Refusal::PreconditionNotFound),
            Some(ETag::Posix) => Err(Refusal::PreconditionFailed),
            Some(etag) if tags.contains(&etag.render(Ino(0), 0)) => Ok(()),
            Some(_) => Err(Refusal::PreconditionFailed),
        }
    }

    /// Compares an answer.
    pub(super) fn check(&self, query: &Query, found: &Result<Answer, Refusal>) -> Result<(), Why> {
        let refusal = |expected| {
            if matches!(found, Err(found) if *found == expected) {
                Ok(())
            } else {
                Err(format!("{found:?}, expected {expected:?}"))
            }
        };
        if !self.bucket && !matches!(query, Query::UnderReplicated { .. }) {
            return refusal(Refusal::NoSuchBucket);
        }
        match (query, found) {
            (Query::Object { key, .. } | Query::Lookup { name: key, .. }, _) if !self.names.contains_key(key) => {
                refusal(Refusal::NotFound)
            }
            (Query::Object { key, .. }, Ok(Answer::Object(view, Some(content)))) => {
                let (ino, file) = (self.names[key], &self.files[&self.names[key]]);
                let size = file.content.len() as u64;
                same(&(ino, size, size, file.etag), &(view.attr.ino, view.attr.size, content.size, view.attr.etag))?;
                same(&file.xattrs, &view.xattrs.iter().cloned().collect())
            }
            (Query::Lookup { name, .. }, Ok(Answer::Attr(attr))) => self.compare(self.names[name], attr),
            (Query::ListObjects { .. }, Ok(Answer::Listing(page))) => {
                let expected: Vec<(&Bytes, u64)> =
                    self.names.iter().map(|(name, ino)| (name, self.files[ino].content.len() as u64)).collect();
                same(&expected, &page.objects.iter().map(|listed| (&listed.key, listed.size)).collect())?;
                same(&None, &page.next)
            }
            (Query::ReadDir { .. }, Ok(Answer::Entries(entries))) => {
                let expected: Vec<(&Bytes, Ino)> = self.names.iter().map(|(name, ino)| (name, *ino)).collect();
                same(&expected, &entries.iter().map(|entry| (&entry.name, entry.attr.ino)).collect())
            }
            (Query::ListTrash { filter, .. }, Ok(Answer::Trash(page))) => self.check_trash(filter, page),
            (Query::GetXattr { ino, .. }, _) if !self.files.contains_key(ino) => refusal(Refusal::StaleInode),
            (Query::GetXattr { ino, name }, _) => {
                let value = self.files.get(ino).and_then(|file| file.xattrs.get(name));
                match (value, found) {
                    (None, _) => refusal(Refusal::NoXattr),
                    (Some(value), Ok(Answer::Xattrs(xattrs))) => same(&vec![(name.clone(), value.clone())], xattrs),
                    (Some(_), other) => Err(format!("{other:?}")),
                }
            }
            (Query::BucketRoot { .. }, Ok(Answer::Attr(attr))) => same(&(self.names.len() as u64), &attr.size),
            (Query::Records { keys, .. }, Ok(Answer::Records(records))) => self.check_records(keys, records),
            (Query::ScanRecords { scan, .. }, Ok(Answer::RecordPage(page))) => self.check_record_page(scan, page),
            (Query::UnderReplicated { .. }, Ok(Answer::UnderReplicated(_))) => Ok(()),
            (_, other) => Err(format!("{other:?}")),
        }
    }

    /// What a name holds.
    pub(super) fn bytes(&self, name: &Bytes, chunks: &BTreeMap<ChunkId, Bytes>) -> Option<Vec<u8>> {
        self.file(name).map(|file| file.content.bytes(chunks))
    }

    /// Whether a file with a name, a file in the trash or an upload has bytes in a chunk.
    pub(super) fn refers_to(&self, chunk: ChunkId) -> bool {
        let parts = self.uploads.values().flat_map(|upload| upload.parts.values().map(|(_, content)| content));
        self.files.values().map(|file| &file.content).chain(parts).any(|content| content.chunks().any(|id| id == chunk))
    }

    /// All chunks of which that is true.
    pub(super) fn chunks(&self) -> BTreeSet<ChunkId> {
        let parts = self.uploads.values().flat_map(|upload| upload.parts.values().map(|(_, content)| content));
        self.files.values().map(|file| &file.content).chain(parts).flat_map(Content::chunks).collect()
    }

    /// Uploads in progress.
    pub(super) fn uploads(&self) -> Vec<(UploadId, Bytes)> {
        self.uploads.iter().map(|(id, upload)| (*id, upload.key.clone())).collect()
    }

    /// Whether there is no file, in the trash or not, and no upload.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.trash.is_empty() && self.uploads.is_empty()
    }

    pub(super) fn names(&self) -> Vec<Bytes> {
        self.names.keys().cloned().collect()
    }
}
