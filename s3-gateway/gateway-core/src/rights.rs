//! Rights.

use crate::error::ClusterError;
use crate::store::Store;

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Plain.
    PlainRead,
    /// Lend.
    Lend,
    /// Download.
    Download,
}

impl Store {
    /// Whether.
    ///
    /// # Errors
    /// Cluster.
    pub async fn has_right(&self, _user: &str, _right: Right) -> Result<bool, ClusterError> {
        Ok(false)
    }
}
