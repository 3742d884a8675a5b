//! Bytes: what is written is read, in every way.

use crate::{drop_pages, sample};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const MIB: usize = 1 << 20;

/// Size of the big file: 1 GiB on a real cluster, less where everything is kept in memory. `SAGO_TEST_BIG_MIB` overrides it.
fn big_mib() -> usize {
    let default = if std::env::var_os("SAGO_TEST_MOUNT").is_some() { 1024 } else { 96 };
    std::env::var("SAGO_TEST_BIG_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(default)
}

fn read_write(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .expect("open for reading and writing")
}

pub(crate) fn big_file(root: &Path) {
    let path = root.join("big");
    let block = sample(MIB, 1);
    let mut written = Sha256::new();
    let mut file = File::create(&path).expect("create");
    for i in 0..big_mib() {
        let mut block = block.clone();
        block[..8].copy_from_slice(&(i as u64).to_le_bytes());
        written.update(&block);
        file.write_all(&block).expect("write");
    }
    file.sync_all().expect("fsync");
    drop(file);
    let mut file = File::open(&path).expect("open");
    drop_pages(&file);
    let mut read = Sha256::new();
    let mut buffer = vec![0; 300_000];
    let mut total = 0;
    loop {
        let n = file.read(&mut buffer).expect("read");
        if n == 0 {
            break;
        }
        read.update(&buffer[..n]);
        total += n;
    }
    assert_eq!(total, big_mib() * MIB);
    assert!(written.finalize() == read.finalize(), "the hash differs");
}

pub(crate) fn sizes(root: &Path) {
    let chunk = 4 * MIB;
    let sizes = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, MIB, chunk - 1, chunk, chunk + 1, 2 * chunk + 12_345];
    for size in sizes {
        let path = root.join(format!("file-{size}"));
        let data = sample(size, size as u64);
        fs::write(&path, &data).expect("write");
        drop_pages(&File::open(&path).expect("open"));
        assert_eq!(fs::metadata(&path).expect("stat").len(), size as u64);
        assert!(fs::read(&path).expect("read") == data, "size {size}");
    }
}

pub(crate) fn write_in_the_middle(root: &Path) {
    let path = root.join("middle");
    let mut model = sample(9 * MIB, 2);
    fs::write(&path, &model).expect("write");
    for (at, len) in [(100, 10), (4 * MIB - 5, 10), (5 * MIB, 3 * MIB), (9 * MIB - 1, 2)] {
        let patch = sample(len, at as u64);
        read_write(&path).write_all_at(&patch, at as u64).expect("write");
        model.resize(model.len().max(at + len), 0);
        model[at..at + len].copy_from_slice(&patch);
    }
    drop_pages(&File::open(&path).expect("open"));
    assert!(fs::read(&path).expect("read") == model);
}

pub(crate) fn append_from_two_handles(root: &Path) {
    let path = root.join("log");
    let open = || OpenOptions::new().append(true).create(true).open(&path).expect("open for appending");
    let (mut one, mut two) = (open(), open());
    let mut model = String::new();
    for i in 0..100 {
        let line = format!("one {i}\n");
        one.write_all(line.as_bytes()).expect("append");
        model.push_str(&line);
        let line = format!("two {i}, somewhat longer\n");
        two.write_all(line.as_bytes()).expect("append");
        model.push_str(&line);
        if i % 25 == 0 {
            one.sync_all().expect("fsync");
        }
    }
    assert_eq!(fs::read_to_string(&path).expect("read while open"), model);
    drop((one, two));
    drop_pages(&File::open(&path).expect("open"));
    assert_eq!(fs::read_to_string(&path).expect("read"), model);
}

pub(crate) fn truncate_up_and_down(root: &Path) {
    let path = root.join("truncated");
    for stored_first in [true, false] {
        let mut model = sample(5 * MIB, 3);
        let file = read_write(&path);
        file.set_len(0).expect("truncate");
        file.write_all_at(&model, 0).expect("write");
        if stored_first {
            file.sync_all().expect("fsync");
        }
        for size in [5 * MIB - 1, 4 * MIB, 4 * MIB + 4096, 1000, 3000, 0, 10] {
            file.set_len(size as u64).expect("truncate");
            model.resize(size, 0);
            assert_eq!(file.metadata().expect("fstat").len(), size as u64);
            drop_pages(&file);
            let mut seen = vec![1; size + 10];
            let n = file.read_at(&mut seen, 0).expect("read");
            let mut at = n;
            while at < size {
                at += file.read_at(&mut seen[at..], at as u64).expect("read on");
            }
            assert!(seen[..size] == model[..], "at size {size}");
        }
        file.write_all_at(b"end", 4097).expect("write behind the end");
        model.resize(4097, 0);
        model.extend_from_slice(b"end");
        drop(file);
        assert!(fs::read(&path).expect("read") == model);
    }
}

