//! The mark of a bucket: set while nothing in it is unencrypted, and for good.
//!
//! Processes that have looked at the bucket a moment before may go on for [`crate::StoreConfig::cache_stale`] as if it were not marked. So whoever marks it looks a
//! second time after that. What was stored unencrypted meanwhile is never shown.
//!
//! A group deletes no bucket that has records. So the mark goes right before the bucket does, and comes back if the bucket turns out not to be empty. What is
//! sealed in it is shown by nobody in between.

use super::{BucketSettings, Protection, key};
use crate::error::{BucketError, ClusterError, ObjectError};
use crate::list::bucket_refusal;
use crate::store::{Store, surprise};
use crate::system::SYSTEM_BUCKET;
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::record::{Expected, RecordChange, RecordContent};
use std::sync::Arc;

/// A bucket was not protected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// It has objects, uploads or trash, which lie there as they were written. Nothing was changed.
    #[error("only an empty bucket can be protected, and this one has objects, uploads or trash")]
    NotEmpty,
    /// It is protected from now on, and something was stored in it unprotected while that became known. It is never shown; delete it.
    #[error(
        "the bucket is protected, but something was stored in it unencrypted at the same moment: delete what is in it, its trash too"
    )]
    Written,
    /// Its content is no reader's.
    #[error("{SYSTEM_BUCKET} cannot be protected")]
    System,
    /// The cluster's fault, or there is no such bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl From<ObjectError> for ProtectError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Bucket(error) => ProtectError::Bucket(error),
            other => ProtectError::Bucket(surprise(&other).into()),
        }
    }
}

impl Store {
    /// Protects a bucket for good in which nothing is unencrypted, an empty one as a rule; one that is protected so stays as it is. For operators: there is no
    /// caller.
    ///
    /// Takes [`crate::StoreConfig::cache_stale`], after which every process knows of it, and looks then whether one has stored something that did not.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub async fn protect_bucket(&self, name: &str, protection: Protection) -> Result<Arc<BucketInfo>, ProtectError> {
        if name == SYSTEM_BUCKET {
            return Err(ProtectError::System);
        }
        let bucket = self.learn(name).await.map_err(BucketError::from)?.ok_or(BucketError::NoSuchBucket)?;
        let found = self.bucket_settings_now(&bucket).await?;
        if found.protection == Some(protection) {
            return Ok(bucket);
        }
        self.ensure(&bucket).await?;
        if !self.is_all_sealed(&bucket).await? {
            return Err(ProtectError::NotEmpty);
        }
        let settings = BucketSettings { protection: Some(protection) };
        let value = settings.to_bytes().map_err(BucketError::from)?;
        self.set_settings(&bucket, Expected::Absent, Some(value)).await?;
        if self.bucket_settings_now(&bucket).await?.protection != Some(protection) {
            return Err(BucketError::from(ClusterError::Unavailable).into());
        }
        tokio::time::sleep(self.config.cache_stale).await;
        if self.is_all_sealed(&bucket).await? { Ok(bucket) } else { Err(ProtectError::Written) }
    }

    /// Takes the settings off an empty bucket that is about to be deleted, and returns them; `None` if it has none.
    pub(crate) async fn take_settings(&self, bucket: &BucketInfo) -> Result<Option<Bytes>, BucketError> {
        let asked = self.cluster.query(bucket.group, BucketSettings::query(bucket)).await.map_err(ClusterError::from);
        let record = match asked {
            Ok(Ok(Answer::Records(mut found))) => found.pop().flatten(),
            Ok(Ok(other)) => return Err(surprise(&other).into()),
            Ok(Err(Refusal::NoSuchBucket | Refusal::BucketSealed)) | Err(ClusterError::Level { .. }) => None,
            Ok(Err(refusal)) => return Err(bucket_refusal(&refusal)),
            Err(error) => return Err(error.into()),
        };
        let Some(record) = record else { return Ok(None) };
        if !self.is_bare(bucket).await? {
            return Err(BucketError::NotEmpty);
        }
        self.set_settings(bucket, Expected::Revision(record.revision), None).await?;
        Ok(Some(record.content.value))
    }

    /// Gives a bucket its settings back that was not deleted after all.
    pub(crate) async fn return_settings(&self, bucket: &BucketInfo, value: Bytes) {
        match self.set_settings(bucket, Expected::Absent, Some(value)).await {
            // It was deleted, and the answer was lost.
            Ok(()) | Err(BucketError::NoSuchBucket) => {}
            Err(error) => {
                tracing::error!(bucket = %bucket.name, %error, "a bucket that was to be deleted has lost its settings");
            }
        }
    }

    /// Changes the record. That somebody else was first is no error: look again.
    async fn set_settings(
        &self,
        bucket: &BucketInfo,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<(), BucketError> {
        let content = value.map(|value| RecordContent { value, entries: Vec::new() });
        let command =
            Command::PutRecords { bucket: bucket.id, changes: vec![RecordChange { key: key(), expected, content }] };
        let answer = self.command(bucket, command).await?;
        self.settings.forget(&bucket.id);
        match answer {
            Ok(Outcome::Records(_)) | Err(Refusal::RecordRace(_)) => Ok(()),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(bucket_refusal(&refusal)),
        }
    }

    /// Whether a bucket has neither objects nor uploads.
    async fn is_bare(&self, bucket: &BucketInfo) -> Result<bool, BucketError> {
        let (id, prefix, delimiter) = (bucket.id, Bytes::new(), Bytes::new());
        let objects = Query::ListObjects {
            bucket: id,
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            after: Bytes::new(),
            max: 1,
        };
        let uploads = Query::ListUploads { bucket: id, prefix, delimiter, after: None, max: 1 };
        for question in [objects, uploads] {
            let bare = match self.query(bucket, question).await? {
                Ok(Answer::Listing(page)) => page.objects.is_empty() && page.next.is_none(),
                Ok(Answer::Uploads(page)) => page.uploads.is_empty(),
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal)),
            };
            if !bare {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
