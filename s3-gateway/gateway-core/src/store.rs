//! The store: what every operation shares.

use crate::budget::Budget;
use crate::cache::Cache;
use crate::config::{ConfigError, StoreConfig};
use crate::error::{BucketError, ClusterError};
use crate::keyring::KeyService;
use crate::rights::Rights;
use crate::settings::BucketSettings;
use cluster_client::Cluster;
use proto::control::{AccessKey, BucketInfo, ControlAnswer, ControlQuery};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use std::sync::Arc;
use std::time::Duration;
use types::BucketId;

/// Plain sizes remembered. Each takes about a hundred bytes.
const SIZES_MAX: usize = 1 << 16;
/// How long: what is remembered never changes, but when there are too many the older ones make room.
const SIZE_AGE_MAX: Duration = Duration::from_secs(3600);

/// Who asks: a user that the face has authenticated. There is no other way to the content of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub user: String,
}

/// Buckets and objects of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) config: Arc<StoreConfig>,
    pub(crate) uploads: Budget,
    pub(crate) downloads: Budget,
    pub(crate) buckets: Arc<Cache<String, Arc<BucketInfo>>>,
    pub(crate) keys: Arc<Cache<String, Arc<AccessKey>>>,
    pub(crate) settings: Arc<Cache<BucketId, Arc<BucketSettings>>>,
    pub(crate) rights: Arc<Cache<String, Arc<Rights>>>,
    /// Plain sizes of sealed objects of parts, by entity tag and stored size.
    pub(crate) sizes: Arc<Cache<(String, u64), u64>>,
    pub(crate) key_service: Option<Arc<dyn KeyService>>,
}

