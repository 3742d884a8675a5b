use super::*;

const NOW: Generation = Generation(1);
const NEXT: Generation = Generation(2);

fn disk(bytes: u64) -> Medium {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(bytes).expect("its length");
    Medium::new(file).expect("a disk")
}

fn sectors(count: u64, value: u8) -> Vec<u8> {
    vec![value; (count * SECTOR_BYTES) as usize]
}

fn read(disk: &mut Medium, offset: u64, len: u64) -> Vec<u8> {
    let by = disk.generation();
    disk.read(by, offset, len).expect("readable")
}

/// Which of `count` sectors hold `value` throughout; every other one must be old (zero) throughout.
fn survivors(disk: &mut Medium, count: u64, value: u8) -> Vec<u64> {
    let bytes = read(disk, 0, count * SECTOR_BYTES);
    let whole = |sector: &[u8]| match sector {
        sector if sector.iter().all(|byte| *byte == value) => true,
        sector => {
            assert!(sector.iter().all(|byte| *byte == 0), "a sector is torn inside");
            false
        }
    };
    let found = bytes.chunks_exact(SECTOR_BYTES as usize).enumerate().filter(|(_, sector)| whole(sector));
    found.map(|(number, _)| number as u64).collect()
}

#[test]
fn a_cut_loses_what_was_not_flushed_and_nothing_else() {
    let mut disk = disk(1 << 20);
    disk.write(NOW, 1000, b"flushed").expect("written");
    disk.sync(NOW).expect("flushed");
    disk.write(NOW, 1000, b"FLUS").expect("written");
    disk.write(NOW, 9000, b"new").expect("written");
    assert_eq!(read(&mut disk, 1000, 7), b"FLUShed");
    assert_eq!(disk.counts().volatile, 2);
    assert_eq!(disk.cut(Kept::Nothing).expect("cut"), Lost { kept: 0, lost: 2 });
    assert_eq!(read(&mut disk, 1000, 7), b"flushed");
    assert_eq!(read(&mut disk, 9000, 3), [0, 0, 0]);
}

#[test]
fn a_handle_from_before_the_cut_is_dead_for_good() {
    let mut disk = disk(1 << 20);
    disk.cut(Kept::Nothing).expect("cut");
    assert_eq!(disk.write(NOW, 0, b"late"), Err(Refused));
    assert_eq!((disk.read(NOW, 0, 4), disk.sync(NOW)), (Err(Refused), Err(Refused)));
    disk.write(NEXT, 0, b"good").expect("written");
    disk.sync(NEXT).expect("flushed");
    assert_eq!(disk.write(NOW, 0, b"late"), Err(Refused));
    assert_eq!(read(&mut disk, 0, 4), b"good");
}

#[test]
fn a_torn_cut_keeps_whole_sectors_in_any_order_and_the_seed_decides_which() {
    let cut = |seed, percent| {
        let mut disk = disk(1 << 20);
        disk.write(NOW, 0, &sectors(1000, 7)).expect("written");
        let lost = disk.cut(Kept::Share { seed, percent }).expect("cut");
        let kept = survivors(&mut disk, 1000, 7);
        assert_eq!((lost.kept, lost.kept + lost.lost), (kept.len() as u64, 1000));
        kept
    };
    let half = cut(1, 50);
    assert!((400..600).contains(&half.len()), "{}", half.len());
    assert!(half.windows(2).any(|pair| pair[1] > pair[0] + 1), "a prefix is not a torn cut");
    assert_eq!(cut(1, 50), half);
    assert_ne!(cut(2, 50), half);
    assert_eq!((cut(1, 0).len(), cut(1, 100).len()), (0, 1000));
}

#[test]
fn a_lying_flush_keeps_nothing() {
    let mut disk = disk(1 << 20);
    disk.faults.sync = SyncFault::Lie;
    disk.write(NOW, 0, b"promised").expect("written");
    disk.sync(NOW).expect("it says so");
    disk.cut(Kept::Nothing).expect("cut");
    assert_eq!(read(&mut disk, 0, 8), [0; 8]);
    disk.write(NEXT, 0, b"promised").expect("written");
    disk.sync(NEXT).expect("honest since the cut");
    disk.cut(Kept::Nothing).expect("cut");
    assert_eq!(read(&mut disk, 0, 8), b"promised");
}

#[test]
fn a_failed_flush_fails_so_often_and_may_lose_what_it_had() {
    for drop in [false, true] {
        let mut disk = disk(1 << 20);
        disk.faults.sync = SyncFault::Fail { times: 2, drop };
        disk.write(NOW, 0, b"data").expect("written");
        assert_eq!((disk.sync(NOW), disk.sync(NOW), disk.sync(NOW)), (Err(Refused), Err(Refused), Ok(())));
        disk.cut(Kept::Nothing).expect("cut");
        assert_eq!(read(&mut disk, 0, 4), if drop { [0; 4] } else { *b"data" });
        assert_eq!(disk.counts().errors, 2);
    }
}

#[test]
fn errors_hit_their_range_only() {
    let mut disk = disk(1 << 20);
    disk.faults.read_errors.push(4096..8192);
    disk.faults.write_errors.push(0..1);
    assert!(disk.read(NOW, 0, 4096).is_ok() && disk.read(NOW, 8192, 10).is_ok());
    assert_eq!(disk.read(NOW, 4000, 97), Err(Refused));
    assert!(disk.write(NOW, 1, b"x").is_ok() && disk.write(NOW, 4096, b"x").is_ok());
    assert_eq!(disk.write(NOW, 0, b"x"), Err(Refused));
    assert_eq!(disk.write(NOW, (1 << 20) - 1, b"xy"), Err(Refused));
}

#[test]
fn writes_get_lost_and_go_astray_once() {
    let mut disk = disk(1 << 20);
    disk.faults.lost_writes = 1;
    disk.write(NOW, 0, b"gone").expect("it says so");
    disk.faults.misdirect = Some(4096);
    disk.write(NOW, 0, b"astray").expect("it says so");
    disk.write(NOW, 512, b"right").expect("written");
    assert_eq!(read(&mut disk, 0, 6), [0; 6]);
    assert_eq!(read(&mut disk, 4096, 6), b"astray");
    assert_eq!(read(&mut disk, 512, 5), b"right");
}

#[test]
fn a_flip_passes_and_rot_stays() {
    let mut disk = disk(1 << 20);
    disk.write(NOW, 100, &[0xf0, 0xf0]).expect("written");
    disk.faults.flips.insert(100, 0x0f);
    disk.rot(101, 0xff).expect("rotten");
    assert_eq!(read(&mut disk, 100, 2), [0xff, 0x0f]);
    disk.faults.flips.clear();
    disk.sync(NOW).expect("flushed");
    disk.cut(Kept::Nothing).expect("cut");
    assert_eq!(read(&mut disk, 100, 2), [0xf0, 0x0f]);
}

#[test]
fn what_is_read_is_what_was_written_whatever_the_pieces() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut disk = disk(64 << 10);
    let mut model = vec![0_u8; 64 << 10];
    for _ in 0..2000 {
        let offset = rng.random_range(0..60_000_usize);
        let len = rng.random_range(1..4000_usize);
        match rng.random_range(0..10) {
            0 => disk.sync(NOW).expect("flushed"),
            1..6 => {
                let bytes = vec![rng.random(); len];
                disk.write(NOW, offset as u64, &bytes).expect("written");
                model[offset..offset + len].copy_from_slice(&bytes);
            }
            _ => assert_eq!(read(&mut disk, offset as u64, len as u64), model[offset..offset + len]),
        }
    }
}
