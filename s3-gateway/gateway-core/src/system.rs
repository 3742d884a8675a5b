//! The bucket in which the cluster keeps what it knows of licences, rights and packages, and the user that owns it.
//!
//! Nobody can sign in as that user: it has no keys. Everything in the bucket goes through this crate.

use crate::error::{BucketError, ClusterError};
use crate::store::{Caller, Store, surprise};
use proto::control::{BucketInfo, ControlCommand, ControlOutcome};
use std::sync::Arc;

/// The bucket.
pub const SYSTEM_BUCKET: &str = "sago-lcp";
/// Its owner.
pub const SYSTEM_USER: &str = "sago.lcp";

impl Store {
    /// The bucket, as this process knew it at most [`crate::StoreConfig::cache_stale`] ago; `None` if it was not made yet.
    ///
    /// # Errors
    /// The control group did not answer. A bucket of that name that is somebody else's is [`BucketError::AccessDenied`]: it is not the one.
    pub async fn system_bucket(&self) -> Result<Option<Arc<BucketInfo>>, BucketError> {
        match self.find_bucket(SYSTEM_BUCKET).await? {
            Some(bucket) if bucket.owner != SYSTEM_USER => Err(BucketError::AccessDenied),
            found => Ok(found),
        }
    }

    /// The bucket, made if need be, and its owner. Idempotent. For operators.
    ///
    /// # Errors
    /// [`BucketError`]; a bucket of that name that is somebody else's is [`BucketError::Exists`].
    pub async fn ensure_system_bucket(&self) -> Result<Arc<BucketInfo>, BucketError> {
        let user = ControlCommand::CreateUser { name: SYSTEM_USER.to_owned() };
        match self.cluster.control(user).await? {
            Ok(ControlOutcome::Done) => {}
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(ClusterError::Unexpected(refusal.to_string()).into()),
        }
        let owner = Caller { user: SYSTEM_USER.to_owned() };
        match self.create_bucket(&owner, SYSTEM_BUCKET).await {
            Err(BucketError::ExistsYours) => self.bucket_now(&owner, SYSTEM_BUCKET).await,
            made => made,
        }
    }
}
