//! Through the kernel: what programs see of the faults.

use super::*;
use std::io::Write;
use std::os::unix::fs::FileExt;

fn disk() -> Option<(tempfile::TempDir, FaultDisk)> {
    if let Some(what) = crate::missing() {
        assert!(std::env::var_os("SAGO_CI").is_none(), "{what} (under SAGO_CI nothing is skipped)");
        eprintln!("\n*** SKIPPED, NOT TESTED: {what}\n");
        return None;
    }
    crate::clear_leftovers();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = FaultDisk::new(&folder.path().join("disk"), 64 << 20, &folder.path().join("mnt")).expect("a disk");
    Some((folder, disk))
}

fn write(disk: &FaultDisk, name: &str, bytes: &[u8]) -> File {
    let mut file = File::create(disk.mountpoint().join(name)).expect("a file");
    file.write_all(bytes).expect("written");
    file
}

#[test]
fn a_file_system_keeps_what_was_flushed_and_loses_the_rest_in_a_cut() {
    let Some((_folder, mut disk)) = disk() else { return };
    for seed in 0..4 {
        let name = format!("kept{seed}");
        write(&disk, &name, &[seed as u8; 100_000]).sync_all().expect("flushed");
        File::open(disk.mountpoint()).and_then(|dir| dir.sync_all()).expect("flushed");
        drop(write(&disk, "volatile", &[9; 100_000]));
        let lost = disk.cut(Kept::Share { seed, percent: 50 }).expect("cut");
        assert!(std::fs::read(disk.mountpoint().join("other")).is_err());
        disk.power_on().expect("the journal is replayed");
        println!("seed {seed}: {lost:?}");
        for seed in 0..=seed {
            let kept = std::fs::read(disk.mountpoint().join(format!("kept{seed}"))).expect("it was flushed");
            assert!(kept == vec![seed as u8; 100_000]);
        }
        assert!(!disk.mountpoint().join("volatile").exists());
    }
}

#[test]
fn errors_lies_and_rot_reach_programs() {
    let Some((_folder, mut disk)) = disk() else { return };
    let path = disk.mountpoint().join("file");
    write(&disk, "file", &[7; 64 << 10]).sync_all().expect("flushed");
    let places = disk.places(&path).expect("filefrag");
    assert_eq!(places.iter().map(|place| place.end - place.start).sum::<u64>(), 64 << 10);

    disk.fail_reads(places.clone());
    disk.forget_cached(&path).expect("forgotten");
    assert_eq!(std::fs::read(&path).expect_err("EIO").raw_os_error(), Some(5));
    disk.fail_reads(Vec::new());
    disk.rot(places[0].start + 10, 1).expect("rotten");
    disk.forget_cached(&path).expect("forgotten");
    assert_eq!(std::fs::read(&path).expect("readable")[10], 6);

    disk.set_sync(SyncFault::Lie);
    write(&disk, "believed", b"x").sync_all().expect("it says so");
    disk.cut(Kept::Nothing).expect("cut");
    disk.power_on().expect("mounted");
    assert!(!disk.mountpoint().join("believed").exists());

    let file = File::options().write(true).open(&path).expect("opened");
    file.write_all_at(&[8; 4096], 0).expect("cached");
    disk.set_sync(SyncFault::Fail { times: 1, drop: true });
    assert_eq!(file.sync_all().expect_err("EIO").raw_os_error(), Some(5));
    assert!(disk.counts().errors > 0);
}

#[test]
fn strays_and_flips_reach_programs_and_touch_no_file_beside() {
    let Some((_folder, disk)) = disk() else { return };
    let path = disk.mountpoint().join("file");
    write(&disk, "file", &[7; 64 << 10]).sync_all().expect("flushed");
    let places = disk.places(&path).expect("filefrag");
    let file = File::options().write(true).open(&path).expect("opened");

    disk.flip_reads(places.clone(), 100, 1);
    disk.forget_cached(&path).expect("forgotten");
    let wrong = std::fs::read(&path).expect("readable").iter().filter(|byte| **byte != 7).count();
    assert!(wrong > 0);
    disk.mend();
    // What the kernel took for right stays in its cache until that is dropped.
    disk.forget_cached(&path).expect("forgotten");
    assert!(std::fs::read(&path).expect("readable") == [7; 64 << 10]);

    disk.stray_writes(places.clone(), 1, Stray::Lost);
    file.write_all_at(&[8; 4096], 0).expect("cached");
    file.sync_all().expect("it says so");
    disk.stray_writes(places, 1, Stray::Misdirected(-4096));
    file.write_all_at(&[9; 4096], 8192).expect("cached");
    file.sync_all().expect("it says so");
    assert_eq!(disk.counts().strays, 2);
    disk.forget_cached(&path).expect("forgotten");
    let bytes = std::fs::read(&path).expect("readable");
    let blocks: Vec<u8> = bytes.chunks(4096).take(4).map(|block| block[0]).collect();
    assert_eq!(blocks, [7, 9, 7, 7]);
}

#[test]
fn a_hung_disk_holds_its_users_until_it_is_dropped() {
    let Some((_folder, disk)) = disk() else { return };
    let file = write(&disk, "file", &[1; 4096]);
    disk.hang(true);
    let user = std::thread::spawn(move || file.sync_all());
    let before = disk.counts().syncs;
    drop(disk);
    assert!(user.join().expect("it ends").is_err(), "flushed after {before}");
}

#[test]
fn a_slow_flush_is_slow() {
    let Some((_folder, disk)) = disk() else { return };
    let delay = Duration::from_millis(300);
    disk.delay(Kind::Sync, delay);
    let start = Instant::now();
    write(&disk, "file", &[1; 4096]).sync_all().expect("flushed");
    assert!(start.elapsed() >= delay);
}
