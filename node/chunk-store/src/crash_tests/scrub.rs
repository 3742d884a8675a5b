//! Scrub on a disk in memory, where any byte can be flipped.

use super::compaction::Site;
use super::workload::chunk_data;
use crate::index::{Entry, Located};
use crate::record::{self, HEADER_BYTES, TRAILER_BYTES};
use crate::scrub::{Scrubbed, scrub};
use crate::segment::name_of;
use types::ChunkId;

fn located(site: &Site, chunk: ChunkId) -> Located {
    match site.disk.entry(chunk) {
        Ok(Some(Entry::Live(located) | Entry::Quarantined(located))) => located,
        other => panic!("{chunk}: {other:?}"),
    }
}

fn all(site: &Site, budget: u64) -> Scrubbed {
    let mut sum = Scrubbed::default();
    for _ in 0..1000 {
        let step = scrub(&site.disk, sum.next, budget).expect("the disk is good");
        sum.next = step.next;
        sum.chunks += step.chunks;
        sum.bytes += step.bytes;
        sum.rewritten += step.rewritten;
        sum.damaged.extend(step.damaged);
        if step.next.is_none() {
            return sum;
        }
    }
    panic!("the scrub does not come to an end");
}

/// Every part of a record is looked at: wrong data is quarantined, wrong framing is written anew from the right data.
#[test]
fn a_flipped_byte_anywhere_in_a_record_is_found() {
    let chunk = ChunkId(3);
    let len = chunk_data(chunk).len() as u64;
    let leaves = 32 * record::leaf_count(len as usize) as u64;
    let data_at = HEADER_BYTES as u64;
    let trailer_at = data_at + len + leaves;
    let padding_at = trailer_at + TRAILER_BYTES as u64;
    let whole = record::record_bytes(len as usize);
    let mut parts = vec![
        ("header", 60, false),
        ("first byte", data_at, true),
        ("last byte", data_at + len - 1, true),
        ("trailer", trailer_at + 5, false),
    ];
    parts.extend((leaves > 0).then_some(("leaves", data_at + len, false)));
    parts.extend((padding_at < whole).then_some(("padding", padding_at, false)));
    for (part, at, data) in parts {
        let mut site = Site::new();
        for number in 1..=8 {
            site.put(ChunkId(number)).expect("a put");
        }
        let place = located(&site, chunk).place;
        site.memory.flip(&name_of(place.segment), place.offset + at);
        let found = all(&site, 100_000);
        assert_eq!(found.chunks, 8, "{part}");
        if data {
            assert_eq!((found.damaged, found.rewritten), (vec![chunk], 0), "{part}");
            site = site.restart(true);
            assert!(matches!(site.disk.entry(chunk), Ok(Some(Entry::Quarantined(_)))), "{part}: forgotten");
            site.put(chunk).expect("it is written anew");
        } else {
            assert_eq!((found.damaged, found.rewritten), (vec![], 1), "{part}");
        }
        assert_ne!(located(&site, chunk).place, place, "{part}");
        let again = all(&site, u64::MAX);
        assert_eq!((again.chunks, again.damaged, again.rewritten), (8, vec![], 0), "{part}");
        // Also for a scan that has no index.
        site = site.restart(false);
        assert!(matches!(site.disk.entry(chunk), Ok(Some(Entry::Live(_)))), "{part}");
    }
}

/// A bit that flips on the way from the medium is no damage: a second look tells, and the replica is served as before.
#[test]
fn a_replica_that_was_misread_once_stays_what_it_is() {
    let mut site = Site::new();
    for number in 1..=3 {
        site.put(ChunkId(number)).expect("a put");
    }
    let (chunk, data) = (ChunkId(2), chunk_data(ChunkId(2)));
    let place = located(&site, chunk);
    let read = |site: &Site| site.disk.read(chunk, &place, 0, data.len() as u32);
    site.memory.misread(1);
    assert!(read(&site).is_ok_and(|read| read.data[..] == data[..]), "it was read again");
    site.memory.misread(1);
    let found = all(&site, u64::MAX);
    assert_eq!((found.chunks, found.damaged, found.rewritten), (3, vec![], 0));
    assert!(matches!(site.disk.entry(chunk), Ok(Some(Entry::Live(_)))));
    // Wrong twice in a row, it counts as damaged.
    site.memory.misread(2);
    assert!(read(&site).is_err());
    site.put(ChunkId(4)).expect("a put, behind the quarantine in the queue");
    assert!(matches!(site.disk.entry(chunk), Ok(Some(Entry::Quarantined(_)))));
}

#[test]
fn a_scrub_goes_on_where_it_was_told_and_keeps_to_its_budget() {
    let mut site = Site::new();
    for number in 1..=30 {
        site.put(ChunkId(number)).expect("a put");
    }
    site.delete(vec![ChunkId(5)]).expect("a delete");
    let step = scrub(&site.disk, Some(ChunkId(3)), 1).expect("a step");
    assert_eq!((step.next, step.chunks), (Some(ChunkId(4)), 1));
    let rest = scrub(&site.disk, step.next, u64::MAX).expect("a step");
    assert_eq!((rest.next, rest.chunks), (None, 25));
    let bytes: u64 = (6..=30).map(|number| record::record_bytes(chunk_data(ChunkId(number)).len())).sum();
    assert_eq!(rest.bytes, bytes);
}
