//! What S3 asks for.

use super::{Expected, File, Kind, Part, Result, Upload, World};
use bytes::Bytes;
use proto::meta::{Command, Refusal};
use proto::object::{ETag, NewContent, Precondition};
use proto::trash::TrashReason;
use std::collections::BTreeMap;
use types::{BucketId, UploadId};

impl World {
    pub(super) fn delete(&mut self, bucket: BucketId, key: &Bytes, precondition: &Precondition) -> Result<bool> {
        if key.is_empty() {
            return Err(Refusal::Invalid);
        }
        let there = self.object(bucket, key);
        self.judge(precondition, there)?;
        if there.is_none() {
            return Ok(false);
        }
        let (dir, name) = self.walk(self.buckets[&bucket].root, key);
        let dir = dir.expect("the object is there");
        self.remove_name(dir, &name, TrashReason::Deleted)?;
        self.prune(dir);
        Ok(true)
    }

    pub(super) fn upload(&self, bucket: BucketId, key: &Bytes, upload: &UploadId) -> Result<&Upload> {
        self.usable(bucket)?;
        let found = self.uploads.get(upload).filter(|found| found.bucket == bucket && found.key == *key);
        found.ok_or(Refusal::NoSuchUpload)
    }

    pub(super) fn apply_upload(&mut self, command: &Command) -> Result<Expected> {
        match command {
            Command::CreateUpload { bucket, key, upload, xattrs } => {
                self.usable(*bucket)?;
                Self::check_key(key)?;
                let xattrs = Self::check_xattrs(xattrs)?;
                if self.uploads.contains_key(upload) {
                    return Err(Refusal::Exists);
                }
                let parts = BTreeMap::new();
                let new = Upload { bucket: *bucket, key: key.clone(), begun: self.now, xattrs, parts };
                self.uploads.insert(*upload, new);
                Ok(Expected::Done)
            }
            Command::PutPart { bucket, key, upload, part, content, md5, xattrs } => {
                self.upload(*bucket, key, upload)?;
                if !(1..=10_000).contains(part) {
                    return Err(Refusal::Invalid);
                }
                Self::check_xattrs(xattrs)?;
                if matches!(content, NewContent::Inline(data) if !data.is_empty()) {
                    return Err(Refusal::Invalid);
                }
                let data = self.accept(content, ETag::Posix)?.data;
                let new = Part { data, md5: *md5, mtime: self.now, xattrs: xattrs.clone() };
                self.uploads.get_mut(upload).expect("there").parts.insert(*part, new);
                Ok(Expected::Done)
            }
            Command::CompleteUpload { bucket, key, upload, parts, etag, xattrs, part_bytes_min, precondition } => {
                let begun = self.upload(*bucket, key, upload)?;
                let mut merged = begun.xattrs.clone();
                merged.extend(xattrs.iter().cloned());
                merged.iter().try_for_each(|(name, value)| Self::check_xattr(name, value))?;
                if parts.is_empty() {
                    return Err(Refusal::Invalid);
                }
                if !parts.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err(Refusal::InvalidPartOrder);
                }
                let mut data = Vec::new();
                for (i, (number, md5)) in parts.iter().enumerate() {
                    let part = begun.parts.get(number).filter(|part| part.md5 == *md5).ok_or(Refusal::InvalidPart)?;
                    if i + 1 < parts.len() && (part.data.len() as u64) < *part_bytes_min {
                        return Err(Refusal::PartTooSmall(*number));
                    }
                    data.extend_from_slice(&part.data);
                }
                self.judge(precondition, self.object(*bucket, key))?;
                self.uploads.remove(upload);
                let id = self.add(*bucket, Kind::File(File::new(data, *etag, true)), 0o644);
                self.nodes.get_mut(&id).expect("new").xattrs = merged;
                self.place(self.buckets[bucket].root, key, id, TrashReason::Overwritten, None)?;
                Ok(Expected::Object(id))
            }
            Command::AbortUpload { bucket, key, upload } => {
                self.upload(*bucket, key, upload)?;
                self.uploads.remove(upload);
                Ok(Expected::Done)
            }
            other => panic!("no command of an upload: {other:?}"),
        }
    }
}
