//! Two machines with the same bucket: what one has closed the other sees.

use mount_fs::FsConfig;
use posix::{MemoryMount, drop_pages, errno_of, sample};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

fn two(config: &FsConfig) -> (MemoryMount, MemoryMount) {
    let one = MemoryMount::new(config.clone()).unwrap_or_else(|error| panic!("no mount to test: {error:#}"));
    let two = one.another(config.clone()).unwrap_or_else(|error| panic!("no second mount: {error:#}"));
    (one, two)
}

#[test]
fn an_open_sees_what_was_closed_elsewhere() {
    let (one, two) = two(&FsConfig::default());
    let (here, there) = (one.path().join("f"), two.path().join("f"));
    fs::write(&here, b"seen first").expect("write");
    assert_eq!(fs::read(&there).expect("read"), b"seen first");
    for round in 0..20u64 {
        let data = sample(9000 + round as usize, round);
        // In place, so that the name and the inode stay and nothing but the open can tell.
        fs::write(&here, &data).expect("write");
        let mut seen = Vec::new();
        File::open(&there).expect("open").read_to_end(&mut seen).expect("read");
        assert!(seen == data, "round {round}");
        fs::write(&there, b"and back").expect("write");
        assert_eq!(fs::read(&here).expect("read"), b"and back");
    }
}

#[test]
fn a_file_replaced_elsewhere_is_looked_up_again() {
    let (one, two) = two(&FsConfig::default());
    let (here, there) = (one.path().join("f"), two.path().join("f"));
    for round in 0..20 {
        let new = one.path().join("new");
        fs::write(&new, format!("version {round}")).expect("write");
        fs::rename(&new, &here).expect("rename");
        assert_eq!(fs::read_to_string(&there).expect("read"), format!("version {round}"));
    }
}

#[test]
fn a_reader_of_a_replaced_file_reads_it_to_its_end() {
    let (one, two) = two(&FsConfig::default());
    let old = sample(9 << 20, 1);
    fs::write(one.path().join("f"), &old).expect("write");
    let mut reader = File::open(two.path().join("f")).expect("open");
    let mut seen = vec![0; 1 << 20];
    reader.read_exact(&mut seen).expect("read the beginning");
    fs::write(one.path().join("new"), sample(9 << 20, 2)).expect("write");
    fs::rename(one.path().join("new"), one.path().join("f")).expect("rename");
    drop_pages(&reader);
    reader.read_to_end(&mut seen).expect("read the rest");
    assert!(seen == old, "two versions were mixed");
}

#[test]
fn appends_of_two_machines_are_both_kept() {
    let (one, two) = two(&FsConfig::default());
    let open = |mount: &MemoryMount| {
        OpenOptions::new().append(true).create(true).open(mount.path().join("log")).expect("open")
    };
    let mut logs = [open(&one), open(&two)];
    for i in 0..50 {
        for (machine, log) in logs.iter_mut().enumerate() {
            log.write_all(format!("{machine}:{i}\n").as_bytes()).expect("append");
            log.sync_data().expect("fsync");
        }
    }
    drop(logs);
    let seen = fs::read_to_string(one.path().join("log")).expect("read");
    let model: String = (0..50).map(|i| format!("0:{i}\n1:{i}\n")).collect();
    assert_eq!(seen, model);
}

#[test]
fn strict_mounts_see_names_sizes_and_pages_at_once() {
    let strict = FsConfig { strict: true, ..FsConfig::default() };
    let (one, two) = two(&strict);
    let (here, there) = (one.path().join("f"), two.path().join("f"));
    let mut reader = None;
    for round in 0..20u64 {
        let data = sample(5000, round);
        let writer = OpenOptions::new().write(true).create(true).truncate(false).open(&here).expect("open");
        writer.write_all_at(&data, 0).expect("write");
        writer.set_len(5000 + round).expect("truncate");
        drop(writer);
        assert_eq!(fs::metadata(&there).expect("stat").len(), 5000 + round);
        let reader = reader.get_or_insert_with(|| File::open(&there).expect("open"));
        let mut seen = vec![0; 5000];
        reader.read_exact_at(&mut seen, 0).expect("read through the old handle");
        assert!(seen == data, "round {round}");
    }
    fs::remove_file(&here).expect("unlink");
    assert_eq!(errno_of(fs::metadata(&there)), libc::ENOENT);
    fs::create_dir(two.path().join("d")).expect("mkdir");
    assert!(fs::metadata(one.path().join("d")).expect("stat").is_dir());
}
