//! What the kernel is asked for: the features of the connection and how far it reads ahead.

use fuser::{InitFlags, KernelConfig};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One request carries at most this much; also the kernel's own limit (256 pages).
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Read-ahead and asynchronous requests in flight: enough for several sequential readers of 4 MiB each.
const BACKGROUND_MAX: u16 = 64;

/// Sets the connection up. A feature that the kernel lacks is done without.
pub(crate) fn configure(config: &mut KernelConfig, strict: bool) {
    if let Err(nearest) = config.set_max_write(WRITE_BYTES_MAX) {
        let _ = config.set_max_write(nearest);
    }
    if let Err(nearest) = config.set_max_readahead(WRITE_BYTES_MAX) {
        let _ = config.set_max_readahead(nearest);
    }
    let _ = config.set_max_background(BACKGROUND_MAX);
    let mut wanted = vec![
        InitFlags::FUSE_ASYNC_READ,
        InitFlags::FUSE_PARALLEL_DIROPS,
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        InitFlags::FUSE_ATOMIC_O_TRUNC,
        InitFlags::FUSE_CACHE_SYMLINKS,
    ];
    if strict {
        // Every read then asks for attributes first, and a changed file's pages are dropped.
        wanted.push(InitFlags::FUSE_AUTO_INVAL_DATA);
    }
    for flag in wanted {
        if config.add_capabilities(flag).is_err() {
            tracing::debug!(?flag, "the kernel does not have it");
        }
    }
}

/// Raises the kernel's read-ahead of a mounted file system, which the connection itself caps at 128 KiB. Best effort.
pub(crate) fn raise_readahead(mountpoint: &Path, kib: u32) {
    let Ok(meta) = fs::metadata(mountpoint) else { return };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = fs::write(&setting, kib.to_string()) {
        tracing::debug!(setting, %error, "the kernel's read-ahead stays as it is");
    }
}
