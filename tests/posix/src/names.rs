//! Names: directories, links, renames and their errors.

use crate::errno_of;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

pub(crate) fn rename_over(root: &Path) {
    let (new, name) = (root.join("new"), root.join("name"));
    fs::write(&name, b"old content").expect("write");
    let mut reader = File::open(&name).expect("open");
    fs::write(&new, b"new").expect("write");
    fs::rename(&new, &name).expect("rename");
    assert_eq!(fs::read(&name).expect("read"), b"new");
    assert_eq!(errno_of(fs::metadata(&new)), libc::ENOENT);
    let mut seen = Vec::new();
    reader.read_to_end(&mut seen).expect("read the replaced file");
    assert_eq!(seen, b"old content");
    fs::write(&new, b"third").expect("write");
    let refused = renameat_with(CWD, &new, CWD, &name, RenameFlags::NOREPLACE);
    assert_eq!(refused, Err(rustix::io::Errno::EXIST));
    fs::rename(&name, &name).expect("rename onto itself");
    assert_eq!(errno_of(fs::rename(root.join("none"), &name)), libc::ENOENT);
    assert_eq!(fs::read(&name).expect("read"), b"new");
}

pub(crate) fn rename_directories(root: &Path) {
    let dir = |name: &str| root.join(name);
    fs::create_dir_all(dir("a/b/c")).expect("mkdir");
    fs::write(dir("a/b/c/file"), b"deep").expect("write");
    fs::rename(dir("a/b"), dir("moved")).expect("rename");
    assert_eq!(fs::read(dir("moved/c/file")).expect("read"), b"deep");
    assert_eq!(errno_of(fs::rename(dir("moved"), dir("moved/c/d"))), libc::EINVAL);
    fs::create_dir(dir("empty")).expect("mkdir");
    fs::rename(dir("moved"), dir("empty")).expect("rename over an empty directory");
    assert_eq!(fs::read(dir("empty/c/file")).expect("read"), b"deep");
    assert_eq!(errno_of(fs::rename(dir("a"), dir("empty"))), libc::ENOTEMPTY);
    fs::write(dir("plain"), b"").expect("write");
    assert_eq!(errno_of(fs::rename(dir("plain"), dir("a"))), libc::EISDIR);
    assert_eq!(errno_of(fs::rename(dir("a"), dir("plain"))), libc::ENOTDIR);
}

pub(crate) fn hard_links(root: &Path) {
    let (one, two) = (root.join("one"), root.join("two"));
    fs::write(&one, b"shared").expect("write");
    fs::hard_link(&one, &two).expect("link");
    let (a, b) = (fs::metadata(&one).expect("stat"), fs::metadata(&two).expect("stat"));
    assert_eq!((a.ino(), a.nlink(), b.nlink()), (b.ino(), 2, 2));
    fs::write(&two, b"changed through the other").expect("write");
    assert_eq!(fs::read(&one).expect("read"), b"changed through the other");
    fs::remove_file(&one).expect("unlink");
    assert_eq!(fs::metadata(&two).expect("stat").nlink(), 1);
    assert_eq!(fs::read(&two).expect("read"), b"changed through the other");
    fs::create_dir(root.join("dir")).expect("mkdir");
    assert_eq!(errno_of(fs::hard_link(root.join("dir"), root.join("dir2"))), libc::EPERM);
    fs::write(&one, b"").expect("write");
    assert_eq!(errno_of(fs::hard_link(&one, &two)), libc::EEXIST);
}

pub(crate) fn symbolic_links(root: &Path) {
    fs::write(root.join("target"), b"content").expect("write");
    symlink("target", root.join("link")).expect("symlink");
    assert_eq!(fs::read(root.join("link")).expect("read"), b"content");
    assert_eq!(fs::read_link(root.join("link")).expect("readlink"), Path::new("target"));
    assert!(fs::symlink_metadata(root.join("link")).expect("lstat").file_type().is_symlink());
    symlink("nowhere", root.join("dangling")).expect("symlink");
    assert_eq!(errno_of(fs::metadata(root.join("dangling"))), libc::ENOENT);
    let long = "x/".repeat(2000);
    symlink(&long, root.join("long")).expect("symlink");
    assert_eq!(fs::read_link(root.join("long")).expect("readlink").as_os_str().len(), long.len());
    fs::remove_file(root.join("link")).expect("unlink");
    assert_eq!(fs::read(root.join("target")).expect("read"), b"content");
}

