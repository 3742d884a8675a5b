use super::*;
use crate::faults::{FlippedReads, Stray, StrayWrites};

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
fn writes_get_lost_and_go_astray_as_often_as_told_and_only_in_their_place() {
    let mut disk = disk(1 << 20);
    let place = 4096..20_480;
    let set = |disk: &mut Medium, fate, left| {
        disk.faults.strays = Some(StrayWrites { places: vec![place.clone()], left, fate });
    };
    set(&mut disk, Stray::Lost, 1);
    disk.write(NOW, 0, b"elsewhere").expect("written");
    disk.write(NOW, 4090, b"over the edge").expect("written");
    disk.write(NOW, 8192, b"gone").expect("it says so");
    disk.write(NOW, 8192, b"then").expect("written");
    assert_eq!(read(&mut disk, 0, 9), b"elsewhere");
    assert_eq!(read(&mut disk, 4090, 13), b"over the edge");
    assert_eq!(read(&mut disk, 8192, 4), b"then");
    set(&mut disk, Stray::Misdirected(-4096), 2);
    disk.write(NOW, 12_288, b"back").expect("it says so");
    disk.write(NOW, 4200, b"would leave it").expect("written");
    assert_eq!((read(&mut disk, 12_288, 4), read(&mut disk, 8192, 4)), (vec![0; 4], b"back".to_vec()));
    assert_eq!(read(&mut disk, 4200, 14), b"would leave it");
    assert_eq!(disk.counts().strays, 2);
}

#[test]
fn bits_of_a_place_flip_as_often_as_told_and_the_medium_stays_right() {
    let mut disk = disk(1 << 20);
    disk.write(NOW, 0, &[7; 8192]).expect("written");
    let rng = StdRng::seed_from_u64(3);
    disk.faults.flipped = Some(FlippedReads { places: std::iter::once(4096..5000).collect(), percent: 30, rng });
    let mut wrong = 0;
    for _ in 0..1000 {
        assert_eq!(read(&mut disk, 0, 4096), [7; 4096]);
        let bytes = read(&mut disk, 4000, 4000);
        let flipped: Vec<usize> = (0..4000).filter(|at| bytes[*at] != 7).collect();
        assert!(flipped.len() <= 1 && flipped.iter().all(|at| (96..1000).contains(at)), "{flipped:?}");
        wrong += flipped.len() as u64;
    }
    assert!((200..400).contains(&wrong) && disk.counts().flipped == wrong, "{wrong}");
    disk.faults.flipped = None;
    assert_eq!(read(&mut disk, 0, 8192), [7; 8192]);
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
