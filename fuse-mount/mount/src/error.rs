//! Why a bucket cannot be mounted or unmounted. Every message says what to do.

use mount_fs::OpenBucketError;
use std::io;
use std::path::PathBuf;

/// See the module's head.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No FUSE in this kernel or container.
    #[error(
        "/dev/fuse is missing: load the kernel module with `modprobe fuse`; in a container start it with \
         `--device /dev/fuse --cap-add SYS_ADMIN`"
    )]
    NoFuse,
    /// The device is there and may not be opened.
    #[error("/dev/fuse cannot be opened: run as root, or give this user access to the device")]
    FuseDenied(#[source] io::Error),
    /// No mount point.
    #[error("the mount point {0:?} does not exist: create it with `mkdir -p`")]
    Missing(PathBuf),
    /// Not a directory.
    #[error("the mount point {0:?} is not a directory")]
    NotDirectory(PathBuf),
    /// It has entries, which the mount would hide.
    #[error("the mount point {0:?} is not empty: choose an empty directory")]
    NotEmpty(PathBuf),
    /// Another file system is mounted there.
    #[error("something is mounted at {0:?} already: unmount it with `umount`, or choose another directory")]
    AlreadyMounted(PathBuf),
    /// A mount whose process is gone.
    #[error(
        "a dead mount is left at {0:?}: clear it with `umount -l`, or mount with the option that clears stale mounts"
    )]
    Stale(PathBuf),
    /// The mount point cannot be looked at.
    #[error("the mount point {path:?} cannot be used")]
    Mountpoint {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none of that name.
    #[error("there is no bucket {0:?}: create it with `sago bucket create`, or list them with `sago bucket list`")]
    NoSuchBucket(String),
    /// Its content is encrypted, or it is the cluster's own.
    #[error(
        "the bucket {0:?} is protected: what lies in it is encrypted, and a mount has no key for it; use it through a gateway (`sago gateway`)"
    )]
    Protected(String),
    /// The bucket cannot be opened.
    #[error("the bucket cannot be opened")]
    Bucket(#[source] OpenBucketError),
    /// The kernel or the mount helper refused.
    #[error(
        "mounting failed: root may mount (in a container with `--cap-add SYS_ADMIN`); other users need the package `fuse3`"
    )]
    Refused(#[source] io::Error),
    /// Files of the mount are in use.
    #[error(
        "{0:?} was detached while files in it are open: they stay usable until this process ends; close them first"
    )]
    Busy(PathBuf),
    /// The kernel refused to unmount.
    #[error("unmounting {path:?} failed: try `umount -l`")]
    Unmount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<OpenBucketError> for MountError {
    fn from(error: OpenBucketError) -> Self {
        match error {
            OpenBucketError::NoSuchBucket(name) => MountError::NoSuchBucket(name),
            OpenBucketError::Protected(name) => MountError::Protected(name),
            OpenBucketError::Config(_)
            | OpenBucketError::Call(_)
            | OpenBucketError::Refused(_)
            | OpenBucketError::Protocol(_) => MountError::Bucket(error),
        }
    }
}
