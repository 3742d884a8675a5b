//! Settings of a [`crate::Store`], checked before it starts.

use std::time::Duration;
use types::CHUNK_BYTES_MAX;

/// S3's smallest size of every part of a multipart upload but the last.
pub const PART_BYTES_MIN: u64 = 5 << 20;

/// S3's largest body of one PUT; larger objects are uploaded in parts.
pub const PUT_BYTES_MAX: u64 = 5 << 30;

/// How a [`crate::Store`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Chunks of one upload written at the same time. 1..=16. More hides the latency of a slow node, and takes one
    /// chunk buffer each.
    pub upload_parallel: usize,
    /// Pieces of one download read ahead of the client. 1..=16.
    pub download_ahead: usize,
    /// Bytes of request bodies held in memory by all uploads together; at least two chunks.
    pub upload_bytes_max: usize,
    /// Bytes of content read ahead by all downloads together; at least two chunks.
    pub download_bytes_max: usize,
    /// How long a request waits for its share of the two budgets before it is answered "busy".
    pub admission_wait: Duration,
    /// Smallest size of all parts of an upload but the last. Tests set it lower than [`PART_BYTES_MIN`].
    pub part_bytes_min: u64,
    /// Largest body of one PUT or part.
    pub put_bytes_max: u64,
    /// For so long a bucket or key read from the control group is used without asking again.
    pub cache_fresh: Duration,
    /// For so long it is still used while it is being asked for again, so that a change of leader of the control
    /// group stops nobody. A revoked key works no longer than this.
    pub cache_stale: Duration,
    /// Buckets and keys remembered, each.
    pub cache_entries_max: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            upload_parallel: 4,
            download_ahead: 4,
            upload_bytes_max: 256 << 20,
            download_bytes_max: 256 << 20,
            admission_wait: Duration::from_secs(10),
            part_bytes_min: PART_BYTES_MIN,
            put_bytes_max: PUT_BYTES_MAX,
            cache_fresh: Duration::from_secs(1),
            cache_stale: Duration::from_secs(5),
            cache_entries_max: 4096,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {range}")]
pub struct ConfigError {
    /// The setting's name.
    pub setting: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl StoreConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`ConfigError`] for the first one outside.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |holds: bool, setting, range| holds.then_some(()).ok_or(ConfigError { setting, range });
        check((1..=16).contains(&self.upload_parallel), "upload_parallel", "1..=16")?;
        check((1..=16).contains(&self.download_ahead), "download_ahead", "1..=16")?;
        let budget = 2 * CHUNK_BYTES_MAX..=1 << 40;
        check(budget.contains(&self.upload_bytes_max), "upload_bytes_max", "8 MiB..=1 TiB")?;
        check(budget.contains(&self.download_bytes_max), "download_bytes_max", "8 MiB..=1 TiB")?;
        check(self.put_bytes_max <= PUT_BYTES_MAX, "put_bytes_max", "at most 5 GiB")?;
        check(self.part_bytes_min <= self.put_bytes_max, "part_bytes_min", "at most put_bytes_max")?;
        check(self.cache_fresh <= self.cache_stale, "cache_fresh", "at most cache_stale")?;
        check(self.cache_stale <= Duration::from_secs(60), "cache_stale", "at most 60 s")?;
        check((1..=1 << 20).contains(&self.cache_entries_max), "cache_entries_max", "1..=1048576")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_what_is_outside_is_named() {
        assert_eq!(StoreConfig::default().validate(), Ok(()));
        let bad = StoreConfig { upload_parallel: 0, ..StoreConfig::default() };
        assert_eq!(bad.validate().map_err(|error| error.setting), Err("upload_parallel"));
        let bad = StoreConfig { upload_bytes_max: 1, ..StoreConfig::default() };
        assert_eq!(bad.validate().map_err(|error| error.setting), Err("upload_bytes_max"));
    }
}