impl Store {
    /// A store over a cluster.
    ///
    /// # Errors
    /// [`ConfigError`]: a setting is out of its range.
    pub fn new(cluster: Arc<dyn Cluster>, config: StoreConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Store {
            cluster,
            uploads: Budget::new(config.upload_bytes_max, config.admission_wait),
            downloads: Budget::new(config.download_bytes_max, config.admission_wait),
            buckets: Cache::new(config.cache_fresh, config.cache_stale, config.cache_entries_max),
            keys: Cache::new(config.cache_fresh, config.cache_stale, config.cache_entries_max),
            settings: Cache::new(config.cache_fresh, config.cache_stale, config.cache_entries_max),
            rights: Cache::new(config.cache_fresh, config.cache_stale, config.cache_entries_max),
            sizes: Cache::new(SIZE_AGE_MAX, SIZE_AGE_MAX, SIZES_MAX),
            key_service: None,
            config: Arc::new(config),
        })
    }

    /// The same store with key-encryption keys. Without them nothing in a marked bucket can be read or written.
    #[must_use]
    pub fn with_keys(self, keys: Arc<dyn KeyService>) -> Self {
        Store { key_service: Some(keys), ..self }
    }

    /// A bucket by name for its owner, as this process last knew it. The bucket's own group has the last word: it
    /// refuses what comes for a bucket that was deleted.
    pub(crate) async fn bucket(&self, caller: &Caller, name: &str) -> Result<Arc<BucketInfo>, BucketError> {
        let found = self.find_bucket(name).await?;
        if found.is_none() {
            // One that another gateway makes is to be seen here at once.
            self.buckets.forget(&name.to_owned());
        }
        owned(caller, found)
    }

    /// A bucket by name, whosever it is, as this process last knew it.
    pub(crate) async fn find_bucket(&self, name: &str) -> Result<Option<Arc<BucketInfo>>, ClusterError> {
        let cluster = self.cluster.clone();
        let (key, asked) = (name.to_owned(), name.to_owned());
        self.buckets.get(&key, || async move { ask_bucket(&*cluster, asked).await }).await
    }

    /// A bucket by name for its owner, as the control group knows it now.
    pub(crate) async fn bucket_now(&self, caller: &Caller, name: &str) -> Result<Arc<BucketInfo>, BucketError> {
        owned(caller, self.learn(name).await?)
    }

    /// A bucket by name, whosever it is, as the control group knows it now.
    pub(crate) async fn learn(&self, name: &str) -> Result<Option<Arc<BucketInfo>>, ClusterError> {
        let found = ask_bucket(&*self.cluster, name.to_owned()).await?;
        match &found {
            Some(bucket) => self.buckets.set(name.to_owned(), Some(bucket.clone())),
            None => self.buckets.forget(&name.to_owned()),
        }
        Ok(found)
    }

    /// Sends a command to a bucket's group, which is told of the bucket first if it does not know it yet.
    pub(crate) async fn command(
        &self,
        bucket: &BucketInfo,
        command: Command,
    ) -> Result<Result<Outcome, Refusal>, BucketError> {
        let answer = self.cluster.command(bucket.group, command.clone()).await?;
        if !self.is_new(bucket, answer.as_ref().err()).await? {
            return Ok(answer);
        }
        Ok(self.cluster.command(bucket.group, command).await?)
    }

    /// Asks a bucket's group, which is told of the bucket first if it does not know it yet.
    pub(crate) async fn query(
        &self,
        bucket: &BucketInfo,
        query: Query,
    ) -> Result<Result<Answer, Refusal>, BucketError> {
        let answer = self.cluster.query(bucket.group, query.clone()).await?;
        if !self.is_new(bucket, answer.as_ref().err()).await? {
            return Ok(answer);
        }
        Ok(self.cluster.query(bucket.group, query).await?)
    }

    /// Whether the group refused because nobody had told it of the bucket. It has been told now.
    async fn is_new(&self, bucket: &BucketInfo, refusal: Option<&Refusal>) -> Result<bool, BucketError> {
        match refusal {
            Some(Refusal::NoSuchBucket) if self.confirm(bucket).await? => {
                self.ensure(bucket).await?;
                Ok(true)
            }
            Some(Refusal::BucketSealed) => {
                self.confirm(bucket).await?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    pub(crate) async fn ensure(&self, bucket: &BucketInfo) -> Result<(), BucketError> {
        let ensure = Command::EnsureBucket { bucket: bucket.id };
        match self.cluster.command(bucket.group, ensure).await? {
            Ok(_) => Ok(()),
            Err(Refusal::BucketSealed) => Err(BucketError::NoSuchBucket),
            Err(other) => Err(crate::error::unexpected(&other).into()),
        }
    }

    /// Whether the control group still has the bucket. If it has another one of that name by now, the request was made
    /// with what this process knew of the old one and has to be made again.
    async fn confirm(&self, bucket: &BucketInfo) -> Result<bool, BucketError> {
        match self.learn(&bucket.name).await?.map(|now| now.id) {
            Some(id) if id == bucket.id => Ok(true),
            Some(BucketId(_)) => Err(ClusterError::Unavailable.into()),
            None => Ok(false),
        }
    }
}

async fn ask_bucket(cluster: &dyn Cluster, name: String) -> Result<Option<Arc<BucketInfo>>, ClusterError> {
    match cluster.control_query(ControlQuery::Bucket { name }).await? {
        ControlAnswer::Bucket(bucket) => Ok(bucket.map(Arc::new)),
        other => Err(surprise(&other)),
    }
}

fn owned(caller: &Caller, found: Option<Arc<BucketInfo>>) -> Result<Arc<BucketInfo>, BucketError> {
    let bucket = found.ok_or(BucketError::NoSuchBucket)?;
    if bucket.owner == caller.user { Ok(bucket) } else { Err(BucketError::AccessDenied) }
}

/// An answer of another kind than the question's.
pub(crate) fn surprise(answer: &impl std::fmt::Debug) -> ClusterError {
    let text = format!("{answer:?}");
    ClusterError::Unexpected(text.chars().take(64).collect())
}
