//! The one place where an error of the file system becomes a number.

use fuser::Errno;
use mount_fs::FsError;

/// The number that programs see.
pub(crate) fn errno(error: &FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::ENOENT,
        FsError::Stale => Errno::ESTALE,
        FsError::Exists => Errno::EEXIST,
        FsError::NotDirectory => Errno::ENOTDIR,
        FsError::IsDirectory => Errno::EISDIR,
        FsError::NotEmpty => Errno::ENOTEMPTY,
        FsError::Invalid => Errno::EINVAL,
        FsError::CrossBucket => Errno::EXDEV,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::FileTooLarge => Errno::EFBIG,
        FsError::TooManyLinks => Errno::EMLINK,
        FsError::TooManyHandles => Errno::ENFILE,
        FsError::BadHandle => Errno::EBADF,
        FsError::NoXattr => Errno::NO_XATTR,
        FsError::XattrTooLarge => Errno::E2BIG,
        FsError::NotPermitted => Errno::EPERM,
        FsError::Protected => Errno::EACCES,
        FsError::Unsupported => Errno::EOPNOTSUPP,
        FsError::Sealed => Errno::EROFS,
        FsError::NoSpace => Errno::ENOSPC,
        FsError::BreakerOpen => Errno::EDQUOT,
        FsError::Unavailable
        | FsError::OutcomeUnknown
        | FsError::Lost
        | FsError::SessionClosed
        | FsError::Protocol(_) => Errno::EIO,
    }
}

/// Whether an operator should hear of it: the cluster failed, not the caller.
pub(crate) fn is_failure(error: &FsError) -> bool {
    errno(error) == Errno::EIO || matches!(error, FsError::NoSpace | FsError::BreakerOpen)
}
