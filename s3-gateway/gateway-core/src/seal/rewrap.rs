//! The change of key-encryption keys: data keys are wrapped anew, content stays as it is.
//!
//! An envelope changes in nothing but its wrapped key, and only here: whatever is written to a key gets an inode of its own. So an envelope that was read of
<<<<<<< HEAD
//! an inode can be written to that inode whenever it may be: if the object was replaced meanwhile, it is its predecessor in the trash that is changed, and of two that do
//! this at once either result is good.

use super::SealError;
use super::envelope::Envelope;
use crate::error::{BucketError, ObjectError, object_refusal};
use crate::list::{LIST_KEYS_MAX, bucket_refusal};
use crate::store::{Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Command, Query, Refusal, SetXattrMode};
use proto::object::Xattr;
use proto::trash::TrashFilter;
use types::Ino;
=======
//! an inode can be written to that inode whenever it may be. If the object was replaced meanwhile, it is its predecessor in the trash that is changed; of two
//! that do this at once either result is good.

use super::SealError;
use super::envelope::Envelope;
use super::walk::{Walk, Walked};
use crate::error::{BucketError, ObjectError, object_refusal};
use crate::store::Store;
use proto::control::BucketInfo;
use proto::meta::{Command, Refusal, SetXattrMode};
>>>>>>> h-seal

/// What a rewrap has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rewrapped {
    /// Objects and files in the trash that it looked at.
    pub seen: u64,
    /// Of them, those whose key was wrapped anew.
    pub rewrapped: u64,
    /// Of them, those that are not sealed, damaged, or under a key that is not here. They stay as they are.
    pub refused: u64,
    /// Uploads that were begun under an older key-encryption key, which has to stay until they are completed or aborted.
    pub uploads: u64,
}

<<<<<<< HEAD
/// Pages of one listing that say nothing before it is given up: only a listing that goes in circles has them.
const PAGES_MAX: u64 = 1 << 32;

impl Store {
    /// Wraps the data keys of all objects of a marked bucket anew that are not under the newest key-encryption key, those in the trash too. For operators.
    /// May be repeated, stopped and done by several at once. When it has found nothing to do and no uploads, the older keys are not needed for this bucket.
=======
impl Store {
    /// Wraps the data keys of all objects of a marked bucket anew that are not under the newest key-encryption key, those in the trash too. For operators.
    /// May be repeated, stopped, and done by several at once. When it has found nothing to do and no uploads, the older keys are not needed for this bucket.
>>>>>>> h-seal
    ///
    /// # Errors
    /// [`ObjectError`]; what was done until then is done.
    pub async fn rewrap(&self, name: &str) -> Result<Rewrapped, ObjectError> {
        let bucket = self.learn(name).await?.ok_or(BucketError::NoSuchBucket)?;
        let mut done = Rewrapped::default();
        if self.bucket_settings_now(&bucket).await?.protection.is_none() {
            return Ok(done);
        }
        self.key_service()?;
<<<<<<< HEAD
        self.rewrap_uploads(&bucket, &mut done).await?;
        self.rewrap_objects(&bucket, &mut done).await?;
        self.rewrap_trash(&bucket, &mut done).await?;
        Ok(done)
    }

