use super::*;
use crate::deflate::Deflater;
use crate::source::tests::{Sparse, Watched};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(crate) fn deflate(plain: &[u8]) -> Vec<u8> {
    let (mut deflater, mut out) = (Deflater::new(), Vec::new());
    deflater.update(plain, &mut out);
    deflater.finish(&mut out);
    out
}

/// An archive of stored and, where the flag is set, deflated entries.
pub(crate) fn archive(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for (name, data, deflated) in entries {
        let entry = NewEntry::stored(name, data);
        if *deflated {
            let kept = deflate(data);
            writer.add(&NewEntry { method: Method::Deflated, compressed: kept.len() as u64, ..entry }, &kept)
        } else {
            writer.add(&entry, data)
        }
        .expect("a vector takes anything");
    }
    writer.finish().expect("a vector takes anything");
    out
}

fn three() -> Vec<u8> {
    archive(&[("a.txt", b"first", false), ("책/제 1 장.xhtml", b"second second second", true), ("c", b"", false)])
}

/// Opens, and reads all.
fn read_all(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Vec<u8>)>, ZipError> {
    let archive = Archive::open(&bytes, limits)?;
    let read = |entry: &Entry| Ok((entry.name().to_owned(), archive.read_whole(entry, u64::MAX)?));
    archive.entries().iter().map(read).collect()
}

