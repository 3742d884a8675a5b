//! What can go wrong, by operation.

use std::io;
use std::path::PathBuf;
use types::{DiskId, NodeId, RetryClass};

/// The index failed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database failed.
    #[error("the chunk index failed")]
    Db(#[from] rocksdb::Error),
    /// A row is not what was written.
    #[error("malformed row in the chunk index")]
    Malformed,
}

/// A disk failed below the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A segment could not be read or written.
    #[error("segment I/O failed")]
    Io(#[from] io::Error),
    /// The index could not be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// A store was not opened. Nothing was changed, except that new directories may have been made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot work.
    #[error("chunk store settings: {rule}")]
    Config {
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Another process has the directory open.
    #[error("{}: in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is empty or missing, and none is to be made.
    #[error("{}: no disk here; is the file system mounted", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has something in it, but no identity: it is not a disk of ours, or has lost its identity.
    #[error("{}: holds `{found}` but no identity; not touched", path.display())]
    NoIdentity {
        /// The directory.
        path: PathBuf,
        /// Something that lies there.
        found: String,
    },
    /// The disk of another node.
    #[error("{}: belongs to {owner}, not to {node}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who wanted to open it.
        node: NodeId,
    },
    /// Another disk of the same node: directories are swapped or mounted in the wrong place.
    #[error("{}: holds disk {found}, not {expected}; are the file systems mounted in the right places", path.display())]
    WrongDisk {
        /// The directory.
        path: PathBuf,
        /// The disk that is there.
        found: DiskId,
        /// The disk that should be.
        expected: DiskId,
    },
    /// The identity cannot be read or was written by a newer program.
    #[error("{}: the identity is damaged or of an unknown format", path.display())]
    BadIdentity {
        /// The directory.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("{}: the disk failed", path.display())]
    Disk {
        /// The directory.
        path: PathBuf,
        /// How.
        #[source]
        source: StoreError,
    },
}

/// A chunk was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Empty or larger than `CHUNK_BYTES_MAX`.
    #[error("a chunk has 1 to 4194304 bytes, not {len}")]
    Invalid {
        /// Its length.
        len: usize,
    },
    /// The node has no disk of that number.
    #[error("no disk {disk}")]
    NoSuchDisk {
        /// The number.
        disk: usize,
    },
    /// The data does not have the hash it came with.
    #[error("the data does not match its hash")]
    HashMismatch,
    /// The id is here already with other bytes.
    #[error("the id is taken by other bytes")]
    Conflict,
    /// The id was deleted and cannot be used again.
    #[error("the id was deleted")]
    Deleted,
    /// The disk is full; nothing was kept.
    #[error("no space on the disk")]
    NoSpace,
    /// Too much waits for the disk; nothing was kept.
    #[error("too much waits for the disk")]
    Busy,
    /// The disk failed. Whether the chunk was kept is not known; it is not acknowledged.
    #[error("disk {disk} is fenced after an error")]
    Fenced {
        /// Which.
        disk: DiskId,
    },
    /// The store was closed; nothing was kept.
    #[error("the store is closed")]
    Closed,
}

impl PutError {
    /// What the caller may do about it.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            PutError::Busy => RetryClass::Retry,
            PutError::NoSpace | PutError::Fenced { .. } | PutError::NoSuchDisk { .. } | PutError::Closed => {
                RetryClass::RetryElsewhere
            }
            PutError::Invalid { .. } | PutError::HashMismatch | PutError::Conflict | PutError::Deleted => {
                RetryClass::Fatal
            }
        }
    }
}

/// A chunk was not deleted everywhere on this node; asking again is safe.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The node has no disk of that number.
    #[error("no disk {disk}")]
    NoSuchDisk {
        /// The number.
        disk: usize,
    },
    /// More ids than one tombstone record holds.
    #[error("{len} ids at once, at most 4096")]
    TooMany {
        /// How many.
        len: usize,
    },
    /// Not even the reserve has room for a tombstone.
    #[error("no space on the disk")]
    NoSpace,
    /// Too much waits for the disk.
    #[error("too much waits for the disk")]
    Busy,
    /// The disk failed.
    #[error("disk {disk} is fenced after an error")]
    Fenced {
        /// Which.
        disk: DiskId,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Compaction stopped; what it did stays done, and asking again goes on.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The node has no disk of that number.
    #[error("no disk {disk}")]
    NoSuchDisk {
        /// The number.
        disk: usize,
    },
    /// Not even half of the reserve has room for what is to be moved.
    #[error("no space on the disk")]
    NoSpace,
    /// Too much waits for the disk.
    #[error("too much waits for the disk")]
    Busy,
    /// The disk failed.
    #[error("disk {disk} is fenced after an error")]
    Fenced {
        /// Which.
        disk: DiskId,
    },
    /// A record could not be read, for a reason that does not lie in the record.
    #[error("a record cannot be read")]
    Read(#[source] GetError),
    /// A segment could not be read.
    #[error("segment I/O failed")]
    Io(#[from] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// A scrub stopped; it goes on where it stood.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The node has no disk of that number.
    #[error("no disk {disk}")]
    NoSuchDisk {
        /// The number.
        disk: usize,
    },
    /// The disk failed.
    #[error("disk {disk} is fenced after an error")]
    Fenced {
        /// Which.
        disk: DiskId,
    },
    /// A record could not be read, for a reason that does not lie in the record.
    #[error("a record cannot be read")]
    Read(#[source] GetError),
    /// Where it stands could not be kept.
    #[error("the state of the scrub cannot be kept")]
    State(#[source] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A chunk was not read.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Not here.
    #[error("not found")]
    NotFound,
    /// It was deleted.
    #[error("the chunk was deleted")]
    Deleted,
    /// The range is empty or does not lie in the chunk.
    #[error("range {offset}+{len} does not lie in a chunk of {chunk_len} bytes")]
    Range {
        /// First byte.
        offset: u32,
        /// Length.
        len: u32,
        /// The chunk's length.
        chunk_len: u32,
    },
    /// The replica is damaged: what lies on the disk does not have the chunk's hash.
    #[error("the replica is corrupt")]
    Corrupt,
    /// The medium failed under the replica.
    #[error("the replica cannot be read")]
    Unreadable(#[source] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl GetError {
    /// What the caller may do about it.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            GetError::Range { .. } => RetryClass::Fatal,
            GetError::NotFound
            | GetError::Deleted
            | GetError::Corrupt
            | GetError::Unreadable(_)
            | GetError::Index(_)
            | GetError::Closed => RetryClass::RetryElsewhere,
        }
    }
}