pub(crate) fn directory_errors(root: &Path) {
    let dir = root.join("dir");
    fs::create_dir(&dir).expect("mkdir");
    assert_eq!(errno_of(fs::create_dir(&dir)), libc::EEXIST);
    assert_eq!(errno_of(fs::create_dir(root.join("none/below"))), libc::ENOENT);
    fs::write(dir.join("file"), b"x").expect("write");
    assert_eq!(errno_of(fs::remove_dir(&dir)), libc::ENOTEMPTY);
    assert_eq!(errno_of(fs::remove_dir(dir.join("file"))), libc::ENOTDIR);
    assert_eq!(errno_of(fs::create_dir(dir.join("file/below"))), libc::ENOTDIR);
    assert_eq!(errno_of(fs::remove_file(&dir)), libc::EISDIR);
    assert_eq!(errno_of(fs::create_dir(root.join("n".repeat(256)))), libc::ENAMETOOLONG);
    assert_eq!(errno_of(OpenOptions::new().write(true).open(&dir)), libc::EISDIR);
    assert_eq!(fs::metadata(&dir).expect("stat").nlink(), 2);
    fs::create_dir(dir.join("sub")).expect("mkdir");
    fs::remove_file(dir.join("file")).expect("unlink");
    fs::remove_dir(dir.join("sub")).expect("rmdir");
    fs::remove_dir(&dir).expect("rmdir");
    assert_eq!(errno_of(fs::metadata(&dir)), libc::ENOENT);
    fs::create_dir(&dir).expect("mkdir anew");
    assert_eq!(fs::read_dir(&dir).expect("readdir").count(), 0);
}

pub(crate) fn two_thousand_names(root: &Path) {
    let names: BTreeSet<String> = (0..2000).map(|i| format!("name-{i:04}.txt")).collect();
    for name in &names {
        File::create(root.join(name)).expect("create");
    }
    for _ in 0..2 {
        let mut seen = BTreeSet::new();
        for entry in fs::read_dir(root).expect("readdir") {
            let entry = entry.expect("entry");
            assert!(entry.metadata().expect("stat").is_file());
            assert!(seen.insert(entry.file_name().into_string().expect("utf-8")), "{entry:?} is there twice");
        }
        assert_eq!(seen, names);
    }
}

pub(crate) fn remove_tree(root: &Path) {
    for i in 0..20 {
        let dir = root.join(format!("tree/{i}/sub"));
        fs::create_dir_all(&dir).expect("mkdir");
        for j in 0..20 {
            fs::write(dir.join(j.to_string()), b"x").expect("write");
        }
    }
    fs::remove_dir_all(root.join("tree")).expect("remove");
    assert_eq!(errno_of(fs::metadata(root.join("tree"))), libc::ENOENT);
    assert_eq!(fs::read_dir(root).expect("readdir").count(), 0);
}

pub(crate) fn odd_names(root: &Path) {
    let names: [&[u8]; 8] = [
        b"with space",
        b"new\nline",
        "\u{c11c}\u{c810}".as_bytes(),
        b"\xff\xfe",
        b"...",
        b"-rf",
        b"a\\b",
        &[b'x'; 255],
    ];
    for name in names {
        let path = root.join(OsStr::from_bytes(name));
        fs::write(&path, name).expect("write");
        assert_eq!(fs::read(&path).expect("read"), name);
    }
    let listed: BTreeSet<Vec<u8>> = fs::read_dir(root)
        .expect("readdir")
        .map(|entry| entry.expect("entry").file_name().as_bytes().to_vec())
        .collect();
    assert_eq!(listed, names.iter().map(|name| name.to_vec()).collect());
}

pub(crate) fn exclusive_and_special(root: &Path) {
    let path = root.join("once");
    let once = || OpenOptions::new().write(true).create_new(true).open(&path);
    once().expect("create");
    assert_eq!(errno_of(once()), libc::EEXIST);
    let fifo = mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0);
    assert_eq!(fifo, Err(rustix::io::Errno::PERM));
    mknodat(CWD, root.join("plain"), FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0).expect("mknod of a file");
    assert_eq!(fs::metadata(root.join("plain")).expect("stat").len(), 0);
}
