//! Settings of a mount.

use mount_fs::FsConfig;
use std::path::PathBuf;

/// What to mount, where and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountConfig {
    /// The bucket's name.
    pub bucket: String,
    /// An empty directory.
    pub mountpoint: PathBuf,
    /// Refuse every change. Default false.
    pub read_only: bool,
    /// Remove a dead mount that a killed process left at the mount point. Default false.
    pub clear_stale: bool,
    /// Let other users in; the kernel checks permissions either way. Default: when mounted by root.
    pub allow_other: Option<bool>,
    /// Threads that take requests from the kernel. Default 4, 1..=64.
    pub threads: usize,
    /// How far the kernel reads ahead. Default 4096 KiB; 0 leaves the kernel's own setting. Needs root.
    pub kernel_readahead_kib: u32,
    /// The file system's own settings: strictness, caches, deadline, owner.
    pub fs: FsConfig,
}

impl MountConfig {
    /// A mount with the default settings.
    #[must_use]
    pub fn new(bucket: impl Into<String>, mountpoint: impl Into<PathBuf>) -> Self {
        MountConfig {
            bucket: bucket.into(),
            mountpoint: mountpoint.into(),
            read_only: false,
            clear_stale: false,
            allow_other: None,
            threads: 4,
            kernel_readahead_kib: 4096,
            fs: FsConfig::default(),
        }
    }

    /// Threads within their range.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.clamp(1, 64)
    }
}
