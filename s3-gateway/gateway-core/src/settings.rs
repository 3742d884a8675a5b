//! What is set for a bucket: a record among its own, remembered for a moment.
//!
//! ```text
//! bucket's records   space 0   key "settings"   value: version byte, then what that version has
//! ```
//! A bucket without the record has the defaults, and so has every bucket of a cluster below the level that has records. A record that cannot be read is an
//! error, never the defaults: whoever cannot tell whether a bucket is protected touches nothing in it.
//!
//! `protect` marks buckets, and lets them go when they are deleted.

mod protect;

pub use protect::ProtectError;

use crate::error::{BucketError, ClusterError};
use crate::store::{Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Query, Refusal};
use proto::record::{RecordKey, RecordSpace};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The space of a bucket's records that the programs of the cluster keep for themselves.
pub const SETTINGS_SPACE: RecordSpace = RecordSpace(0);
/// The record of the settings in it.
pub const SETTINGS_KEY: &[u8] = b"settings";

/// History: 1 = the protection.
const VERSION: u8 = 1;

/// How the content of a bucket is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protection {
    /// It is encrypted at rest, and goes out wrapped in LCP.
    Lcp,
}

impl Protection {
    /// What an operator calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protection::Lcp => "lcp",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Protection::Lcp.name()).then_some(Protection::Lcp)
    }
}

/// What is set for a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketSettings {
    /// How its content is protected; a bucket with a protection is *marked*.
    pub protection: Option<Protection>,
}

impl BucketSettings {
    /// The value of the record.
    ///
    /// # Errors
    /// Only if there is no memory.
    pub fn to_bytes(&self) -> Result<Bytes, ClusterError> {
        postcard::to_extend(self, vec![VERSION]).map(Bytes::from).map_err(|error| surprise(&error))
    }

    /// Reads the value of the record; `None` if this program does not understand all of it.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let (&VERSION, rest) = value.split_first()? else { return None };
        match postcard::take_from_bytes(rest) {
            Ok((settings, [])) => Some(settings),
            Ok(_) | Err(_) => None,
        }
    }

    /// The query for the record. [`BucketSettings::from_answer`] reads its answer.
    #[must_use]
    pub fn query(bucket: &BucketInfo) -> Query {
        Query::Records { bucket: bucket.id, keys: vec![key()] }
    }

    /// The settings in the answer to [`BucketSettings::query`]. A bucket that its group has not heard of yet has the defaults.
    ///
    /// # Errors
    /// [`ClusterError::Unexpected`] for what cannot be read.
    pub fn from_answer(answer: Result<Answer, Refusal>) -> Result<Self, ClusterError> {
        let mut found = match answer {
            Ok(Answer::Records(found)) if found.len() == 1 => found,
            Ok(other) => return Err(surprise(&other)),
            Err(Refusal::NoSuchBucket) => return Ok(BucketSettings::default()),
            Err(refusal) => return Err(crate::error::unexpected(&refusal)),
        };
        match found.pop().flatten() {
            None => Ok(BucketSettings::default()),
            Some(record) => BucketSettings::from_bytes(&record.content.value).ok_or_else(|| {
                ClusterError::Unexpected(
                    "the settings of the bucket are of a form that this program does not know".into(),
                )
            }),
        }
    }
}

fn key() -> RecordKey {
    RecordKey { space: SETTINGS_SPACE, key: Bytes::from_static(SETTINGS_KEY) }
}

impl Store {
    /// What is set for a bucket, as this process knew it at most [`crate::StoreConfig::cache_stale`] ago.
    ///
    /// # Errors
    /// The cluster did not answer, or this program does not understand what is set: then nothing may be done with the content.
    pub async fn bucket_settings(&self, bucket: &BucketInfo) -> Result<Arc<BucketSettings>, BucketError> {
        let (store, asked) = (self.clone(), bucket.clone());
        let ask = || async move { store.ask_settings(&asked).await.map(Some) };
        self.settings.get(&bucket.id, ask).await?.ok_or(BucketError::NoSuchBucket)
    }

    /// What is set for a bucket, as its group knows it now.
    ///
    /// # Errors
    /// As [`Store::bucket_settings`].
    pub async fn bucket_settings_now(&self, bucket: &BucketInfo) -> Result<Arc<BucketSettings>, BucketError> {
        let settings = self.ask_settings(bucket).await?;
        self.settings.set(bucket.id, Some(settings.clone()));
        Ok(settings)
    }

    async fn ask_settings(&self, bucket: &BucketInfo) -> Result<Arc<BucketSettings>, ClusterError> {
        match self.cluster.query(bucket.group, BucketSettings::query(bucket)).await.map_err(ClusterError::from) {
            Ok(answer) => BucketSettings::from_answer(answer).map(Arc::new),
            Err(ClusterError::Level { .. }) => Ok(Arc::default()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_these_bytes_and_nothing_else_is_taken_for_them() {
        let marked = BucketSettings { protection: Some(Protection::Lcp) };
        assert_eq!(marked.to_bytes().as_deref(), Ok(&[1, 1, 0][..]));
        assert_eq!(BucketSettings::default().to_bytes().as_deref(), Ok(&[1, 0][..]));
        assert_eq!(BucketSettings::from_bytes(&[1, 1, 0]), Some(marked));
        for bad in [&[][..], &[0, 0], &[2, 0], &[1], &[1, 1], &[1, 1, 1], &[1, 0, 0], &[1, 2]] {
            assert_eq!(BucketSettings::from_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_protection_is_known_by_its_name_alone() {
        assert_eq!(Protection::from_name("lcp"), Some(Protection::Lcp));
        assert_eq!(Protection::from_name("LCP"), None);
    }
}
