//! The FUSE face of a medium: a directory with one file, `disk`. No decision is made here.

use crate::faults::Kind;
use crate::medium::{Generation, Medium, Refused};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of the file.
pub(crate) const DISK: &str = "disk";
const ROOT_INO: INodeNo = INodeNo(1);
const DISK_INO: INodeNo = INodeNo(2);
/// Nothing about the two entries ever changes.
const TTL: Duration = Duration::from_secs(3600);

/// A medium that tests and the kernel share.
pub(crate) struct Shared {
    medium: Mutex<Medium>,
    /// Woken when the disk no longer hangs.
    awake: Condvar,
}

impl Shared {
    pub(crate) fn new(medium: Medium) -> Arc<Self> {
        Arc::new(Self { medium: Mutex::new(medium), awake: Condvar::new() })
    }

    /// The medium, to be looked at or changed at once. Whoever waits on a hang is woken to look again.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Medium) -> T) -> T {
        let answer = change(&mut self.medium.lock());
        self.awake.notify_all();
        answer
    }

    /// The medium, once it does not hang and its delay for this kind of request is over.
    fn paced(&self, kind: Kind) -> MutexGuard<'_, Medium> {
        let mut medium = self.medium.lock();
        while medium.faults.hung {
            self.awake.wait(&mut medium);
        }
        let delay = medium.faults.delay(kind);
        if !delay.is_zero() {
            // wait-ok: the delay is the fault
            MutexGuard::unlocked(&mut medium, || std::thread::sleep(delay));
        }
        medium
    }
}

/// The adapter.
pub(crate) struct Device(pub(crate) Arc<Shared>);

impl Device {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let root = ino == ROOT_INO;
        let size = if root { 0 } else { self.0.change(|medium| medium.bytes()) };
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn generation(handle: FileHandle) -> Generation {
    Generation(handle.0)
}

impl Filesystem for Device {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == ROOT_INO && name == DISK {
            reply.entry(&TTL, &self.attr(DISK_INO), fuser::Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attr(ino));
    }

    /// Nothing can be set; a loop device only asks for times.
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&TTL, &self.attr(ino));
    }

    /// Past the page cache: what the kernel has not handed over is the kernel's, what it has is the disk's.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let generation = self.0.change(|medium| medium.generation());
        reply.opened(FileHandle(generation.0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.0.paced(Kind::Read).read(generation(handle), offset, size.into());
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.0.paced(Kind::Write).write(generation(handle), offset, data);
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.0.paced(Kind::Sync).sync(generation(handle));
        match synced {
            Ok(()) => reply.ok(),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    /// The close of a descriptor, which promises nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if offset == 0 {
            let _ = reply.add(DISK_INO, 1, FileType::RegularFile, DISK);
        }
        reply.ok();
    }

    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
