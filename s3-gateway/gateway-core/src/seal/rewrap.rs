//! The change of key-encryption keys: data keys are wrapped anew, content stays as it is.
//!
//! An envelope changes in nothing but its wrapped key, and only here: whatever is written to a key gets an inode of its own. So an envelope that was read of
//! an inode can be written to that inode whenever it may be. If the object was replaced meanwhile, it is its predecessor in the trash that is changed; of two
//! that do this at once either result is good.

use super::SealError;
use super::envelope::Envelope;
use super::walk::{Walk, Walked};
use crate::error::{BucketError, ObjectError, object_refusal};
use crate::store::Store;
use proto::control::BucketInfo;
use proto::meta::{Command, Refusal, SetXattrMode};

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

impl Store {
    /// Wraps the data keys of all objects of a marked bucket anew that are not under the newest key-encryption key, those in the trash too. For operators.
    /// May be repeated, stopped, and done by several at once. When it has found nothing to do and no uploads, the older keys are not needed for this bucket.
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
    }

    async fn rewrap_one(
        &self,
        bucket: &BucketInfo,
        (ino, xattrs): Walked,
        done: &mut Rewrapped,
    ) -> Result<(), ObjectError> {
        done.seen += 1;
        let Some(Ok(envelope)) = Envelope::find(&xattrs) else {
            done.refused += 1;
            return Ok(());
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
            Err(refusal) => return Err(object_refusal(&refusal)),
        }
        Ok(())
    }
}
