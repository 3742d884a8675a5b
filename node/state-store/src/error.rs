//! What can go wrong with a group's state. There is no going on after any of it.

use std::error::Error;
use std::path::{Path, PathBuf};

/// The store could not be opened. Nothing was served from it.
///
/// A damaged state is no loss of data: the group's other members have it. Remove the folder and let the node fetch a
/// snapshot.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An interrupted installation could not be settled.
    #[error("cannot use the state store's folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// RocksDB refused: it is open elsewhere, damaged, or the disk failed.
    #[error(
        "the state store in {path} cannot be opened; if it is corrupt, remove this folder: the node fetches it from its peers"
    )]
    Database {
        /// The folder.
        path: PathBuf,
        /// What RocksDB says.
        #[source]
        source: rocksdb::Error,
    },
    /// A write-ahead log or a manifest was found damaged before RocksDB was asked.
    #[error("the state store in {path} must not be opened; remove this folder: the node fetches it from its peers")]
    Rotten {
        /// The folder.
        path: PathBuf,
        /// Where.
        #[source]
        source: rocks_check::CheckError,
    },
    /// The row that says how far the state is cannot be read, or was written by a newer version of the program.
    #[error(
        "the state store in {path} has no readable applied point; remove this folder: the node fetches it from its peers"
    )]
    Point {
        /// The folder.
        path: PathBuf,
    },
}

/// The store failed. It is fenced from then on; the caller logs it and aborts the process. Never retry.
#[derive(Debug, thiserror::Error)]
#[error("the state store in {path} failed to {doing}")]
pub struct Fatal {
    /// Its folder.
    pub path: PathBuf,
    /// What it was about to do.
    pub doing: &'static str,
    /// Why it could not.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl Fatal {
    pub(crate) fn new(path: &Path, doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Fatal {
        Fatal { path: path.to_owned(), doing, source: source.into() }
    }
}

/// An earlier failure fenced the store.
#[derive(Debug, thiserror::Error)]
#[error("the store is fenced since an earlier failure: {0}")]
pub(crate) struct Fenced(pub(crate) String);

/// The applied point would go back.
#[derive(Debug, thiserror::Error)]
#[error("{next} is before {now}, which is applied already")]
pub(crate) struct PointGoesBack {
    pub(crate) now: types::LogIndex,
    pub(crate) next: types::LogIndex,
}

/// A fetched checkpoint does not say how far it is.
#[derive(Debug, thiserror::Error)]
#[error("the folder holds no checkpoint of a state store")]
pub(crate) struct NoCheckpoint;