pub(crate) fn sparse(root: &Path) {
    const HOLE: u64 = 3 << 30;
    let path = root.join("sparse");
    let file = read_write(&path);
    file.write_all_at(b"begin", 0).expect("write");
    file.write_all_at(b"end", HOLE).expect("write");
    drop(file);
    let file = File::open(&path).expect("open");
    let meta = file.metadata().expect("fstat");
    assert_eq!(meta.len(), HOLE + 3);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks for 8 bytes", meta.blocks());
    let mut bytes = vec![1; MIB];
    file.read_exact_at(&mut bytes, 1 << 30).expect("read the hole");
    assert!(bytes.iter().all(|byte| *byte == 0));
    let mut end = [1; 8];
    file.read_exact_at(&mut end, HOLE - 5).expect("read the end");
    assert_eq!(&end, b"\0\0\0\0\0end");
}

pub(crate) fn unlink_while_open(root: &Path) {
    let path = root.join("gone");
    let old = sample(300_000, 4);
    fs::write(&path, &old).expect("write");
    let mut file = read_write(&path);
    fs::remove_file(&path).expect("unlink");
    assert_eq!(crate::errno_of(File::open(&path)), libc::ENOENT);
    fs::write(&path, b"another file").expect("write anew");
    drop_pages(&file);
    let mut seen = Vec::new();
    file.read_to_end(&mut seen).expect("read");
    assert!(seen == old, "the open file has changed");
    file.write_all_at(b"changed", 1000).expect("write to the unlinked file");
    file.sync_all().expect("fsync of the unlinked file");
    drop_pages(&file);
    let mut word = [0; 7];
    file.read_exact_at(&mut word, 1000).expect("read");
    assert_eq!(&word, b"changed");
    drop(file);
    assert_eq!(fs::read(&path).expect("read"), b"another file");
}

/// A mapping of a whole file, unmapped at its end.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    #[allow(unsafe_code)]
    fn new(file: &File, len: usize, write: bool) -> Self {
        let protection = if write { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a fresh mapping at an address the kernel chooses touches no other memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert!(at != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Mapping { at: at.cast(), len }
    }

    #[allow(unsafe_code)]
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `at..at + len` is mapped until drop, and the tests change the file through nothing else meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

pub(crate) fn mapped(root: &Path) {
    let path = root.join("mapped");
    let data = sample(5 * MIB + 77, 5);
    fs::write(&path, &data).expect("write");
    let file = File::open(&path).expect("open");
    drop_pages(&file);
    let mut mapping = Mapping::new(&file, data.len(), false);
    assert!(mapping.bytes() == data);
}

pub(crate) fn written_through_a_mapping(root: &Path) {
    let path = root.join("mapped-shared");
    let mut data = sample(MIB, 6);
    fs::write(&path, &data).expect("write");
    let file = read_write(&path);
    let mut mapping = Mapping::new(&file, data.len(), true);
    drop(file);
    mapping.bytes()[5000..5010].copy_from_slice(b"0123456789");
    data[5000..5010].copy_from_slice(b"0123456789");
    drop(mapping);
    let file = File::open(&path).expect("open");
    drop_pages(&file);
    assert!(fs::read(&path).expect("read") == data);
}

pub(crate) fn open_truncate(root: &Path) {
    let path = root.join("again");
    fs::write(&path, sample(200_000, 7)).expect("write");
    let inode = fs::metadata(&path).expect("stat").ino();
    let mut file = OpenOptions::new().write(true).truncate(true).open(&path).expect("open");
    assert_eq!(fs::metadata(&path).expect("stat").len(), 0);
    file.write_all(b"new").expect("write");
    drop(file);
    assert_eq!(fs::read(&path).expect("read"), b"new");
    assert_eq!(fs::metadata(&path).expect("stat").ino(), inode, "it is the same file");
}

pub(crate) fn seen_through_another_handle(root: &Path) {
    let path = root.join("shared");
    let writer = read_write(&path);
    let mut reader = File::open(&path).expect("open");
    for round in 0..20u64 {
        let data = sample(10_000, round);
        writer.write_all_at(&data, round * 10_000).expect("write");
        assert_eq!(reader.metadata().expect("fstat").len(), (round + 1) * 10_000);
        drop_pages(&reader);
        let mut seen = vec![0; 10_000];
        reader.seek(SeekFrom::Start(round * 10_000)).expect("seek");
        reader.read_exact(&mut seen).expect("read");
        assert!(seen == data, "round {round}");
    }
}

pub(crate) fn many_threads(root: &Path) {
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            scope.spawn(move || {
                for i in 0..25u64 {
                    let path = root.join(format!("t{thread}-{i}"));
                    let data = sample(64 << 10, thread * 1000 + i);
                    fs::write(&path, &data).expect("write");
                    assert!(fs::read(&path).expect("read") == data, "{path:?}");
                }
            });
        }
    });
    assert_eq!(fs::read_dir(root).expect("readdir").count(), 200);
}