fn refused(bytes: &[u8]) -> String {
    match read_all(bytes, &Limits::default()) {
        Ok(read) => panic!("read {read:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).expect("there")
}

/// Where the `n`th central header begins.
fn central(bytes: &[u8], n: usize) -> usize {
    let headers = bytes.windows(4).enumerate().filter(|(_, window)| *window == b"PK\x01\x02");
    headers.map(|(at, _)| at).nth(n).expect("there")
}

fn set(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// Takes a range out, or puts something in, and moves the offset of the central directory by as much.
fn insert(bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = [&bytes[..at], new, &bytes[at..]].concat();
    let field = bytes.len() - 6;
    let moved = records::u32_at(&bytes, field) + new.len() as u32;
    bytes[field..field + 4].copy_from_slice(&moved.to_le_bytes());
    bytes
}

#[test]
fn what_was_written_is_read() {
    let read = read_all(&three(), &Limits::default()).expect("a good archive");
    let expected: [(&str, &[u8]); 3] = [("a.txt", b"first"), ("책/제 1 장.xhtml", b"second second second"), ("c", b"")];
    assert!(read.iter().map(|(name, data)| (name.as_str(), data.as_slice())).eq(expected));
    let bytes = three();
    let archive = Archive::open(&bytes, &Limits::default()).expect("a good archive");
    assert_eq!(archive.find("c").map(Entry::size), Some(0));
    assert_eq!(archive.find("책/제 1 장.xhtml").map(Entry::method), Some(Method::Deflated));
    assert!(archive.find("C").is_none());
}

#[test]
fn an_empty_archive_is_one() {
    assert_eq!(read_all(&archive(&[]), &Limits::default()).expect("a good archive"), []);
}

#[test]
fn a_comment_is_allowed_and_nothing_else_behind_the_end() {
    let mut commented = three();
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&u16::MAX.to_le_bytes());
    commented.extend_from_slice(&vec![b'x'; 0xffff]);
    assert_eq!(read_all(&commented, &Limits::default()).expect("a comment").len(), 3);
    commented.push(0);
    assert_eq!(refused(&commented), "NoEnd");
    assert_eq!(refused(&commented[..commented.len() - 2]), "NoEnd");
    assert_eq!(refused(b""), "NoEnd");
    assert_eq!(refused(&[&b"MZ"[..], &three()].concat()), "Directory");
}

#[test]
fn entries_of_streaming_writers_are_read() {
    // Flag 3: checksum and sizes are zeros in the local header, and follow the data.
    let good = archive(&[("a", b"stored", false), ("b", b"bbbbbbbbbbbbbbb", true)]);
    let crc = crc32fast::hash(b"stored").to_le_bytes();
    let bytes = set(set(good, 6, &[8, 0]), 14, &[0; 12]);
    let descriptor = [&b"PK\x07\x08"[..], &crc, &[6, 0, 0, 0, 6, 0, 0, 0]].concat();
    let mut bytes = insert(bytes, 31 + 6, &descriptor);
    let first = central(&bytes, 0);
    bytes[first + 8] |= 8;
    let second = central(&bytes, 1);
    let moved = records::u32_at(&bytes, second + 42) + 16;
    bytes[second + 42..second + 46].copy_from_slice(&moved.to_le_bytes());
    let read = read_all(&bytes, &Limits::default()).expect("a good archive");
    assert_eq!(read[0].1, b"stored");
    assert_eq!(read[1].1, b"bbbbbbbbbbbbbbb");
}

#[test]
fn names_in_another_code_page_are_read_as_such() {
    let bytes = archive(&[("xx.png", b"", false)]);
    let bytes = set(bytes, 30, &[0xb0, 0xa1]);
    let at = central(&bytes, 0) + 46;
    let bytes = set(bytes, at, &[0xb0, 0xa1]);
    let opened = Archive::open(&bytes, &Limits::default()).expect("a good archive");
    assert_eq!((opened.entries()[0].name(), opened.entries()[0].name_is_utf8()), ("░í.png", false));
    assert_eq!(opened.read_whole(&opened.entries()[0], 1).expect("there"), b"");
    let lying = set(bytes, at - 46 + 9, &[8]);
    assert!(refused(&lying).contains("NotUtf8"));
}

#[test]
fn bad_names_are_refused() {
    for (good, bad, fault) in [
        ("a/xx/b", "a/../b", "Traversal"),
        ("xetc", "/etc", "Absolute"),
        ("axb", "a\\b", "Backslash"),
        ("axb", "a\0b", "Control"),
        ("xx/b", "C:/b", "Absolute"),
    ] {
        let bytes = archive(&[(good, b"1", false)]);
        let at = central(&bytes, 0) + 46;
        let bytes = set(set(bytes, at, bad.as_bytes()), 30, bad.as_bytes());
        assert!(refused(&bytes).contains(fault), "{bad:?}");
    }
    let long = "n".repeat(1_025);
    assert_eq!(refused(&archive(&[(&long, b"", false)])), "NameTooLong { bytes: 1025, max: 1024 }");
    let bytes = archive(&[("a", b"1", false), ("b", b"1", false)]);
    let at = central(&bytes, 1) + 46;
    assert_eq!(refused(&set(bytes, at, b"a")), "Duplicate(\"a\")");
    let bytes = archive(&[("ax", b"1", false)]);
    let at = central(&bytes, 0) + 46;
    assert_eq!(refused(&set(set(bytes, at, b"a/"), 30, b"a/")), "Folder(\"a/\")");
}

#[test]
fn entries_over_each_other_are_refused() {
    let bytes = archive(&[("a", b"1", false), ("b", b"1", false)]);
    let at = central(&bytes, 1) + 42;
    // The same data twice, then one that begins within the other, then one over the directory, then one beyond it.
    for header_at in [0u32, 10, 60, 1 << 30, u32::MAX - 1] {
        let bytes = set(bytes.clone(), at, &header_at.to_le_bytes());
        assert!(refused(&bytes).starts_with("Overlap"), "{header_at}");
    }
    // An extra field of the local header that pushes the data into the next entry.
    let bytes = set(archive(&[("a", b"1", false), ("b", b"1", false)]), 28, &[5, 0]);
    assert_eq!(refused(&bytes), "Overlap(\"a\")");
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let bytes = archive(&[("abc", b"11111111", true)]);
    for (at, new, what) in [
        (0, &b"XK"[..], "signature"),
        (6, &[8], "flags"),
        (6, &[1], "flags"),
        (8, &[0], "method"),
        (14, &[0], "CRC-32"),
        (18, &[1], "size"),
        (22, &[7], "size"),
        (26, &[2], "name"),
        (30, b"x", "name"),
    ] {
        let refused = refused(&set(bytes.clone(), at, new));
        assert!(refused.starts_with("Contradiction") && refused.contains(what), "{at}: {refused}");
    }
}

#[test]
fn encrypted_and_unknown_entries_are_refused() {
    let bytes = archive(&[("a", b"1", false)]);
    let at = central(&bytes, 0);
    for flags in [1u16, 1 << 5, 1 << 6, 1 << 13, 9] {
        let bytes = set(set(bytes.clone(), at + 8, &flags.to_le_bytes()), 6, &flags.to_le_bytes());
        assert_eq!(refused(&bytes), "Encrypted(\"a\")");
    }
    for method in [1u8, 9, 12, 14, 93, 99] {
        let expected = format!("Method {{ name: \"a\", method: {method} }}");
        assert_eq!(refused(&set(set(bytes.clone(), at + 10, &[method]), 8, &[method])), expected);
    }
    assert_eq!(refused(&set(bytes.clone(), at + 34, &[1])), "MultiDisk");
    let end = find(&bytes, b"PK\x05\x06");
    for field in [4, 6, 8] {
        assert_eq!(refused(&set(bytes.clone(), end + field, &[7])), "MultiDisk");
    }
}

#[test]
fn a_directory_that_lies_is_refused() {
    let bytes = three();
    let end = find(&bytes, b"PK\x05\x06");
    let at = central(&bytes, 0);
    for (bytes, expected) in [
        (set(bytes.clone(), end + 8, &[2, 0, 2, 0]), "Directory"),
        (set(bytes.clone(), end + 8, &[4, 0, 4, 0]), "Directory"),
        (set(bytes.clone(), end + 8, &[255; 4]), "Directory"),
        (set(bytes.clone(), end + 12, &[1]), "Directory"),
        (set(bytes.clone(), end + 16, &[1]), "Directory"),
        (set(bytes.clone(), at, &[1]), "Directory"),
        (set(bytes.clone(), at + 28, &[255]), "Directory"),
        (set(bytes.clone(), at + 20, &[255; 4]), "Zip64"),
        (set(bytes.clone(), at + 24, &[4]), "Size(\"a.txt\")"),
    ] {
        assert_eq!(refused(&bytes), expected);
    }
    let (max, name) = (1 << 33, "a.txt".to_owned());
    let expected = format!("{:?}", ZipError::EntryTooLarge { name, bytes: max + 1, max });
    let sparse = sparse(max + 1);
    assert_eq!(format!("{:?}", Archive::open(&sparse, &Limits::default()).expect_err("refused")), expected);
}

/// An archive of one stored entry of so many zeros.
fn sparse(bytes: u64) -> Sparse {
    let entry = NewEntry { crc32: 0, compressed: bytes, size: bytes, ..NewEntry::stored("a.txt", b"") };
    let mut header = Vec::new();
    local_header(&entry, &mut header);
    let cd_offset = header.len() as u64 + bytes;
    let mut tail = Vec::new();
    central_header(&entry, 0, &mut tail);
    let end = End { entries: 1, cd_offset, cd_size: tail.len() as u64 };
    end.write(&mut tail);
    Sparse { len: cd_offset + tail.len() as u64, pieces: BTreeMap::from([(0, header), (cd_offset, tail)]) }
}

#[test]
fn entries_of_more_than_four_gigabytes_are_read() {
    let bytes = (4 << 30) + 5;
    let sparse = sparse(bytes);
    let archive = Archive::open(&sparse, &Limits::default()).expect("a good archive");
    let entry = archive.find("a.txt").expect("there");
    assert_eq!((entry.size(), entry.compressed()), (bytes, bytes));
    let mut reader = archive.read(entry).expect("good headers");
    assert_eq!(reader.piece().expect("good so far").map(<[u8]>::len), Some(PIECE_BYTES));
}

#[test]
fn records_of_zip64_that_lie_are_refused() {
    let bytes = |sparse: &Sparse| -> Vec<(u64, Vec<u8>)> { sparse.pieces.clone().into_iter().collect() };
    let good = sparse(4 << 30);
    let tail = bytes(&good).pop().expect("two pieces").1;
    let (zip64, locator) = (find(&tail, b"PK\x06\x06"), find(&tail, b"PK\x06\x07"));
    let end = find(&tail, b"PK\x05\x06");
    let refused = |at: usize, new: &[u8]| {
        let mut sparse = sparse(4 << 30);
        let (_, tail) = sparse.pieces.iter_mut().next_back().expect("two pieces");
        tail[at..at + new.len()].copy_from_slice(new);
        let read = Archive::open(&sparse, &Limits::default())
            .and_then(|archive| archive.read(&archive.entries()[0]).map(|_| ()));
        format!("{:?}", read.expect_err("a lie"))
    };
    assert_eq!(refused(zip64, b"X"), "Zip64");
    assert_eq!(refused(zip64 + 4, &[45]), "Zip64");
    assert_eq!(refused(zip64 + 16, &[1]), "MultiDisk");
    assert_eq!(refused(zip64 + 24, &[2]), "Zip64");
    assert_eq!(refused(zip64 + 24, &[2, 0, 0, 0, 0, 0, 0, 0, 2]), "Zip64", "the narrow one says 1");
    assert_eq!(refused(zip64 + 40, &[1]), "Zip64", "the narrow one says otherwise");
    assert_eq!(refused(zip64 + 48, &[1]), "Directory");
    assert_eq!(refused(locator, b"X"), "Directory");
    assert_eq!(refused(locator + 8, &[255; 8]), "Zip64");
    assert_eq!(refused(locator + 16, &[2]), "MultiDisk");
    assert_eq!(refused(end + 10, &[2]), "MultiDisk");
    // The extra field of the central header: another id, another length, other numbers.
    assert_eq!(refused(46 + 5, &[2]), "Zip64");
    assert_eq!(refused(46 + 5 + 2, &[8]), "Zip64");
    assert_eq!(refused(46 + 5 + 2, &[17]), "Zip64");
    assert_eq!(refused(46 + 5 + 4, &[1]), "Size(\"a.txt\")");
}

#[test]
fn data_that_is_not_what_was_stored_is_refused() {
    let bytes = archive(&[("a", b"data data data data", true)]);
    let at = find(&bytes, b"PK\x01\x02");
    let both = |bytes: Vec<u8>, field: usize, new: &[u8]| set(set(bytes, at + field + 2, new), field, new);
    assert_eq!(refused(&both(bytes.clone(), 14, &[0, 0])), "Crc(\"a\")");
    assert_eq!(refused(&both(bytes.clone(), 22, &[18])), "Size(\"a\")");
    assert_eq!(refused(&both(bytes.clone(), 22, &[20])), "Size(\"a\")");
    let compressed = bytes[18];
    assert_eq!(refused(&both(bytes.clone(), 18, &[compressed - 1])), "Deflate(\"a\")");
    assert_eq!(refused(&set(bytes.clone(), 31, &[0xff])), "Deflate(\"a\")");
    // One byte behind the end of the stream.
    let longer = insert(both(bytes.clone(), 18, &[compressed + 1]), at, &[0]);
    assert_eq!(refused(&longer), "Deflate(\"a\")");
    let stored = archive(&[("a", b"data", false)]);
    assert_eq!(refused(&set(stored, 31, b"D")), "Crc(\"a\")");
}

#[test]
fn limits_are_kept() {
    let bytes = three();
    let refused = |limits: Limits| format!("{:?}", read_all(&bytes, &limits).expect_err("over the limit"));
    let limits = Limits::default;
    assert_eq!(refused(Limits { entries: 2, ..limits() }), "TooManyEntries { entries: 3, max: 2 }");
    assert!(refused(Limits { directory_bytes: 100, ..limits() }).starts_with("DirectoryTooLarge"));
    assert_eq!(refused(Limits { name_bytes: 4, ..limits() }), "NameTooLong { bytes: 5, max: 4 }");
    assert!(refused(Limits { entry_bytes: 19, ..limits() }).starts_with("EntryTooLarge"));
    assert_eq!(refused(Limits { total_bytes: 24, ..limits() }), "TotalTooLarge { bytes: 25, max: 24 }");
    let archive = Archive::open(&bytes, &limits()).expect("a good archive");
    assert!(matches!(archive.read_whole(&archive.entries()[0], 4), Err(ZipError::EntryTooLarge { max: 4, .. })));
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let zeros = vec![0; 1 << 20];
    let (mut deflater, mut bomb) = (Deflater::new(), Vec::new());
    (0..65).for_each(|_| deflater.update(&zeros, &mut bomb));
    deflater.finish(&mut bomb);
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    let entry = NewEntry {
        method: Method::Deflated,
        crc32: 0,
        size: 65 << 20,
        compressed: bomb.len() as u64,
        ..NewEntry::stored("a", b"")
    };
    writer.add(&entry, &bomb).expect("a vector takes anything");
    writer.finish().expect("a vector takes anything");
    assert!(refused(&out).starts_with("Ratio"));
    // One that claims to be small is cut off after the byte that is too much.
    let at = central(&out, 0);
    let lying = set(set(out, at + 24, &9u32.to_le_bytes()), 22, &9u32.to_le_bytes());
    assert_eq!(refused(&lying), "Size(\"a\")");
}

#[test]
fn entries_are_read_in_pieces() {
    let data: Vec<u8> = (0u32..1 << 20).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()).collect();
    let bytes = archive(&[("a", &data, false), ("b", &data, true)]);
    let watched = Watched::new(&bytes);
    let archive = Archive::open(&watched, &Limits::default()).expect("a good archive");
    for entry in archive.entries() {
        let (mut reader, mut at) = (archive.read(entry).expect("good headers"), 0);
        while let Some(piece) = reader.piece().expect("good data") {
            assert!(piece.len() <= PIECE_BYTES);
            assert_eq!(piece, &data[at..at + piece.len()]);
            at += piece.len();
        }
        assert_eq!(at, data.len());
    }
    assert!(watched.longest.get() <= PIECE_BYTES);
}

fn plain_entries() -> impl Strategy<Value = BTreeMap<String, (Vec<u8>, bool)>> {
    let data = (proptest::collection::vec(0u8..8, 0..200), any::<bool>());
    proptest::collection::btree_map("[a가 %&#]{1,3}(/[b나]{1,2}){0,2}", data, 0..6)
}

proptest! {
    #[test]
    fn archives_come_back(plain in plain_entries()) {
        let entries: Vec<_> = plain.iter().map(|(name, (data, deflated))| (name.as_str(), data.as_slice(), *deflated)).collect();
        let read = read_all(&archive(&entries), &Limits::default()).expect("a good archive");
        prop_assert!(read.into_iter().eq(plain.into_iter().map(|(name, (data, _))| (name, data))));
    }

    #[test]
    fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_all(&bytes, &Limits::default());
        let _ = read_all(&[&bytes[..], &archive(&[])].concat(), &Limits::default());
    }

    #[test]
    fn damaged_archives_are_read_or_refused(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = three();
        for (at, new) in damage {
            let at = at.index(bytes.len());
            bytes[at] = new;
        }
        let _ = read_all(&bytes, &Limits::default());
        let _ = read_all(&bytes[..cut.index(bytes.len())], &Limits::default());
    }
}
