//! fuser's callbacks, one call of the file system each.

use crate::answer::{Answerer, guarded, logged, nothing};
use crate::convert::{bare_directory, file_attr, file_type, open_mode, set_time, xattr_mode};
use crate::kernel;
use crate::reopen::Reopens;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use mount_fs::{Attr, Caller, FsError, Ino, MountFs, Opened, SetAttr};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Inode numbers are never used again, so every inode has the same generation.
const GENERATION: Generation = Generation(0);
/// Entry number of `..`: what it leads to is not asked for (the kernel does not use it).
const UNKNOWN_INO: INodeNo = INodeNo(0xffff_ffff);

/// The adapter between fuser and the file system.
pub(crate) struct Adapter {
    answer: Answerer,
    ttl: Duration,
    reopens: Arc<Reopens>,
}

impl Adapter {
    pub(crate) fn new(answer: Answerer) -> Self {
        let ttl = answer.fs.config().ttl();
        Adapter { answer, ttl, reopens: Arc::default() }
    }

    fn fs(&self) -> &Arc<MountFs> {
        &self.answer.fs
    }

    fn ino(&self, number: INodeNo) -> Ino {
        self.fs().ino_of(number.0)
    }

    /// Answers with a directory entry.
    fn entry<F>(&self, op: &'static str, request: &Request, reply: ReplyEntry, work: F)
    where
        F: Future<Output = Result<Attr, FsError>> + Send + 'static,
    {
        let (fs, ttl) = (self.fs().clone(), self.ttl);
        self.answer.run(op, request, work, nothing, move |result| match result {
            Ok(attr) => reply.entry(&ttl, &file_attr(&fs, &attr), GENERATION),
            Err(errno) => reply.error(errno),
        });
    }

    /// Answers with attributes.
    fn attr<F>(&self, op: &'static str, request: &Request, reply: ReplyAttr, work: F)
    where
        F: Future<Output = Result<Attr, FsError>> + Send + 'static,
    {
        let (fs, ttl) = (self.fs().clone(), self.ttl);
        self.answer.run(op, request, work, nothing, move |result| match result {
            Ok(attr) => reply.attr(&ttl, &file_attr(&fs, &attr)),
            Err(errno) => reply.error(errno),
        });
    }

    /// Answers with success or failure.
    fn empty<F>(&self, op: &'static str, request: &Request, reply: ReplyEmpty, work: F)
    where
        F: Future<Output = Result<(), FsError>> + Send + 'static,
    {
        self.answer.run(op, request, work, nothing, move |result| match result {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        });
    }
}

fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

fn name_of(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn open_flags(opened: &Opened) -> FopenFlags {
    if opened.keep_cache { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() }
}

/// The open came too late for the kernel: nobody will release the handle.
fn release_late(fs: Arc<MountFs>, opened: Opened) {
    tokio::spawn(async move { fs.release(opened.handle).await });
}

/// Answers an xattr request by the rule of getxattr(2): size 0 asks for the length.
fn reply_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match size as usize {
        0 => reply.size(value.len() as u32),
        room if room < value.len() => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::configure(config, self.fs().config().strict);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        guarded("lookup", || {
            let (fs, parent, name) = (self.fs().clone(), self.ino(parent), name_of(name));
            let (reopens, thread, begun) = (self.reopens.clone(), request.pid(), Instant::now());
            self.entry("lookup", request, reply, async move {
                let found = fs.lookup(parent, &name).await?;
                reopens.found(thread, begun, found.ino);
                Ok(found)
            });
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, _: u64) {
        guarded("forget", || self.fs().forget(self.ino(ino)));
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        guarded("getattr", || {
            let (fs, ino) = (self.fs().clone(), self.ino(ino));
            self.attr("getattr", request, reply, async move { fs.getattr(ino).await });
        });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        guarded("setattr", || {
            let (fs, ino) = (self.fs().clone(), self.ino(ino));
            let change = SetAttr { mode, uid, gid, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
            self.attr("setattr", request, reply, async move { fs.setattr(ino, change).await });
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        guarded("readlink", || {
            let (fs, ino) = (self.fs().clone(), self.ino(ino));
            let work = async move { fs.readlink(ino).await };
            self.answer.run("readlink", request, work, nothing, move |result| match result {
                Ok(target) => reply.data(&target),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: u32, reply: ReplyEntry) {
        guarded("mknod", || {
            if mode & libc::S_IFMT != libc::S_IFREG && mode & libc::S_IFMT != 0 {
                return reply.error(Errno::EPERM);
            }
            let (fs, parent, name, caller) = (self.fs().clone(), self.ino(parent), name_of(name), caller(request));
            self.entry("mknod", request, reply, async move { fs.mknod(parent, &name, mode, caller).await });
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        guarded("mkdir", || {
            let (fs, parent, name, caller) = (self.fs().clone(), self.ino(parent), name_of(name), caller(request));
            self.entry("mkdir", request, reply, async move { fs.mkdir(parent, &name, mode, caller).await });
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        guarded("unlink", || {
            let (fs, parent, name) = (self.fs().clone(), self.ino(parent), name_of(name));
            self.empty("unlink", request, reply, async move { fs.unlink(parent, &name).await });
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        guarded("rmdir", || {
            let (fs, parent, name) = (self.fs().clone(), self.ino(parent), name_of(name));
            self.empty("rmdir", request, reply, async move { fs.rmdir(parent, &name).await });
        });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        guarded("symlink", || {
            let (fs, parent, name, caller) = (self.fs().clone(), self.ino(parent), name_of(name), caller(request));
            let target = name_of(target.as_os_str());
            self.entry("symlink", request, reply, async move { fs.symlink(parent, &name, &target, caller).await });
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        guarded("rename", || {
            let no_replace = flags == RenameFlags::RENAME_NOREPLACE;
            if !flags.is_empty() && !no_replace {
                return reply.error(Errno::EINVAL);
            }
            let fs = self.fs().clone();
            let (parent, name) = (self.ino(parent), name_of(name));
            let (new_parent, new_name) = (self.ino(new_parent), name_of(new_name));
            self.empty("rename", request, reply, async move {
                fs.rename(parent, &name, new_parent, &new_name, no_replace).await
            });
        });
    }

    fn link(&self, request: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        guarded("link", || {
            let fs = self.fs().clone();
            let (ino, parent, name) = (self.ino(ino), self.ino(new_parent), name_of(new_name));
            self.entry("link", request, reply, async move { fs.link(ino, parent, &name).await });
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        guarded("open", || {
            let (fs, ino, mode) = (self.fs().clone(), self.ino(ino), open_mode(flags.0));
            let (reopens, thread) = (self.reopens.clone(), request.pid());
            let repeated = reopens.take(thread, ino);
            let work = async move {
                let opened = if repeated { fs.open_found(ino, mode).await } else { fs.open(ino, mode).await };
                if matches!(opened, Err(FsError::Stale)) {
                    reopens.refused(thread);
                }
                opened
            };
            self.answer.run("open", request, work, release_late, move |result| match result {
                Ok(opened) => reply.opened(FileHandle(opened.handle), open_flags(&opened)),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        guarded("create", || {
            let (fs, parent, name, caller) = (self.fs().clone(), self.ino(parent), name_of(name), caller(request));
            let exclusive = flags & libc::O_EXCL != 0;
            let work = async move { fs.create(parent, &name, mode, caller, exclusive, open_mode(flags)).await };
            let (fs, ttl) = (self.fs().clone(), self.ttl);
            let late = |fs, (_, opened): (Attr, Opened)| release_late(fs, opened);
            self.answer.run("create", request, work, late, move |result| match result {
                Ok((attr, opened)) => {
                    let (handle, flags) = (FileHandle(opened.handle), open_flags(&opened));
                    reply.created(&ttl, &file_attr(&fs, &attr), GENERATION, handle, flags);
                }
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        guarded("read", || {
            let fs = self.fs().clone();
            let work = async move { fs.read(handle.0, offset, size).await };
            self.answer.run("read", request, work, nothing, move |result| match result {
                Ok(data) => reply.data(&data),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        guarded("write", || {
            // Pages of a mapping are written back to where they belong, whatever handle the kernel has guessed.
            let append = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
            match self.fs().write_now(handle.0, offset, data, append) {
                Some(Ok(written)) => return reply.written(written),
                Some(Err(error)) => return reply.error(logged("write", &error)),
                None => {}
            }
            let (fs, data) = (self.fs().clone(), data.to_vec());
            let work = async move { fs.write(handle.0, offset, &data, append).await };
            self.answer.run("write", request, work, nothing, move |result| match result {
                Ok(written) => reply.written(written),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn flush(&self, request: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        guarded("flush", || {
            if self.fs().is_flushed(handle.0) {
                return reply.ok();
            }
            let fs = self.fs().clone();
            self.empty("flush", request, reply, async move { fs.flush(handle.0).await });
        });
    }

    fn fsync(&self, request: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        guarded("fsync", || {
            let fs = self.fs().clone();
            self.empty("fsync", request, reply, async move { fs.fsync(handle.0).await });
        });
    }

    fn release(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        guarded("release", || {
            match self.fs().release_now(handle.0) {
                Ok(true) => return reply.ok(),
                Ok(false) => {}
                Err(error) => return reply.error(logged("release", &error)),
            }
            let fs = self.fs().clone();
            self.empty("release", request, reply, async move { fs.release(handle.0).await });
        });
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        guarded("opendir", || match self.fs().opendir(self.ino(ino)) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(error) => reply.error(logged("opendir", &error)),
        });
    }

    fn readdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        guarded("readdir", || {
            let fs = self.fs().clone();
            let work = async move { fs.readdir(handle.0, offset, false).await };
            let fs = self.fs().clone();
            self.answer.run("readdir", request, work, nothing, move |result| {
                let page = match result {
                    Ok(page) => page,
                    Err(errno) => return reply.error(errno),
                };
                let dots = dots(ino).into_iter().skip(offset as usize);
                let mut full = dots.into_iter().any(|(at, ino, name)| reply.add(ino, at, FileType::Directory, name));
                let mut items = page.items();
                while let Some(item) = items.next().filter(|_| !full) {
                    let number = INodeNo(fs.kernel_number(item.attr.ino));
                    full = reply.add(number, item.offset, file_type(item.attr.kind), OsStr::from_bytes(&item.name));
                }
                reply.ok();
            });
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        guarded("readdirplus", || {
            let fs = self.fs().clone();
            let work = async move { fs.readdir(handle.0, offset, true).await };
            let fs = self.fs().clone();
            self.answer.run("readdirplus", request, work, nothing, move |result| {
                let page = match result {
                    Ok(page) => page,
                    Err(errno) => return reply.error(errno),
                };
                let mut full = false;
                for (at, number, name) in dots(ino).into_iter().skip(offset as usize) {
                    // The kernel takes nothing but number and kind from these two.
                    let attr = bare_directory(number);
                    full = full || reply.add(number, at, name, &Duration::ZERO, &attr, GENERATION);
                }
                let ttl = page.ttl();
                let mut items = page.items();
                while let Some(item) = items.next().filter(|_| !full) {
                    let attr = file_attr(&fs, &fs.present(item.attr));
                    full = reply.add(attr.ino, item.offset, OsStr::from_bytes(&item.name), &ttl, &attr, GENERATION);
                }
                reply.ok();
            });
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        guarded("releasedir", || match self.fs().releasedir(handle.0) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(logged("releasedir", &error)),
        });
    }

    /// Every change of a directory is durable when it is answered.
    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, request: &Request, _: INodeNo, reply: ReplyStatfs) {
        guarded("statfs", || {
            let fs = self.fs().clone();
            self.answer.run("statfs", request, async move { fs.statfs().await }, nothing, move |result| match result {
                Ok(stat) => reply.statfs(
                    stat.blocks,
                    stat.blocks_free,
                    stat.blocks_free,
                    stat.files,
                    stat.files_free,
                    stat.block_bytes,
                    stat.name_bytes_max,
                    stat.block_bytes,
                ),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        guarded("setxattr", || {
            let Some(mode) = xattr_mode(flags) else { return reply.error(Errno::EINVAL) };
            let (fs, ino, name, value) = (self.fs().clone(), self.ino(ino), name_of(name), value.to_vec());
            self.empty("setxattr", request, reply, async move { fs.setxattr(ino, &name, &value, mode).await });
        });
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        guarded("getxattr", || {
            if let Some(error) = self.fs().getxattr_now(name.as_bytes()) {
                return reply.error(logged("getxattr", &error));
            }
            let (fs, ino, name) = (self.fs().clone(), self.ino(ino), name_of(name));
            let work = async move { fs.getxattr(ino, &name).await };
            self.answer.run("getxattr", request, work, nothing, move |result| match result {
                Ok(value) => reply_xattr(reply, &value, size),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        guarded("listxattr", || {
            let (fs, ino, privileged) = (self.fs().clone(), self.ino(ino), request.uid() == 0);
            let work = async move { fs.listxattr(ino, privileged).await };
            self.answer.run("listxattr", request, work, nothing, move |result| match result {
                Ok(names) => reply_xattr(reply, &names, size),
                Err(errno) => reply.error(errno),
            });
        });
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        guarded("removexattr", || {
            let (fs, ino, name) = (self.fs().clone(), self.ino(ino), name_of(name));
            self.empty("removexattr", request, reply, async move { fs.removexattr(ino, &name).await });
        });
    }

    // ENOSYS makes the kernel stop asking and do what it does for file systems without the operation.

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn bmap(&self, _: &Request, _: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }
}

/// The two entries that every directory begins with: the offset behind each, its number and name.
fn dots(ino: INodeNo) -> [(u64, INodeNo, &'static str); 2] {
    let above = if ino == INodeNo::ROOT { ino } else { UNKNOWN_INO };
    [(1, ino, "."), (2, above, "..")]
}
