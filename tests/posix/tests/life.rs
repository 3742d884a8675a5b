//! How mounts begin, fail and end.

use cluster_client::{CallError, WriteError};
use harness::memory_cluster::Faults;
use mount::{MountConfig, MountError, mount};
use mount_fs::FsConfig;
use posix::{MemoryMount, errno_of, sample};
use rustix::mount::{MountFlags, UnmountFlags, unmount};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn mounted(config: FsConfig) -> MemoryMount {
    MemoryMount::new(config).unwrap_or_else(|error| panic!("no mount to test: {error:#}"))
}

#[test]
fn an_external_unmount_is_noticed() {
    let mut mount = mounted(FsConfig::default());
    fs::write(mount.path().join("f"), b"x").expect("write");
    unmount(mount.path(), UnmountFlags::empty()).expect("umount");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), mount.handle().ended()).await.expect("it is noticed");
    });
    mount.unmount().expect("nothing is left to do");
}

#[test]
fn unmounting_keeps_everything_and_leaves_an_empty_directory() {
    let mut first = mounted(FsConfig::default());
    let second = first.another(FsConfig::default()).expect("second mount");
    let data = sample(6 << 20, 1);
    fs::write(first.path().join("f"), &data).expect("write");
    first.unmount().expect("unmount");
    assert_eq!(fs::read_dir(first.path()).expect("readdir").count(), 0);
    assert!(fs::read(second.path().join("f")).expect("read") == data);
}

#[test]
fn a_mount_in_use_is_detached_and_its_open_file_is_stored() {
    let mut first = mounted(FsConfig { writeback_after: Duration::from_secs(3600), ..FsConfig::default() });
    let second = first.another(FsConfig::default()).expect("second mount");
    let mut file = File::create(first.path().join("f")).expect("create");
    file.write_all(b"not closed yet").expect("write");
    let begun = Instant::now();
    let refused = first.unmount().expect_err("a file is open");
    assert!(matches!(refused.downcast_ref(), Some(MountError::Busy(_))), "{refused:#}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(fs::read(second.path().join("f")).expect("read"), b"not closed yet");
    file.write_all(b", still usable").expect("write to the detached mount");
    drop(file);
    assert_eq!(fs::read_to_string(second.path().join("f")).expect("read"), "not closed yet, still usable");
}

#[test]
fn what_cannot_be_mounted_says_why() {
    let mount_here = mounted(FsConfig::default());
    let attempt = |bucket: &str, path: &std::path::Path| {
        let config = MountConfig::new(bucket, path);
        mount_here.runtime().block_on(mount(mount_here.cluster().clone(), config)).expect_err("must fail")
    };
    let empty = tempfile::tempdir().expect("a directory");
    let error = attempt("no-such-bucket", empty.path());
    assert!(matches!(error, MountError::NoSuchBucket(_)) && error.to_string().contains("bucket create"), "{error}");
    let error = attempt("posix-tests", mount_here.path());
    assert!(matches!(error, MountError::AlreadyMounted(_)) && error.to_string().contains("umount"), "{error}");
    fs::write(empty.path().join("f"), b"x").expect("write");
    assert!(matches!(attempt("posix-tests", empty.path()), MountError::NotEmpty(_)));
    assert!(matches!(attempt("posix-tests", &empty.path().join("f")), MountError::NotDirectory(_)));
    assert!(matches!(attempt("posix-tests", &empty.path().join("none")), MountError::Missing(_)));
}

#[test]
fn a_dead_mount_is_named_and_cleared_on_demand() {
    let live = mounted(FsConfig::default());
    let dir = tempfile::tempdir().expect("a directory");
    // What a killed process leaves: a mount whose device nobody holds.
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let options = std::ffi::CString::new(options).expect("no zero byte");
    rustix::mount::mount("dead", dir.path(), "fuse", MountFlags::empty(), options.as_c_str()).expect("mount");
    drop(device);
    assert_eq!(errno_of(fs::metadata(dir.path())), libc::ENOTCONN);
    let config = MountConfig::new("posix-tests", dir.path());
    let attempt = |config| live.runtime().block_on(mount(live.cluster().clone(), config));
    let error = attempt(config.clone()).expect_err("a dead mount is in the way");
    assert!(matches!(error, MountError::Stale(_)) && error.to_string().contains("umount -l"), "{error}");
    let handle = attempt(MountConfig { clear_stale: true, ..config }).expect("cleared and mounted");
    fs::write(dir.path().join("f"), b"alive").expect("write");
    live.runtime().block_on(handle.unmount()).expect("unmount");
}

#[test]
fn a_read_only_mount_refuses_changes() {
    let live = mounted(FsConfig::default());
    fs::write(live.path().join("f"), b"x").expect("write");
    let dir = tempfile::tempdir().expect("a directory");
    let config = MountConfig { read_only: true, ..MountConfig::new("posix-tests", dir.path()) };
    let handle = live.runtime().block_on(mount(live.cluster().clone(), config)).expect("mount");
    assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"x");
    assert_eq!(errno_of(fs::write(dir.path().join("f"), b"y")), libc::EROFS);
    assert_eq!(errno_of(fs::create_dir(dir.path().join("d"))), libc::EROFS);
    live.runtime().block_on(handle.unmount()).expect("unmount");
}

#[test]
fn errors_of_the_cluster_reach_the_program_and_pass() {
    let mount = mounted(FsConfig { deadline: Duration::from_secs(1), ..FsConfig::default() });
    let path = mount.path().join("f");
    let fail = |write, call, lost| mount.cluster().set_faults(Faults { write, call, lost, ..Faults::default() });
    let file = File::create(&path).expect("create");
    let write = |data: &[u8]| (&file).write_all(data);
    write(&sample(10_000, 1)).expect("write");
    fail(Some(WriteError::NoSpace), None, false);
    assert_eq!(errno_of(file.sync_all()), libc::ENOSPC);
    fail(Some(WriteError::Unavailable), None, false);
    write(&sample(10_000, 2)).expect("write");
    assert_eq!(errno_of(file.sync_all()), libc::EIO);
    fail(None, Some(CallError::Unavailable), false);
    assert_eq!(errno_of(File::open(mount.path().join("other"))), libc::EIO, "not ENOENT: nobody has answered");
    fail(None, None, false);
    fs::write(&path, sample(10_000, 3)).expect("write");
    fail(None, None, true);
    posix::drop_pages(&File::open(&path).expect("open"));
    assert_eq!(errno_of(fs::read(&path)), libc::EIO);
    fail(None, None, false);
    assert!(fs::read(&path).expect("read") == sample(10_000, 3));
}
