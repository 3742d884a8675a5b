//! What can go wrong with a group's state. There is no going on after any of it.

use std::path::PathBuf;

/// The store failed. The node must stop: see the module head of `meta-server`'s log thread.
#[derive(Debug, thiserror::Error)]
#[error("the state store in {path} failed")]
pub struct Fatal {
    /// Its folder.
    pub path: PathBuf,
    /// How.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Fatal {
    pub(crate) fn new(path: &std::path::Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Fatal { path: path.to_owned(), source: source.into() }
    }
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB or the file system refused.
    #[error(transparent)]
    Failed(#[from] Fatal),
    /// The row that says how far it is cannot be read.
    #[error(
        "the state store in {0} has no readable applied index; delete this folder to let the node fetch it from its peers"
    )]
    Applied(PathBuf),
}