    async fn rewrap_objects(&self, bucket: &BucketInfo, done: &mut Rewrapped) -> Result<(), ObjectError> {
        let mut after = Bytes::new();
        for _ in 0..PAGES_MAX {
            let (prefix, delimiter) = (Bytes::new(), Bytes::new());
            let query = Query::ListObjects { bucket: bucket.id, prefix, delimiter, after, max: LIST_KEYS_MAX };
            let page = match self.query(bucket, query).await? {
                Ok(Answer::Listing(page)) => page,
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal).into()),
            };
            for listed in page.objects {
                match self.object(bucket, listed.key, None).await {
                    Ok((object, _)) => self.rewrap_one(bucket, object.attr.ino, &object.xattrs, done).await?,
                    Err(ObjectError::NoSuchKey) => {}
                    Err(error) => return Err(error),
                }
            }
            let Some(next) = page.next else { break };
            after = next;
        }
        Ok(())
    }

    async fn rewrap_trash(&self, bucket: &BucketInfo, done: &mut Rewrapped) -> Result<(), ObjectError> {
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let query =
                Query::ListTrash { bucket: bucket.id, filter: TrashFilter::default(), after, max: LIST_KEYS_MAX };
            let page = match self.query(bucket, query).await? {
                Ok(Answer::Trash(page)) => page,
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal).into()),
            };
            for entry in page.entries {
                let ino = entry.id.ino;
                match self.query(bucket, Query::ListXattrs { ino }).await? {
                    Ok(Answer::Xattrs(xattrs)) => self.rewrap_one(bucket, ino, &xattrs, done).await?,
                    Ok(other) => return Err(surprise(&other).into()),
                    Err(Refusal::StaleInode | Refusal::NotFound) => {}
                    Err(refusal) => return Err(object_refusal(&refusal).into()),
                }
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        Ok(())
    }

    async fn rewrap_uploads(&self, bucket: &BucketInfo, done: &mut Rewrapped) -> Result<(), ObjectError> {
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let (prefix, delimiter) = (Bytes::new(), Bytes::new());
            let query = Query::ListUploads { bucket: bucket.id, prefix, delimiter, after, max: LIST_KEYS_MAX };
            let page = match self.query(bucket, query).await? {
                Ok(Answer::Uploads(page)) => page,
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal).into()),
            };
            for (key, upload, _) in &page.uploads {
                let query = Query::ListParts { bucket: bucket.id, key: key.clone(), upload: *upload, after: 0, max: 0 };
                if let Ok(Answer::Parts(parts)) = self.query(bucket, query).await?
                    && let Some(Ok(envelope)) = Envelope::find(&parts.xattrs)
                    && !self.key_service()?.is_newest(&envelope.key).await.map_err(SealError::from)?
                {
                    done.uploads += 1;
                }
            }
            let last = page.uploads.last().map(|(key, upload, _)| (key.clone(), Some(*upload)));
            if !page.truncated || last.is_none() {
                break;
            }
            after = last;
        }
        Ok(())
=======
        done.uploads = self.uploads_to_wait_for(&bucket).await?;
        let mut walk = Walk::new();
        while let Some(page) = walk.next(self, &bucket).await? {
            for walked in page {
                self.rewrap_one(&bucket, walked, &mut done).await?;
            }
        }
        Ok(done)
    }

    async fn uploads_to_wait_for(&self, bucket: &BucketInfo) -> Result<u64, ObjectError> {
        let (mut count, mut after) = (0, None);
        loop {
            let (page, last) = self.walk_uploads(bucket, after).await?;
            for xattrs in page {
                if let Some(Ok(envelope)) = Envelope::find(&xattrs)
                    && !self.key_service()?.is_newest(&envelope.key).await.map_err(SealError::from)?
                {
                    count += 1;
                }
            }
            after = last;
            if after.is_none() {
                return Ok(count);
            }
        }
>>>>>>> h-seal
    }

    async fn rewrap_one(
        &self,
        bucket: &BucketInfo,
<<<<<<< HEAD
        ino: Ino,
        xattrs: &[Xattr],
        done: &mut Rewrapped,
    ) -> Result<(), ObjectError> {
        done.seen += 1;
        let envelope = match Envelope::find(xattrs) {
            Some(Ok(envelope)) => envelope,
            Some(Err(_)) | None => {
                done.refused += 1;
                return Ok(());
            }
=======
        (ino, xattrs): Walked,
        done: &mut Rewrapped,
    ) -> Result<(), ObjectError> {
        done.seen += 1;
        let Some(Ok(envelope)) = Envelope::find(&xattrs) else {
            done.refused += 1;
            return Ok(());
>>>>>>> h-seal
        };
        let envelope = match self.rewrapped(bucket, &envelope).await {
            Ok(None) => return Ok(()),
            Ok(Some(envelope)) => envelope,
            Err(ObjectError::Seal(SealError::Damaged | SealError::NoSuchKek { .. })) => {
                done.refused += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (name, value) = envelope.to_xattr()?;
        let command = Command::SetXattr { ino, name, value, mode: SetXattrMode::Replace };
        match self.command(bucket, command).await? {
            Ok(_) => done.rewrapped += 1,
            // It is gone.
            Err(Refusal::StaleInode | Refusal::NoXattr) => {}
<<<<<<< HEAD
            Err(refusal) => return Err(object_refusal(&refusal).into()),
=======
            Err(refusal) => return Err(object_refusal(&refusal)),
>>>>>>> h-seal
        }
        Ok(())
    }
}
