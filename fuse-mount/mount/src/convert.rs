//! Between fuser's types and those of `mount_fs`.

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use mount_fs::{Attr, FileKind, MountFs, OpenMode, SetTime, SetXattrMode, Timestamp};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Shown as the preferred size of reads and writes: stdio programs then send 128 KiB at a time, not 4 KiB.
const BLOCK_BYTES: u32 = 128 << 10;
/// `st_blocks` counts these.
const SECTOR_BYTES: u64 = 512;

pub(crate) fn file_attr(fs: &MountFs, attr: &Attr) -> FileAttr {
    let links_min = if attr.kind == FileKind::Directory { 2 } else { 0 };
    FileAttr {
        ino: INodeNo(fs.kernel_number(attr.ino)),
        size: attr.size,
        blocks: attr.stored.div_ceil(SECTOR_BYTES),
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.crtime),
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink.max(links_min),
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Attributes of which only number and kind mean anything.
pub(crate) fn bare_directory(ino: INodeNo) -> FileAttr {
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

pub(crate) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
    }
}

pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    let offset = Duration::from_nanos(time.0.unsigned_abs());
    let shifted = if time.0 < 0 { UNIX_EPOCH.checked_sub(offset) } else { UNIX_EPOCH.checked_add(offset) };
    shifted.unwrap_or(UNIX_EPOCH)
}

pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let nanos = |offset: Duration| i64::try_from(offset.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp(nanos(after)),
        Err(before) => Timestamp(-nanos(before.duration())),
    }
}

pub(crate) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    }
}

pub(crate) fn open_mode(flags: i32) -> OpenMode {
    OpenMode { write: flags & libc::O_ACCMODE != libc::O_RDONLY, truncate: flags & libc::O_TRUNC != 0 }
}

/// `None` for a combination of flags that makes no sense.
pub(crate) fn xattr_mode(flags: i32) -> Option<SetXattrMode> {
    match flags {
        0 => Some(SetXattrMode::Any),
        libc::XATTR_CREATE => Some(SetXattrMode::Create),
        libc::XATTR_REPLACE => Some(SetXattrMode::Replace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_both_ways_also_before_the_epoch() {
        for nanos in [0, 1, -1, 1_700_000_000_123_456_789, -86_400_000_000_000] {
            assert_eq!(timestamp(system_time(Timestamp(nanos))), Timestamp(nanos));
        }
    }

    #[test]
    fn open_flags_say_what_is_wanted() {
        assert_eq!(open_mode(libc::O_RDONLY), OpenMode { write: false, truncate: false });
        assert_eq!(open_mode(libc::O_RDWR | libc::O_TRUNC), OpenMode { write: true, truncate: true });
    }
}
