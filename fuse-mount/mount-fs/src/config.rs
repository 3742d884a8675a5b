//! Settings of a mounted bucket, as data.

use std::time::Duration;
use types::CHUNK_BYTES_MAX;

/// How a mounted bucket behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsConfig {
    /// No attribute or name is ever shown late: every look-up asks the cluster. Default false.
    pub strict: bool,
    /// How long the kernel may keep names and attributes when not strict. Default 1 s, at most 60 s.
    pub attr_ttl: Duration,
    /// Dirty bytes of all files together. Default 256 MiB, at least `inode_buffer_bytes`.
    pub write_buffer_bytes: usize,
    /// Dirty bytes of one file; so many chunks are under way at once. Default 16 MiB, at least two chunks.
    pub inode_buffer_bytes: usize,
    /// Verified data kept for readers, read-ahead included. Default 256 MiB, at least 8 MiB.
    pub cache_bytes: usize,
    /// Where the read-ahead window of a sequential reader stops doubling. Default 32 MiB, at most `cache_bytes / 4`.
    pub readahead_bytes_max: u64,
    /// After this time an operation is not retried any more. Default 30 s, at least 1 s.
    pub deadline: Duration,
    /// Dirty data older than this is written without waiting for close or fsync. Default 5 s, at least 100 ms.
    pub writeback_after: Duration,
    /// Shown as the owner of everything, and given to what is made. Default: the owner in the metadata, and the caller.
    pub uid: Option<u32>,
    /// As `uid`, for the group.
    pub gid: Option<u32>,
}

impl Default for FsConfig {
    fn default() -> Self {
        FsConfig {
            strict: false,
            attr_ttl: Duration::from_secs(1),
            write_buffer_bytes: 256 << 20,
            inode_buffer_bytes: 16 << 20,
            cache_bytes: 256 << 20,
            readahead_bytes_max: 32 << 20,
            deadline: Duration::from_secs(30),
            writeback_after: Duration::from_secs(5),
            uid: None,
            gid: None,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {range}")]
pub struct ConfigError {
    /// Its name.
    pub setting: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl FsConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is outside.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |setting, range| Err(ConfigError { setting, range });
        if self.attr_ttl > Duration::from_secs(60) {
            return wrong("attr_ttl", "at most 60 s");
        }
        if self.inode_buffer_bytes < 2 * CHUNK_BYTES_MAX {
            return wrong("inode_buffer_bytes", "at least 8 MiB");
        }
        if self.write_buffer_bytes < self.inode_buffer_bytes {
            return wrong("write_buffer_bytes", "at least inode_buffer_bytes");
        }
        if self.cache_bytes < 2 * CHUNK_BYTES_MAX {
            return wrong("cache_bytes", "at least 8 MiB");
        }
        if self.deadline < Duration::from_secs(1) {
            return wrong("deadline", "at least 1 s");
        }
        if self.writeback_after < Duration::from_millis(100) {
            return wrong("writeback_after", "at least 100 ms");
        }
        Ok(())
    }

    /// How long the kernel may keep a name or an attribute.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        if self.strict { Duration::ZERO } else { self.attr_ttl }
    }

    /// The largest read-ahead window: so much that four readers fit into the cache.
    pub(crate) fn readahead_max(&self) -> u64 {
        self.readahead_bytes_max.min(self.cache_bytes as u64 / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_a_tiny_buffer_is_not() {
        assert_eq!(FsConfig::default().validate(), Ok(()));
        let tiny = FsConfig { inode_buffer_bytes: 4096, ..FsConfig::default() };
        assert_eq!(tiny.validate().map_err(|error| error.setting), Err("inode_buffer_bytes"));
    }

    #[test]
    fn strict_means_no_caching_of_names() {
        let strict = FsConfig { strict: true, ..FsConfig::default() };
        assert_eq!(strict.ttl(), Duration::ZERO);
    }
}
