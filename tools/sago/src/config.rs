//! Configuration files: what they look like and how they are read. Flags and environment stand over them; see `cli`.
//!
//! * `cluster.toml`, the same on every node: who belongs to the cluster and where copies and voters stand ([`ClusterFile`]).
//! * `node.toml`, one a node ([`NodeFile`]).
//! * `client.toml`, for gateways, mounts and tools ([`ClientFile`]).
//! * The token that a new node joins with ([`TokenFile`]).
//!
//! All are made by `sago cluster init`. Unknown keys are refused; a relative path counts from the folder of its file.

mod client_file;
mod cluster_file;
mod environment;
mod lcp_section;
mod node_file;
mod size;
mod token_file;

pub use client_file::{ClientFile, ClientLimits, GatewaySection, MountSection, NodeAddress, load_credentials};
pub use cluster_file::ClusterFile;
pub use environment::check_environment;
pub use lcp_section::{LcpSection, TransitSection};
pub use node_file::{GarbageSection, MemorySection, NodeFile, RaftSection, StoreSection};
pub use size::Size;
pub use token_file::TokenFile;

use serde::de::DeserializeOwned;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A configuration file is a few KiB; a cluster file of a thousand placement groups is 200 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A configuration that cannot be used; the text names file, key and what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{path}: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What and where in it.
        message: String,
    },
    /// A value that makes no sense.
    #[error("{place}: {what}")]
    Value {
        /// File or flag.
        place: String,
        /// What is wrong with it.
        what: String,
    },
}

impl ConfigError {
    /// A value that makes no sense.
    pub fn value(place: impl ToString, what: impl Into<String>) -> Self {
        ConfigError::Value { place: place.to_string(), what: what.into() }
    }
}

/// Reads a file of settings.
///
/// # Errors
/// [`ConfigError`]; unknown keys are refused by the types themselves.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let failed = |source| ConfigError::File { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, "too large for a configuration file")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(path, &text)
}

/// Parses the text of the file `path`.
///
/// # Errors
/// [`ConfigError::Syntax`].
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

/// Writes a file and makes it durable: beside it first, then renamed over it. Readable by its owner alone.
///
/// # Errors
/// [`ConfigError::File`].
pub fn save_private(path: &Path, text: &str) -> Result<(), ConfigError> {
    let write = || -> std::io::Result<()> {
        let beside = path.with_extension("new");
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(folder_of(path))?.sync_all()
    };
    write().map_err(|source| ConfigError::File { path: path.to_owned(), source })
}

/// The folder a file stands in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A path of a file, counted from the file's folder if it is relative.
pub fn beside(file: &Path, path: &Path) -> PathBuf {
    folder_of(file).join(path)
}
