//! Buckets: a root directory, a seal, and what is in them.

use crate::inode::{Directory, Place, What};
use crate::key::bucket::BucketKey;
use crate::key::upload::UploadIndexKey;
use crate::kv::{KvError, KvRead};
use crate::row;
use crate::txn::{Step, Txn};
use proto::meta::Refusal;
use serde::{Deserialize, Serialize};
use types::{BucketId, FragId, Ino};

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
}

/// The fragment a directory begins with: numbered as its inode, which is never used again either.
pub(crate) fn first_frag(dir: Ino) -> FragId {
    FragId(dir.0)
}

/// A bucket that is there.
pub(crate) fn load(kv: &dyn KvRead, bucket: BucketId) -> Result<Result<Bucket, Refusal>, KvError> {
    Ok(row::read(kv, &BucketKey(bucket))?.ok_or(Refusal::NoSuchBucket))
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
        self.write(&BucketKey(bucket), &Bucket { root, sealed: false, files: 0, bytes: 0 });
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
        if !root.directory()?.is_bare() || !uploads.is_empty() {
            return Err(Refusal::NotEmpty.into());
        }
        found.sealed = true;
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

    /// The place of `name` in a directory that is there.
    pub(crate) fn place(&self, dir: Ino, name: &[u8]) -> Step<Place> {
        let frag = self.require_inode(dir)?.directory()?.frag();
        Ok(Place { dir, frag, name: bytes::Bytes::copy_from_slice(name) })
    }
}
