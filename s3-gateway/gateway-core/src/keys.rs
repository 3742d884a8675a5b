//! Key pairs, for the face that authenticates.

use crate::error::ClusterError;
use crate::store::{Store, surprise};
use proto::control::{AccessKey, ControlAnswer, ControlQuery};
use std::sync::Arc;

/// An access key's largest length; longer ones are not even looked up.
pub const ACCESS_KEY_BYTES_MAX: usize = 128;

impl Store {
    /// A key pair; `None` if there is none of that name. Remembered for a moment, so a deleted key works at most
    /// `StoreConfig::cache_stale` longer.
    ///
    /// # Errors
    /// The control group did not answer.
    pub async fn access_key(&self, access_key: &str) -> Result<Option<Arc<AccessKey>>, ClusterError> {
        if access_key.is_empty()
            || access_key.len() > ACCESS_KEY_BYTES_MAX
            || !access_key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Ok(None);
        }
        let (cluster, name) = (self.cluster.clone(), access_key.to_owned());
        let ask = || async move {
            match cluster.control_query(ControlQuery::Key { access_key: name }).await? {
                ControlAnswer::Key(key) => Ok(key.map(Arc::new)),
                other => Err(surprise(&std::mem::discriminant(&other))),
            }
        };
        self.keys.get(&access_key.to_owned(), ask).await
    }
}
