//! Attributes of files, ordinary and extended.

use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 70_000];
    let len = getxattr(path, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

pub(crate) fn xattrs(root: &Path) {
    let path = root.join("file");
    fs::write(&path, b"content").expect("write");
    let set = |name: &str, value: &[u8], flags| setxattr(&path, name, value, flags);
    assert_eq!(get(&path, "user.title"), Err(Errno::NODATA));
    set("user.title", b"Annals", XattrFlags::empty()).expect("set");
    assert_eq!(get(&path, "user.title").as_deref(), Ok(&b"Annals"[..]));
    assert_eq!(set("user.title", b"x", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(set("user.other", b"x", XattrFlags::REPLACE), Err(Errno::NODATA));
    let large = crate::sample(64 << 10, 8);
    set("user.large", &large, XattrFlags::CREATE).expect("set 64 KiB");
    assert!(get(&path, "user.large").as_deref() == Ok(&large[..]));
    assert_eq!(getxattr(&path, "user.large", &mut [0; 10][..]), Err(Errno::RANGE));
    assert_eq!(set("security.sago", b"x", XattrFlags::empty()), Err(Errno::OPNOTSUPP));
    fs::write(&path, b"overwritten").expect("write");
    let mut names = vec![0; 1000];
    let len = listxattr(&path, &mut names[..]).expect("list");
    let mut names: Vec<_> = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    assert_eq!(names, [&b"user.large"[..], b"user.title"]);
    removexattr(&path, "user.large").expect("remove");
    assert_eq!(removexattr(&path, "user.large"), Err(Errno::NODATA));
    setxattr(root, "user.dir", b"1", XattrFlags::empty()).expect("set on a directory");
    assert_eq!(get(root, "user.dir").as_deref(), Ok(&b"1"[..]));
}

pub(crate) fn modes_and_times(root: &Path) {
    let path = root.join("file");
    fs::write(&path, b"x").expect("write");
    for mode in [0o600, 0o755, 0o4711, 0o000] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
        assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o7777, mode);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
    if rustix::process::geteuid().is_root() {
        chown(&path, Some(1234), Some(5678)).expect("chown");
        let meta = fs::metadata(&path).expect("stat");
        assert_eq!((meta.uid(), meta.gid()), (1234, 5678));
    }
    let (accessed, modified) = (UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789), UNIX_EPOCH);
    let times = FileTimes::new().set_accessed(accessed).set_modified(modified);
    OpenOptions::new().write(true).open(&path).expect("open").set_times(times).expect("utimens");
    let meta = fs::metadata(&path).expect("stat");
    assert_eq!((meta.accessed().expect("atime"), meta.modified().expect("mtime")), (accessed, modified));
    let changed = UNIX_EPOCH + Duration::new(meta.ctime() as u64, meta.ctime_nsec() as u32);
    let age = SystemTime::now().duration_since(changed).unwrap_or_default();
    assert!(age < Duration::from_secs(60), "ctime is {age:?} old");
    fs::write(&path, b"y").expect("write");
    assert!(fs::metadata(&path).expect("stat").modified().expect("mtime") > accessed);
}

pub(crate) fn time_set_before_close(root: &Path) {
    let path = root.join("file");
    let time = UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    let mut file = File::create(&path).expect("create");
    file.write_all(&crate::sample(100_000, 9)).expect("write");
    file.set_times(FileTimes::new().set_modified(time)).expect("futimens");
    drop(file);
    let meta = fs::metadata(&path).expect("stat");
    assert_eq!((meta.len(), meta.modified().expect("mtime")), (100_000, time));
}

pub(crate) fn setgid_directory(root: &Path) {
    assert!(rustix::process::geteuid().is_root(), "this case gives a directory another group: run it as root");
    let dir = root.join("shared");
    fs::create_dir(&dir).expect("mkdir");
    chown(&dir, None, Some(4321)).expect("chown");
    fs::set_permissions(&dir, Permissions::from_mode(0o2775)).expect("chmod");
    fs::write(dir.join("file"), b"x").expect("write");
    assert_eq!(fs::metadata(dir.join("file")).expect("stat").gid(), 4321);
    fs::create_dir(dir.join("sub")).expect("mkdir");
    let sub = fs::metadata(dir.join("sub")).expect("stat");
    assert_eq!((sub.gid(), sub.mode() & 0o2000), (4321, 0o2000));
}

pub(crate) fn statfs(root: &Path) {
    fs::write(root.join("file"), crate::sample(100_000, 10)).expect("write");
    let stat = rustix::fs::statvfs(root).expect("statvfs");
    assert!(stat.f_bavail > 1 << 20 && stat.f_blocks > stat.f_bfree, "{} of {}", stat.f_bfree, stat.f_blocks);
    assert_eq!(stat.f_namemax, 255);
}
