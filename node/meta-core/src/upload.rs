//! Multipart uploads.
//!
//! Every part keeps its content in a list of its own; completing an upload lays one window a part over the object and moves the
//! parts' references to it. The part rows themselves are dropped afterwards, a few with each log entry (`sweep`),
//! so that 10,000 parts never make a large command: the sweep row says which parts the object took over, the lists
//! of the others become garbage.

#[cfg(test)]
mod tests;

use crate::content::{Body, Content};
use crate::garbage::GarbageReason;
use crate::inode::{Inode, What};
use crate::key::upload::{PartKey, SweepKey, UploadIndexKey, UploadKey};
use crate::kv::{KvError, KvRead};
use crate::list::LIST_DEPTH_MAX;
use crate::namespace::KeyPath;
use crate::piece::{Piece, Source};
use crate::row::{self, Corrupt};
use crate::txn::{Step, Txn};
use crate::xattr;
use bytes::Bytes;
use proto::meta::Refusal;
use proto::object::{Attr, ETag, NewContent, Precondition, Xattr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::{BucketId, FILE_BYTES_MAX, Ino, ListId, PARTS_MAX, Timestamp, UploadId};

/// Checksums of a part: ten thousand of them are listed in pages of bounded size.
const PART_XATTR_BYTES_MAX: u32 = 4 << 10;
/// Parts dropped with one log entry.
const SWEEP_PARTS_MAX: usize = 256;
/// Part rows read at a time.
const SCAN_PARTS: usize = 1024;
const _: () = assert!(LIST_DEPTH_MAX >= 4, "an object of parts, copied and written to, must have room");

/// An upload in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) bucket: BucketId,
    pub(crate) key: Bytes,
    /// The inode the object will have; the parts' chunks name it as their owner.
    pub(crate) ino: Ino,
    pub(crate) begun: Timestamp,
    pub(crate) xattrs: Vec<Xattr>,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) mtime: Timestamp,
    /// `None` if it has no bytes.
    pub(crate) list: Option<ListId>,
    pub(crate) xattrs: Vec<Xattr>,
}

/// An upload that is over and whose parts are being dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    /// Bit `part - 1` is set if the object took the part's list over.
    pub(crate) taken: Bytes,
    /// Parts up to this number are dropped.
    pub(crate) done: u16,
}

impl Sweep {
    pub(crate) fn took(&self, part: u16) -> bool {
        let bit = usize::from(part.saturating_sub(1));
        self.taken.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    }
}

/// An upload that was begun with this key.
pub(crate) fn load(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: &[u8],
    upload: UploadId,
) -> Result<Result<Upload, Refusal>, KvError> {
    let found = row::read(kv, &UploadKey(upload))?;
    Ok(found.filter(|found: &Upload| found.bucket == bucket && found.key == key).ok_or(Refusal::NoSuchUpload))
}

/// Parts with numbers greater than `after`, at most `max`.
pub(crate) fn parts(kv: &dyn KvRead, upload: UploadId, after: u16, max: usize) -> Result<Vec<(u16, Part)>, KvError> {
    let (start, end) = PartKey::range_after(upload, after);
    let rows = kv.scan(&start, &end, max)?;
    let parts = rows.iter().map(|(key, value)| {
        let number = PartKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.part;
        Ok((number, row::decode::<PartKey>(key, value)?))
    });
    parts.collect()
}

/// The metadata of the object: what the upload was begun with, and `added` over it.
fn merge_xattrs(begun: Vec<Xattr>, added: &[Xattr]) -> Vec<Xattr> {
    let mut merged: BTreeMap<Bytes, Bytes> = begun.into_iter().collect();
    merged.extend(added.iter().cloned());
    merged.into_iter().collect()
}

