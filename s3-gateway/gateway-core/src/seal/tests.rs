//! The format: its bytes, its sizes, and what it refuses. The expected bytes were made by another program (Python's `cryptography`), from
//! docs/formats/sealed-objects.md.

use super::cipher::{NONCE_BYTES, OVERHEAD_BYTES, PROOF_BYTES, Sealer, key_context, random};
use super::envelope::Envelope;
use super::layout::{Layout, Run, SEGMENT_BYTES, SegmentPlace, plain_bytes, sealed_bytes};
use super::{RUNS_MAX, SealError};
use crate::keyring::{SecretKey, WrappedKey};
use sha2::{Digest as _, Sha256};
use types::{BucketId, FILE_BYTES_MAX};

const BUCKET: BucketId = BucketId(7);
const OBJECT: [u8; 16] =
    [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];

fn sealer_of(bucket: BucketId, object: [u8; 16]) -> Sealer {
    let key = SecretKey::new(std::array::from_fn(|at| at as u8));
    Sealer::new(&key, bucket, object).expect("a key")
}

fn sealer() -> Sealer {
    sealer_of(BUCKET, OBJECT)
}

/// Nonces of which each byte is the number of the call, from `first` on.
fn counted(first: u8) -> impl FnMut(&mut [u8; NONCE_BYTES]) -> Result<(), SealError> {
    let mut next = first;
    move |nonce| {
        nonce.fill(next);
        next += 1;
        Ok(())
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn parts(parts: &[(u16, u64)]) -> Layout {
    Layout::of_parts(parts.iter().copied()).expect("few runs")
}

fn envelope(layout: Layout) -> Envelope {
    let key = WrappedKey { kek: "k1".into(), sealed: vec![9; 3] };
    let proof = sealer().prove(&layout, &mut counted(3)).expect("a proof");
    Envelope { key, object: OBJECT, layout, proof }
}

#[test]
fn segments_have_these_bytes() {
    let sealed = sealer().seal((0, 0, true), b"hello", &mut counted(1)).expect("sealed");
    assert_eq!(hex::encode(sealed), "0101010101010101010101011fa6895907b33beaf74521e44ebbdce32092e499e2");
    let sealed = sealer().seal((2, 0, true), &noise(65_537), &mut counted(1)).expect("sealed");
    assert_eq!(sealed.len(), 65_593);
    let hash = hex::encode(Sha256::digest(&sealed));
    assert_eq!(hash, "1d82bd71e565a1a5c571ea36557b9a93025f9ec7b2f4259fc417f56a4a46cdd8");
    assert!(sealer().seal((2, 0, true), &[], &mut counted(1)).expect("nothing").is_empty());
}

#[test]
fn an_envelope_has_these_bytes_and_a_key_this_context() {
    let envelope = envelope(parts(&[(1, 65_537), (2, 65_537), (4, 3)]));
    let bytes = envelope.to_bytes().expect("encoded");
    let expected = "01026b3103090909a0a1a2a3a4a5a6a7a8a9aaabacadaeaf0201028180040401\
                    03030303030303030303030303f50592c190e8d341e3ee1696ce28e2f0";
    assert_eq!(hex::encode(&bytes), expected);
    assert_eq!(Envelope::from_bytes(&bytes), Ok(envelope));
    let context = "7361676f206f626a656374202031000000000000000007a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
    assert_eq!(hex::encode(key_context(BUCKET, &OBJECT)), context);
}

#[test]
fn sizes_are_known_both_ways() {
    let segment = SEGMENT_BYTES + OVERHEAD_BYTES as u64;
    for plain in (0..200_000).chain(FILE_BYTES_MAX - 70_000..FILE_BYTES_MAX) {
        assert_eq!(plain_bytes(sealed_bytes(plain)), Some(plain));
    }
    let mut plain = 0;
    for sealed in 0..3 * segment {
        let expected = (sealed_bytes(plain) == sealed).then_some(plain);
        assert_eq!(plain_bytes(sealed), expected, "{sealed}");
        plain += u64::from(expected.is_some());
    }
    assert_eq!(sealed_bytes(0), 0);
    assert_eq!(sealed_bytes(1), 29);
    assert_eq!(sealed_bytes(65_536), 65_564);
    assert_eq!(sealed_bytes(65_537), 65_593);
    assert_eq!(sealed_bytes(u64::MAX), u64::MAX);
}

/// Every segment of a layout with the place of its first plain and stored byte.
fn segments(parts: &[(u16, u64)]) -> Vec<(SegmentPlace, u64, u64)> {
    let (mut plain, mut stored, mut all) = (0, 0, Vec::new());
    for (part, bytes) in parts {
        let mut left = *bytes;
        for index in 0..bytes.div_ceil(SEGMENT_BYTES) {
            let now = left.min(SEGMENT_BYTES);
            left -= now;
            let place = SegmentPlace { part: *part, index: index as u32, last: left == 0, bytes: now as usize };
            all.push((place, plain, stored));
            plain += now;
            stored += now + OVERHEAD_BYTES as u64;
        }
    }
    all
}

#[test]
fn a_range_is_cut_into_the_segments_that_hold_it() {
    const S: u64 = SEGMENT_BYTES;
    let layouts: [&[(u16, u64)]; 6] = [
        &[(0, 5)],
        &[(0, 2 * S)],
        &[(1, 2 * S + 1), (2, 2 * S + 1), (3, 1)],
        &[(1, 1), (2, 1), (3, 1), (9, S), (10, S), (11, 7)],
        &[(1, 0), (2, 3), (3, 0), (4, 0), (7, 2 * S), (8, 0)],
        &[(1, S - 1), (2, S), (3, S + 1), (10_000, 1)],
    ];
    for numbers in layouts {
        let layout = parts(numbers);
        assert!(layout.is_sound());
        let all = segments(numbers);
        let size: u64 = numbers.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(layout.plain(), size);
        assert_eq!(layout.sealed(), numbers.iter().map(|(_, bytes)| sealed_bytes(*bytes)).sum::<u64>());
        let edges = all.iter().flat_map(|(place, at, _)| [*at, at + 1, at + place.bytes as u64 - 1]);
        let mut edges: Vec<u64> = edges.chain([size - 1, size]).filter(|at| *at <= size).collect();
        edges.sort_unstable();
        edges.dedup();
        for start in &edges {
            for end in edges.iter().filter(|end| *end > start) {
                let cut = layout.cut(*start..*end).expect("inside");
                let held: Vec<_> =
                    all.iter().filter(|(place, at, _)| at + place.bytes as u64 > *start && at < end).collect();
                let (first, last) = (held.first().expect("one"), held.last().expect("one"));
                assert_eq!(cut.stored, first.2..last.2 + last.0.sealed() as u64, "{numbers:?} {start}..{end}");
                assert_eq!((cut.skip as u64, cut.plain), (start - first.1, end - start));
                let places: Vec<_> = cut.segments.take(held.len()).collect();
                assert_eq!(places, held.iter().map(|(place, _, _)| *place).collect::<Vec<_>>());
            }
        }
        assert!(layout.cut(0..size + 1).is_none());
        assert!(layout.cut(0..0).is_none() && layout.cut(size..size).is_none());
    }
}

#[test]
fn a_segment_is_opened_in_its_place_only() {
    let place = SegmentPlace { part: 3, index: 5, last: false, bytes: SEGMENT_BYTES as usize };
    let sealed = sealer().seal((3, 5, false), &noise(place.bytes), &mut random).expect("sealed");
    let open = |sealer: Sealer, place: SegmentPlace| sealer.open(&place, &mut sealed.clone());
    let mut opened = sealed.clone();
    assert_eq!(sealer().open(&place, &mut opened), Ok(()));
    assert_eq!(opened[NONCE_BYTES..NONCE_BYTES + place.bytes], noise(place.bytes));
    assert_eq!(open(sealer(), SegmentPlace { part: 2, ..place }), Err(SealError::Damaged));
    assert_eq!(open(sealer(), SegmentPlace { index: 4, ..place }), Err(SealError::Damaged));
    assert_eq!(open(sealer(), SegmentPlace { last: true, ..place }), Err(SealError::Damaged));
    assert_eq!(open(sealer_of(BucketId(8), OBJECT), place), Err(SealError::Damaged));
    assert_eq!(open(sealer_of(BUCKET, [0; 16]), place), Err(SealError::Damaged));
    for at in [0, 11, 12, 40, sealed.len() - 17, sealed.len() - 16, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(sealer().open(&place, &mut changed), Err(SealError::Damaged), "byte {at}");
    }
    for len in [0, 5, NONCE_BYTES, OVERHEAD_BYTES - 1, OVERHEAD_BYTES, sealed.len() - 1] {
        assert_eq!(sealer().open(&place, &mut sealed[..len].to_vec()), Err(SealError::Damaged), "{len} bytes");
    }
}

#[test]
fn no_two_segments_have_the_same_nonce() {
    let plain = noise(3 * SEGMENT_BYTES as usize);
    let sealed: Vec<u8> =
        (0..2).flat_map(|_| sealer().seal((1, 0, true), &plain, &mut random).expect("sealed")).collect();
    let nonces: std::collections::BTreeSet<_> =
        sealed.chunks(SEGMENT_BYTES as usize + OVERHEAD_BYTES).map(|segment| segment[..NONCE_BYTES].to_vec()).collect();
    assert_eq!(nonces.len(), 6);
}

#[test]
fn a_layout_is_proved_as_it_is_and_as_nothing_else() {
    let layout = parts(&[(1, 10), (2, 10), (3, 4)]);
    let proof = sealer().prove(&layout, &mut random).expect("a proof");
    assert_eq!(sealer().check(&layout, &proof), Ok(()));
    for other in [
        Layout::default(),
        Layout::whole(24),
        parts(&[(1, 10), (2, 10)]),
        parts(&[(1, 10), (3, 10), (4, 4)]),
        parts(&[(1, 10), (2, 10), (3, 5)]),
    ] {
        assert_eq!(sealer().check(&other, &proof), Err(SealError::Damaged), "{other:?}");
    }
    assert_eq!(sealer_of(BucketId(8), OBJECT).check(&layout, &proof), Err(SealError::Damaged));
    for at in 0..PROOF_BYTES {
        let mut changed = proof;
        changed[at] ^= 1;
        assert_eq!(sealer().check(&layout, &changed), Err(SealError::Damaged), "byte {at}");
    }
}

#[test]
fn parts_of_equal_size_are_one_run_and_there_are_so_many_and_no_more() {
    let layout = parts(&[(1, 8), (2, 8), (4, 8), (5, 7)]);
    let runs = [
        Run { first: 1, count: 2, bytes: 8 },
        Run { first: 4, count: 1, bytes: 8 },
        Run { first: 5, count: 1, bytes: 7 },
    ];
    assert_eq!(layout.runs(), runs);
    let most = |count: u16| Layout::of_parts((1..=count).map(|part| (part, u64::from(part))));
    assert!(most(RUNS_MAX as u16).expect("as many as there may be").is_sound());
    assert_eq!(most(RUNS_MAX as u16 + 1), Err(SealError::TooManyRuns));
    assert_eq!(Layout::of_parts((1..=10_000).map(|part| (part, 5))).map(|layout| layout.runs().len()), Ok(1));
    assert_eq!(envelope(most(RUNS_MAX as u16).expect("runs")).to_bytes().map(|bytes| bytes.len() < 16 << 10), Ok(true));
}

#[test]
fn an_envelope_that_contradicts_itself_is_refused() {
    let good = envelope(parts(&[(1, 10), (2, 4)]));
    let bytes = good.to_bytes().expect("encoded");
    assert!(Envelope::from_bytes(&bytes).is_ok());
    assert_eq!(Envelope::from_bytes(&[&bytes[..], b"x"].concat()), Err(SealError::Damaged));
    assert_eq!(Envelope::from_bytes(&[&[2][..], &bytes[1..]].concat()), Err(SealError::Damaged));
    for len in 0..bytes.len() {
        assert_eq!(Envelope::from_bytes(&bytes[..len]), Err(SealError::Damaged), "{len} bytes");
    }
    let wide = FILE_BYTES_MAX + 1;
    let unsound = [
        parts(&[(2, 10), (1, 4)]),
        parts(&[(1, 10), (1, 4)]),
        parts(&[(0, 10), (1, 4)]),
        parts(&[(0, 10), (2, 4)]),
        parts(&[(10_001, 1)]),
        parts(&[(1, wide)]),
        parts(&[(1, u64::MAX)]),
        parts(&[(1, FILE_BYTES_MAX / 2), (2, FILE_BYTES_MAX / 2), (3, FILE_BYTES_MAX / 2)]),
    ];
    for layout in unsound {
        assert!(!layout.is_sound(), "{layout:?}");
        let bytes = Envelope { layout, ..good.clone() }.to_bytes().expect("encoded");
        assert_eq!(Envelope::from_bytes(&bytes), Err(SealError::Damaged));
    }
    let long = WrappedKey { kek: "k".repeat(65), sealed: Vec::new() };
    let bytes = Envelope { key: long, ..good.clone() }.to_bytes().expect("encoded");
    assert_eq!(Envelope::from_bytes(&bytes), Err(SealError::Damaged));
    let long = WrappedKey { kek: "k".into(), sealed: vec![0; 513] };
    let bytes = Envelope { key: long, ..good }.to_bytes().expect("encoded");
    assert_eq!(Envelope::from_bytes(&bytes), Err(SealError::Damaged));
}
