//! The bytes of records, and what is refused.

use super::*;
use proptest::prelude::*;

const TAG: Tag = Tag([0xa5; 16]);

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 253) as u8).collect()
}

fn record(kind: Kind, data: &[u8]) -> (Header, Vec<u8>) {
    let leaves = types::leaves_of(data);
    let header = Header {
        kind,
        place: Place { segment: SegmentNo(3), offset: 8192 },
        batch: BatchNo(9),
        batch_at: 4096,
        chunk: ChunkId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        len: data.len() as u32,
        root: types::root_of(data, &leaves),
    };
    let mut out = vec![0xee; header.record_bytes() as usize];
    encode_into(&mut out, &header, &TAG, data, &leaves, body_crc(data, &leaves));
    (header, out)
}

fn head(record: &[u8]) -> &[u8; HEADER_BYTES] {
    record.first_chunk().expect("a record is longer than its header")
}

#[test]
fn a_record_has_the_documented_bytes() {
    let (header, bytes) = record(Kind::Put, b"sago");
    assert_eq!(bytes.len(), 4096);
    assert_eq!(&bytes[..8], b"SGRC\x01\0\x01\0");
    assert_eq!(bytes[8..24], [0xa5; 16]);
    assert_eq!(bytes[24..32], 3u64.to_le_bytes());
    assert_eq!(bytes[32..40], 8192u64.to_le_bytes());
    assert_eq!(bytes[40..48], 9u64.to_le_bytes());
    assert_eq!(bytes[48..64], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(bytes[64..72], [4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[72..104], header.root.0);
    assert_eq!(bytes[104..112], 4096u64.to_le_bytes());
    assert_eq!(bytes[112..124], [0; 12]);
    assert_eq!(bytes[124..128], crc32c(&bytes[..124]).to_le_bytes());
    assert_eq!(&bytes[128..132], b"sago");
    assert_eq!(&bytes[132..136], b"SGRE");
    assert_eq!(bytes[136..140], crc32c(b"sago").to_le_bytes());
    assert_eq!(bytes[140..144], bytes[124..128]);
    assert_eq!(bytes[144..148], crc32c(&bytes[132..144]).to_le_bytes());
    assert!(bytes[148..].iter().all(|byte| *byte == 0));
}

/// The format's golden file: what this version writes must stay readable byte for byte. To change it is to change the version.
#[test]
fn records_of_version_1_stay_as_they_were() {
    let golden = include_bytes!("../../testdata/records-v1.bin");
    let (put, put_bytes) = record(Kind::Put, &sample(100));
    let ids = tombstones_encode(&[ChunkId(7), ChunkId(1 << 100)]);
    let (tombstones, tombstone_bytes) = record(Kind::Tombstones, &ids);
    assert!(golden.as_slice() == [put_bytes.as_slice(), &tombstone_bytes].concat());
    let (first, second) = golden.split_at(put_bytes.len());
    assert_eq!(Header::decode(head(first), &TAG, put.place), Some(put));
    assert!(is_whole(first, &put));
    assert_eq!(data(first, &put), sample(100));
    assert_eq!(Header::decode(head(second), &TAG, tombstones.place), Some(tombstones));
    assert_eq!(tombstones_decode(data(second, &tombstones)).collect::<Vec<_>>(), [ChunkId(7), ChunkId(1 << 100)]);
}

/// The same for a record with leaf hashes, which is too large for a file: its own hash.
#[test]
fn a_record_with_leaves_of_version_1_stays_as_it_was() {
    let (_, bytes) = record(Kind::Put, &sample(2 * LEAF_BYTES + 5));
    let hash = types::root_of(&bytes, &types::leaves_of(&bytes));
    let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "175c3173d016fca18c35e4507f54911383e5a40d1f912873450c26a1f8ea69be");
}

#[test]
fn crc_is_castagnoli() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    let data = sample(3 * LEAF_BYTES);
    let leaves = types::leaves_of(&data);
    assert_eq!(body_crc(&data, &leaves), crc32c(&[data.as_slice(), leaves.as_flattened()].concat()));
}

#[test]
fn any_flipped_bit_of_a_record_is_found() {
    let (header, bytes) = record(Kind::Put, &sample(5000));
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let good = Header::decode(head(&flipped), &TAG, header.place).is_some_and(|seen| is_whole(&flipped, &seen));
            assert!(!good, "byte {at}");
        }
    }
}

#[test]
fn a_record_elsewhere_or_of_another_disk_is_none() {
    let (header, bytes) = record(Kind::Put, b"sago");
    let moved = Place { offset: 4096, ..header.place };
    let swapped = Place { segment: SegmentNo(4), ..header.place };
    assert_eq!(Header::decode(head(&bytes), &TAG, moved), None);
    assert_eq!(Header::decode(head(&bytes), &TAG, swapped), None);
    assert_eq!(Header::decode(head(&bytes), &Tag([0; 16]), header.place), None);
}

/// A header with a right checksum but impossible numbers: written by a broken or hostile program.
#[test]
fn impossible_lengths_are_refused() {
    let (header, _) = record(Kind::Put, b"sago");
    for (kind, len) in [
        (Kind::Put, 0),
        (Kind::Put, CHUNK_BYTES_MAX as u32 + 1),
        (Kind::Put, u32::MAX),
        (Kind::Tombstones, 0),
        (Kind::Tombstones, 17),
        (Kind::Tombstones, LEAF_BYTES as u32 + 16),
    ] {
        let hostile = Header { kind, len, ..header };
        assert_eq!(Header::decode(&hostile.encode(&TAG), &TAG, header.place), None, "{kind:?} {len}");
    }
}

#[test]
fn sizes_are_whole_blocks() {
    assert_eq!(record_bytes(1), 4096);
    assert_eq!(record_bytes(4096 - HEADER_BYTES - TRAILER_BYTES), 4096);
    assert_eq!(record_bytes(4096 - HEADER_BYTES - TRAILER_BYTES + 1), 8192);
    assert_eq!(leaf_count(LEAF_BYTES), 0);
    assert_eq!(leaf_count(LEAF_BYTES + 1), 2);
    assert_eq!(leaf_count(CHUNK_BYTES_MAX), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_round_trip(data in proptest::collection::vec(any::<u8>(), 1..3 * LEAF_BYTES)) {
        let (header, bytes) = record(Kind::Put, &data);
        let seen = Header::decode(head(&bytes), &TAG, header.place);
        prop_assert_eq!(seen, Some(header));
        prop_assert!(is_whole(&bytes, &header));
        prop_assert_eq!(super::data(&bytes, &header), data.as_slice());
    }

    #[test]
    fn arbitrary_bytes_are_no_record(bytes in proptest::array::uniform32(any::<u8>())) {
        let mut hostile = [0; HEADER_BYTES];
        hostile[..32].copy_from_slice(&bytes);
        hostile[..4].copy_from_slice(&RECORD_MAGIC);
        prop_assert_eq!(Header::decode(&hostile, &TAG, Place { segment: SegmentNo(1), offset: 0 }), None);
    }
}
