//! Buckets: made and forgotten by the control group, filled and sealed by their own.

use crate::error::{BucketError, ClusterError, unexpected};
use crate::store::{Caller, Store, surprise};
use crate::system::{SYSTEM_BUCKET, SYSTEM_USER};
use proto::control::{BucketInfo, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::meta::{Command, Refusal};
use std::sync::Arc;
use types::RuleId;

impl Store {
    /// Makes a bucket for the caller, with the default rule of placement.
    ///
    /// # Errors
    /// [`BucketError`]; a bucket of the caller's own is [`BucketError::ExistsYours`].
    pub async fn create_bucket(&self, caller: &Caller, name: &str) -> Result<Arc<BucketInfo>, BucketError> {
        if name == SYSTEM_BUCKET && caller.user != SYSTEM_USER {
            return Err(BucketError::Exists);
        }
        let (nonce, rule) = (rand::random(), RuleId::DEFAULT);
        let create = ControlCommand::CreateBucket { name: name.to_owned(), owner: caller.user.clone(), nonce, rule };
        let bucket = match self.cluster.control(create).await? {
            Ok(ControlOutcome::Bucket(bucket)) => Arc::new(bucket),
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(control_refusal(&refusal)),
        };
        self.buckets.set(name.to_owned(), Some(bucket.clone()));
        // The group is told now so that the first object need not wait for it. Should it fail, that object tells it.
        if let Err(error) = self.ensure(&bucket).await {
            tracing::debug!(bucket = %bucket.id, %error, "group not told of a new bucket yet");
        }
        Ok(bucket)
    }

    /// A bucket of the caller, as it is now.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn head_bucket(&self, caller: &Caller, name: &str) -> Result<Arc<BucketInfo>, BucketError> {
        self.bucket_now(caller, name).await
    }

    /// The caller's buckets, by name.
    ///
    /// # Errors
    /// The control group did not answer.
    pub async fn list_buckets(&self, caller: &Caller) -> Result<Vec<BucketInfo>, BucketError> {
        let mut buckets = self.all_buckets().await?;
        buckets.retain(|bucket| bucket.owner == caller.user);
        Ok(buckets)
    }

    /// All buckets, whosever they are.
    pub(crate) async fn all_buckets(&self) -> Result<Vec<BucketInfo>, ClusterError> {
        match self.cluster.control_query(ControlQuery::Buckets).await? {
            ControlAnswer::Buckets(buckets) => Ok(buckets),
            other => Err(surprise(&other)),
        }
    }

    /// Deletes an empty bucket: its group seals it, then the control group forgets it. A crash in between leaves a
    /// sealed bucket, which the same call deletes.
    ///
    /// # Errors
    /// [`BucketError::NotEmpty`] if there are objects or uploads.
    pub async fn delete_bucket(&self, caller: &Caller, name: &str) -> Result<(), BucketError> {
        let bucket = self.bucket_now(caller, name).await?;
        let settings = self.take_settings(&bucket).await?;
        let sealed = self.seal_bucket(&bucket).await;
        if let (Err(_), Some(settings)) = (&sealed, settings) {
            self.return_settings(&bucket, settings).await;
        }
        sealed?;
        let forget = ControlCommand::DeleteBucket { bucket: bucket.id };
        let answer = self.cluster.control(forget).await?;
        self.buckets.forget(&name.to_owned());
        match answer {
            Ok(_) | Err(ControlRefusal::NoSuchBucket) => Ok(()),
            Err(refusal) => Err(control_refusal(&refusal)),
        }
    }

    async fn seal_bucket(&self, bucket: &BucketInfo) -> Result<(), BucketError> {
        match self.command(bucket, Command::SealBucket { bucket: bucket.id }).await? {
            Ok(_) | Err(Refusal::BucketSealed) => Ok(()),
            Err(Refusal::NotEmpty) => Err(BucketError::NotEmpty),
            Err(other) => Err(unexpected(&other).into()),
        }
    }
}

fn control_refusal(refusal: &ControlRefusal) -> BucketError {
    match refusal {
        ControlRefusal::BucketExistsYours => BucketError::ExistsYours,
        ControlRefusal::BucketExists => BucketError::Exists,
        ControlRefusal::InvalidBucketName => BucketError::InvalidName,
        ControlRefusal::NoSuchBucket => BucketError::NoSuchBucket,
        ControlRefusal::Limit => BucketError::TooMany,
        // The user was deleted a moment ago, and its keys with it.
        ControlRefusal::NoSuchUser => BucketError::AccessDenied,
        ControlRefusal::NotBootstrapped => ClusterError::Unavailable.into(),
        ControlRefusal::InvalidName
        | ControlRefusal::KeyExists
        | ControlRefusal::NoSuchSession
        | ControlRefusal::NoSuchNode
        | ControlRefusal::NoSuchDisk
        | ControlRefusal::NoSuchGroup
        | ControlRefusal::StaleEpoch { .. }
        | ControlRefusal::WrongPhase
        | ControlRefusal::Move(_)
        | ControlRefusal::InUse
        | ControlRefusal::Gone
        | ControlRefusal::Setting
        | ControlRefusal::NoSuchRaftGroup
        | ControlRefusal::BadVoters
        | ControlRefusal::NodeExists
        | ControlRefusal::NoSuchInvitation
        | ControlRefusal::InvitationUsed
        | ControlRefusal::NoSuchRule
        | ControlRefusal::RuleExists
        | ControlRefusal::Rule(_)
        | ControlRefusal::RuleGroups
        | ControlRefusal::NodeBehind { .. }
        | ControlRefusal::Level { .. } => ClusterError::Unexpected(refusal.to_string()).into(),
    }
}
