//! Buckets: a root directory, a seal, what is in them and in their trash, and what operators have set.

use crate::breaker::Breaker;
use crate::inode::{Directory, Place, What};
use crate::key::bucket::BucketKey;
use crate::key::upload::UploadIndexKey;
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt, Key};
use crate::txn::{Step, Txn};
use proto::meta::{Refusal, Usage};
use proto::trash::{BucketOptions, BucketStatus, DeleteLimit, TRASH_WINDOW_SECS_MAX, TRASH_WINDOW_SECS_MIN};
use serde::{Deserialize, Serialize};
use types::{BucketId, FragId, Ino, Timestamp};

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Its root directory.
    pub(crate) root: Ino,
    /// Whether all changes are refused.
    pub(crate) sealed: bool,
    /// Files and symbolic links that have a name.
    pub(crate) files: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Files and symbolic links that have lost their last name and are not released.
    pub(crate) trash_files: u64,
    /// Bytes of them.
    pub(crate) trash_bytes: u64,
    pub(crate) options: BucketOptions,
    pub(crate) breaker: Breaker,
}

impl Bucket {
    fn new(root: Ino) -> Self {
        Bucket {
            root,
            sealed: false,
            files: 0,
            bytes: 0,
            trash_files: 0,
            trash_bytes: 0,
            options: BucketOptions::default(),
            breaker: Breaker::default(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage { files: self.files, bytes: self.bytes, trash_files: self.trash_files, trash_bytes: self.trash_bytes }
    }

    /// As operators see it.
    pub(crate) fn status(&self, now: Timestamp) -> BucketStatus {
        BucketStatus {
            sealed: self.sealed,
            options: self.options,
            usage: self.usage(),
            deletes: self.breaker.counted(now),
            deletes_max: self.breaker.limit(self.options.delete_limit, self.files, now),
            open_until: self.breaker.open_until(now),
            time: now,
        }
    }
}

/// The fragment a directory begins with: numbered as its inode, which is never used again either.
pub(crate) fn first_frag(dir: Ino) -> FragId {
    FragId(dir.0)
}

/// A bucket that is there.
pub(crate) fn load(kv: &dyn KvRead, bucket: BucketId) -> Result<Result<Bucket, Refusal>, KvError> {
    Ok(row::read(kv, &BucketKey(bucket))?.ok_or(Refusal::NoSuchBucket))
}

/// Buckets with ids greater than `after`, at most `max`.
pub(crate) fn list(kv: &dyn KvRead, after: Option<BucketId>, max: usize) -> Result<Vec<BucketId>, KvError> {
    let first = BucketId(after.map_or(0, |after| after.0.saturating_add(1)));
    let rows = kv.scan(&BucketKey(first).encode(), &BucketKey::upper(), max)?;
    let ids = rows.iter().map(|(key, _)| Ok(BucketKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0));
    ids.collect()
}

impl Txn<'_> {
    /// A bucket that may be changed.
    pub(crate) fn bucket(&self, bucket: BucketId) -> Step<Bucket> {
        let found = load(self.rows(), bucket)??;
        if found.sealed { Err(Refusal::BucketSealed.into()) } else { Ok(found) }
    }

    /// Makes the root of a bucket.
    pub(crate) fn ensure_bucket(&mut self, bucket: BucketId) -> Step<()> {
        if self.read(&BucketKey(bucket))?.is_some() {
            return self.bucket(bucket).map(|_| ());
        }
        let root = self.next_ino();
        let inode = self.new_inode(bucket, What::Directory(Directory::new(first_frag(root), true)));
        self.put_inode(root, &inode);
        self.write(&BucketKey(bucket), &Bucket::new(root));
        Ok(())
    }

    /// Refuses all further changes of an empty bucket. Idempotent.
    pub(crate) fn seal_bucket(&mut self, bucket: BucketId) -> Step<()> {
        let mut found = load(self.rows(), bucket)??;
        if found.sealed {
            return Ok(());
        }
        let root = self.require_inode(found.root)?;
        let uploads = UploadIndexKey::lower(bucket, b"");
        let uploads = self.rows().scan(&uploads, &UploadIndexKey::upper(bucket), 1)?;
        if !root.directory()?.is_bare() || !uploads.is_empty() || self.has_records(bucket)? {
            return Err(Refusal::NotEmpty.into());
        }
        found.sealed = true;
        self.write(&BucketKey(bucket), &found);
        Ok(())
    }

    /// Lets a sealed bucket be changed again. Idempotent.
    pub(crate) fn unseal_bucket(&mut self, bucket: BucketId) -> Step<()> {
        let mut found = load(self.rows(), bucket)??;
        found.sealed = false;
        self.write(&BucketKey(bucket), &found);
        Ok(())
    }

    /// Sets what an operator may set.
    pub(crate) fn set_bucket_options(&mut self, bucket: BucketId, options: BucketOptions) -> Step<()> {
        let mut found = load(self.rows(), bucket)??;
        let window = TRASH_WINDOW_SECS_MIN..=TRASH_WINDOW_SECS_MAX;
        if !window.contains(&options.trash_window_secs) || options.delete_limit == DeleteLimit::Max(0) {
            return Err(Refusal::Invalid.into());
        }
        found.options = options;
        self.write(&BucketKey(bucket), &found);
        Ok(())
    }

    /// Counts a file that came, went or changed its size from `before` to `after` bytes; `None` = had or has no name.
    pub(crate) fn count_usage(&mut self, bucket: BucketId, before: Option<u64>, after: Option<u64>) -> Step<()> {
        if before == after {
            return Ok(());
        }
        let mut row = self.require(&BucketKey(bucket))?;
        row.files = row.files + u64::from(after.is_some()) - u64::from(before.is_some());
        row.bytes = row.bytes + after.unwrap_or(0) - before.unwrap_or(0);
        self.write(&BucketKey(bucket), &row);
        Ok(())
    }

    /// As [`Txn::count_usage`] for the trash; `None` = was not or is not in it.
    pub(crate) fn count_trash(&mut self, bucket: BucketId, before: Option<u64>, after: Option<u64>) -> Step<()> {
        if before == after {
            return Ok(());
        }
        let mut row = self.require(&BucketKey(bucket))?;
        row.trash_files = row.trash_files + u64::from(after.is_some()) - u64::from(before.is_some());
        row.trash_bytes = row.trash_bytes + after.unwrap_or(0) - before.unwrap_or(0);
        self.write(&BucketKey(bucket), &row);
        Ok(())
    }

    /// The place of `name` in a directory that is there.
    pub(crate) fn place(&self, dir: Ino, name: &[u8]) -> Step<Place> {
        let frag = self.require_inode(dir)?.directory()?.frag();
        Ok(Place { dir, frag, name: bytes::Bytes::copy_from_slice(name) })
    }
}
