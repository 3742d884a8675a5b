//! What can go wrong: at the start the log is refused, later the node must stop.

use std::io;
use std::path::PathBuf;
use types::{GroupId, LogIndex, NodeId};

/// The log was refused at the start. Nothing was served from it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file beside the database could not be read or written.
    #[error("cannot use {path}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The folder holds something, but not the identity of a log.
    #[error("{path} is neither empty nor a raft log; give the node an empty folder")]
    NotALog {
        /// The folder.
        path: PathBuf,
    },
    /// The identity file is damaged.
    #[error("{path} is damaged; replace the node: join an empty one under a new id and remove this one")]
    DamagedIdentity {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a version of the program that this one does not know.
    #[error("{path} has format {found}, this program reads format {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        known: u32,
    },
    /// The folder belongs to another node.
    #[error("{path} is the log of {found}, not of {expected}")]
    ForeignNode {
        /// The folder.
        path: PathBuf,
        /// Who opens it.
        expected: NodeId,
        /// Whose it is.
        found: NodeId,
    },
    /// Neither slot of the watermark can be read: nobody knows what this node has promised.
    #[error(
        "the watermark in {path} cannot be read; replace the node: join an empty one under a new id and remove this one"
    )]
    WatermarkLost {
        /// The folder.
        path: PathBuf,
    },
    /// RocksDB refused: damage that is not a torn tail, or an I/O error.
    #[error(
        "the raft log database in {path} cannot be opened; if it is corrupt, replace the node: join an empty one under a new id and remove this one"
    )]
    Database {
        /// The folder.
        path: PathBuf,
        /// What RocksDB says.
        #[source]
        source: rocksdb::Error,
    },
    /// A group's log has a hole.
    #[error(
        "the log of {group} has a hole: {found} follows {after}; replace the node: join an empty one under a new id and remove this one"
    )]
    Hole {
        /// The group.
        group: GroupId,
        /// The last entry before the hole.
        after: LogIndex,
        /// The entry behind it.
        found: LogIndex,
    },
    /// A row does not match its checksum, or is not one of ours.
    #[error(
        "a row of {group} is damaged ({what}); replace the node: join an empty one under a new id and remove this one"
    )]
    DamagedRow {
        /// The group.
        group: GroupId,
        /// Which row.
        what: &'static str,
    },
}

/// The log failed while it was in use. It is fenced from then on: every later write fails too.
///
/// The caller logs it and aborts the process; what reached the disk is unknown until the next start. Never retry.
#[derive(Debug, thiserror::Error)]
#[error("the raft log failed to {doing}")]
pub struct Fatal {
    /// What it was about to do.
    pub doing: &'static str,
    /// Why it could not.
    #[source]
    pub cause: Cause,
}

/// Why the log failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// RocksDB failed.
    #[error(transparent)]
    Database(#[from] rocksdb::Error),
    /// The watermark could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An earlier failure fenced the log.
    #[error("the log is fenced since an earlier failure: {0}")]
    Fenced(String),
    /// The group was never created.
    #[error("{0} is unknown")]
    UnknownGroup(GroupId),
    /// The caller asked for something that would leave a hole or contradict what is there.
    #[error("{group}: {index} does not fit the log ({rule})")]
    Misfit {
        /// The group.
        group: GroupId,
        /// The index that does not fit.
        index: LogIndex,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A row that was written is missing or damaged.
    #[error("{group}: the entry {index} is missing or damaged")]
    Damaged {
        /// The group.
        group: GroupId,
        /// The entry.
        index: LogIndex,
    },
}