impl Txn<'_> {
    fn upload(&self, bucket: BucketId, key: &[u8], upload: UploadId) -> Step<Upload> {
        self.bucket(bucket)?;
        Ok(load(self.rows(), bucket, key, upload)??)
    }

    pub(crate) fn create_upload(
        &mut self,
        bucket: BucketId,
        key: &Bytes,
        upload: UploadId,
        xattrs: &[Xattr],
    ) -> Step<()> {
        self.bucket(bucket)?;
        KeyPath::parse_new(key)?;
        xattr::check_all(xattrs)?;
        if self.read(&UploadKey(upload))?.is_some() || self.read(&SweepKey(upload))?.is_some() {
            return Err(Refusal::Exists.into());
        }
        let ino = self.next_ino();
        let begun = self.now;
        self.write(&UploadIndexKey { bucket, key: key.to_vec(), upload }, &begun);
        let row = Upload { bucket, key: key.clone(), ino, begun, xattrs: xattrs.to_vec() };
        self.write(&UploadKey(upload), &row);
        Ok(())
    }

    pub(crate) fn put_part(
        &mut self,
        (bucket, key, upload): (BucketId, &[u8], UploadId),
        part: u16,
        content: &NewContent,
        md5: [u8; 16],
        xattrs: &[Xattr],
    ) -> Step<()> {
        let ino = self.upload(bucket, key, upload)?.ino;
        if part == 0 || part > PARTS_MAX {
            return Err(Refusal::Invalid.into());
        }
        if xattr::check_all(xattrs)?.bytes > PART_XATTR_BYTES_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let list = self.part_list(ino, content)?;
        let key = PartKey { upload, part };
        if let Some(list) = self.read(&key)?.and_then(|old: Part| old.list) {
            self.garbage_reason = GarbageReason::Upload;
            self.release_list(list)?;
        }
        let (size, mtime) = (content.len(), self.now);
        self.write(&key, &Part { size, md5, mtime, list, xattrs: xattrs.to_vec() });
        Ok(())
    }

    /// Takes in the content of a part. It must lie in chunks: inline bytes cannot stand in the middle of an object.
    fn part_list(&mut self, owner: Ino, content: &NewContent) -> Step<Option<ListId>> {
        let extents = match content {
            content if content.is_empty() => return Ok(None),
            NewContent::Inline(_) => return Err(Refusal::Invalid.into()),
            NewContent::Chunks(extents) => extents,
        };
        crate::content::check_contiguous(extents)?;
        self.commit_chunks(extents, owner)?;
        let pieces: Vec<Piece> = extents.iter().map(Piece::of).collect();
        Ok(Some(self.create_list(&pieces)?))
    }

    #[allow(clippy::too_many_arguments, reason = "one argument for each field of the command")]
    pub(crate) fn complete_upload(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        upload: UploadId,
        listed: &[(u16, [u8; 16])],
        etag: ETag,
        xattrs: &[Xattr],
        part_bytes_min: u64,
        precondition: &Precondition,
    ) -> Step<Attr> {
        let begun = self.upload(bucket, key, upload)?;
        let root = self.bucket(bucket)?.root;
        let path = KeyPath::parse_new(key)?;
        let xattrs = merge_xattrs(begun.xattrs, xattrs);
        let sum = xattr::check_all(&xattrs)?;
        let (pieces, taken) = self.assemble(upload, listed, part_bytes_min)?;
        self.judge_key(precondition, root, &path)?;

        let mut content = Content::empty(etag);
        content.size = pieces.last().map_or(0, Piece::end);
        content.stored = content.size;
        content.body = match pieces.as_slice() {
            [Piece { source: Source::List { list, .. }, .. }] => Body::List(*list),
            _ => self.body_of(pieces)?,
        };
        self.write_xattrs(begun.ino, &xattrs);
        let mut inode: Inode = self.new_inode(bucket, What::File(content));
        inode.xattrs = sum;
        self.end_upload(bucket, key, upload, taken);
        self.place_object(root, &path, begun.ino, inode)
    }

    /// Checks the listed parts against the stored ones. Returns a window for each that has bytes, and which were taken.
    fn assemble(
        &self,
        upload: UploadId,
        listed: &[(u16, [u8; 16])],
        part_bytes_min: u64,
    ) -> Step<(Vec<Piece>, Vec<u8>)> {
        if listed.is_empty() || listed.len() > usize::from(PARTS_MAX) {
            return Err(Refusal::Invalid.into());
        }
        if listed.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(Refusal::InvalidPartOrder.into());
        }
        let stored = self.stored_parts(upload)?;
        let mut pieces = Vec::with_capacity(listed.len());
        let mut taken = vec![0u8; usize::from(PARTS_MAX).div_ceil(8)];
        let mut offset = 0u64;
        for (at, (number, md5)) in listed.iter().enumerate() {
            let part = stored.get(number).filter(|part| part.md5 == *md5).ok_or(Refusal::InvalidPart)?;
            if part.size < part_bytes_min && at + 1 < listed.len() {
                return Err(Refusal::PartTooSmall(*number).into());
            }
            let bit = usize::from(number - 1);
            taken[bit / 8] |= 1 << (bit % 8);
            if let Some(list) = part.list {
                pieces.push(Piece {
                    offset,
                    len: part.size,
                    source: Source::List { list, offset: 0, stored: part.size },
                });
            }
            offset += part.size;
            if offset > FILE_BYTES_MAX {
                return Err(Refusal::TooLarge.into());
            }
        }
        Ok((pieces, taken))
    }

    fn stored_parts(&self, upload: UploadId) -> Step<BTreeMap<u16, Part>> {
        let mut all = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = parts(self.rows(), upload, after, SCAN_PARTS)?;
            let full = page.len() == SCAN_PARTS;
            after = page.last().map_or(u16::MAX, |(number, _)| *number);
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    pub(crate) fn abort_upload(&mut self, bucket: BucketId, key: &[u8], upload: UploadId) -> Step<()> {
        self.upload(bucket, key, upload)?;
        self.end_upload(bucket, key, upload, Vec::new());
        Ok(())
    }

    fn end_upload(&mut self, bucket: BucketId, key: &[u8], upload: UploadId, taken: Vec<u8>) {
        self.remove(&UploadKey(upload));
        self.remove(&UploadIndexKey { bucket, key: key.to_vec(), upload });
        self.write(&SweepKey(upload), &Sweep { taken: taken.into(), done: 0 });
        self.counters.sweeps += 1;
    }

    /// Drops some parts of uploads that are over. Runs after the commands of each log entry.
    pub(crate) fn sweep(&mut self) -> Step<()> {
        if self.counters.sweeps == 0 {
            return Ok(());
        }
        let (start, end) = SweepKey::range();
        let rows = self.rows().scan(&start, &end, 1)?;
        let Some((key, value)) = rows.first() else { return Ok(()) };
        let upload = SweepKey::decode(key).ok_or_else(|| KvError::from(Corrupt::Row(key.to_vec())))?.0;
        let mut sweep = row::decode::<SweepKey>(key, value)?;
        let page = parts(self.rows(), upload, sweep.done, SWEEP_PARTS_MAX)?;
        self.garbage_reason = GarbageReason::Upload;
        for (number, part) in &page {
            self.remove(&PartKey { upload, part: *number });
            if let Some(list) = part.list.filter(|_| !sweep.took(*number)) {
                self.release_list(list)?;
            }
            sweep.done = *number;
        }
        if page.len() == SWEEP_PARTS_MAX {
            self.write(&SweepKey(upload), &sweep);
        } else {
            self.remove(&SweepKey(upload));
            self.counters.sweeps -= 1;
        }
        Ok(())
    }
}
