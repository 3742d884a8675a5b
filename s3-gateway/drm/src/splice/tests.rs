use super::*;
use crate::source::tests::Sparse;
use crate::zip::{Archive, Directory, Limits, Method, Writer};
use crate::{Sink, Source};
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const PATH: &str = "META-INF/license.lcpl";
const LICENCE: &[u8] = br#"{"id":"3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10"}"#;

fn layout_of(directory: &Directory, sha256: [u8; 32]) -> Layout {
    Layout {
        len: directory.archive_bytes,
        sha256,
        cd_offset: directory.offset,
        cd_size: directory.bytes.len() as u64,
        entries: directory.entries,
        zip64: directory.zip64,
    }
}

fn write_entries(mut writer: Writer<'_>, count: usize) -> Directory {
    for i in 0..count {
        let (name, data) = (format!("책/{i}.xhtml"), format!("장 {i}"));
        writer.add(&NewEntry::stored(&name, data.as_bytes()), data.as_bytes()).expect("a vector takes anything");
    }
    writer.finish().expect("a vector takes anything")
}

fn title(count: usize) -> (Vec<u8>, Directory, Layout) {
    let mut stored = Vec::new();
    let directory = write_entries(Writer::new(&mut stored), count);
    let layout = layout_of(&directory, Sha256::digest(&stored).into());
    assert_eq!(layout.len, stored.len() as u64);
    (stored, directory, layout)
}

fn whole(stored: &[u8], body: &Body) -> Vec<u8> {
    [&stored[..body.stored as usize], body.tail()].concat()
}

/// What is stored behind some gigabytes of zeros.
fn far(offset: u64, count: usize) -> (Sparse, Directory, Layout) {
    let mut stored = Vec::new();
    let directory = write_entries(Writer::at(offset, &mut stored), count);
    let layout = layout_of(&directory, [7; 32]);
    (Sparse { len: layout.len, pieces: BTreeMap::from([(offset, stored)]) }, directory, layout)
}

fn downloaded(mut stored: Sparse, body: Body) -> Sparse {
    stored.len = body.len();
    let at = body.stored;
    for (begins, piece) in &mut stored.pieces {
        piece.truncate((at - begins) as usize);
    }
    stored.pieces.insert(at, body.into_tail());
    stored
}

fn check_read(source: &dyn Source, count: usize) {
    let limits = Limits { ratio: u64::MAX, ..Limits::default() };
    let archive = Archive::open(source, &limits).expect("a good archive");
    assert_eq!(archive.entries().len(), count + 1);
    let licence = archive.entries().last().expect("the licence is the last one");
    assert_eq!((licence.name(), licence.method()), (PATH, Method::Stored));
    assert_eq!(archive.read_whole(licence, 1 << 20).expect("right"), LICENCE);
    let last = archive.find(&format!("책/{}.xhtml", count - 1)).expect("there");
    assert_eq!(archive.read_whole(last, 100).expect("right"), format!("장 {}", count - 1).as_bytes());
}

#[test]
fn a_licence_is_one_more_entry_and_nothing_else_changes() {
    let (stored, directory, layout) = title(3);
    let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
    let all = whole(&stored, &body);
    let (n, name) = (LICENCE.len() as u64, PATH.len() as u64);
    assert_eq!(body.len(), layout.cd_offset + layout.cd_size + n + 98 + 2 * name);
    assert_eq!(all.len() as u64, body.len());
    check_read(&all, 3);
    let cd_at = (layout.cd_offset + 30 + name + n) as usize;
    assert_eq!(&all[cd_at..cd_at + directory.bytes.len()], &directory.bytes);
    assert_eq!(&all[6 + layout.cd_offset as usize..][..8], &[0, 8, 0, 0, 0, 0, 0x21, 0], "UTF-8, stored, fixed time");
}

#[test]
fn the_tag_tells_titles_and_licences_apart() {
    let (_, directory, layout) = title(3);
    let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
    assert_eq!(body, splice(&layout, &directory.bytes, PATH, LICENCE).expect("again"));
    let expected = format!("\"{}-{}\"", &hex::encode(layout.sha256)[..16], &hex::encode(Sha256::digest(LICENCE))[..16]);
    assert_eq!(body.etag(), expected);
    assert_ne!(body.etag(), splice(&layout, &directory.bytes, PATH, b"{}").expect("another").etag());
}

#[test]
fn a_directory_that_is_shared_gives_the_same_bytes() {
    for count in [1, 3, 0xfffe] {
        let (_, directory, layout) = title(count);
        check(&layout, &directory.bytes, PATH).expect("they belong together");
        let frame = frame(&layout, PATH, LICENCE).expect("a small licence");
        let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
        assert_eq!([&frame.before, &directory.bytes, &frame.after].map(Vec::as_slice).concat(), body.tail());
        assert_eq!((frame.stored, frame.etag.as_str()), (layout.cd_offset, body.etag()));
    }
}

#[test]
fn any_range_equals_the_same_bytes_of_the_whole() {
    let (stored, directory, layout) = title(40);
    let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
    let all = whole(&stored, &body);
    let len = body.len();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut pair = || {
        let start = random.random_range(0..len);
        start..random.random_range(start..len) + 1
    };
    let mut ranges: Vec<_> = (0..200).map(|_| pair()).collect();
    ranges.extend([0..len, 0..1, len - 1..len, layout.cd_offset..len, 0..layout.cd_offset]);
    ranges.push(layout.cd_offset - 1..layout.cd_offset + 1);
    for range in ranges {
        let parts = body.parts(range.clone()).expect("within");
        let stored = &stored[parts.stored.start as usize..parts.stored.end as usize];
        let got = [stored, &body.tail()[parts.tail.clone()]].concat();
        assert_eq!(got, &all[range.start as usize..range.end as usize], "{range:?}");
    }
    for range in [0..len + 1, len..len + 1, 5..5, u64::MAX - 1..u64::MAX] {
        assert_eq!(body.parts(range), Err(OutOfRange { len }));
    }
}

#[test]
fn offsets_beyond_four_gigabytes_are_written_in_zip64() {
    let offset = (1 << 32) + 12_345;
    let (stored, directory, layout) = far(offset, 3);
    assert!(layout.zip64);
    let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
    let name = PATH.len() as u64;
    assert_eq!(body.len(), layout.cd_offset + layout.cd_size + LICENCE.len() as u64 + 98 + 2 * name + 12 + 76);
    check_read(&downloaded(stored, body), 3);
}

#[test]
fn a_licence_may_push_the_directory_over_the_edge() {
    let bytes = {
        let mut stored = Vec::new();
        write_entries(Writer::new(&mut stored), 1).offset
    };
    // With the licence's header still in 32 bits, then exactly not any more.
    for (short, extra) in [(1, 76), (0, 76 + 12), (200, 0)] {
        let (stored, directory, layout) = far(u64::from(u32::MAX) - bytes - short, 1);
        assert_eq!(layout.zip64, short == 0);
        let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
        let plain = layout.cd_offset + layout.cd_size + LICENCE.len() as u64 + 98 + 2 * PATH.len() as u64;
        assert_eq!(body.len(), plain + extra, "{short}");
        check_read(&downloaded(stored, body), 1);
    }
}

#[test]
fn many_entries_are_counted_in_zip64() {
    for (count, before, after) in [(0xfffd, false, false), (0xfffe, false, true), (70_000, true, true)] {
        let (stored, directory, layout) = title(count);
        assert_eq!(layout.zip64, before);
        let body = splice(&layout, &directory.bytes, PATH, LICENCE).expect("they belong together");
        let plain = layout.cd_offset + layout.cd_size + LICENCE.len() as u64 + 98 + 2 * PATH.len() as u64;
        assert_eq!(body.len(), plain + if after { 76 } else { 0 });
        check_read(&whole(&stored, &body), count);
    }
}

#[test]
fn parts_of_different_titles_are_not_joined() {
    let (_, directory, layout) = title(3);
    let splice = |layout: &Layout, directory: &[u8], path| splice(layout, directory, path, LICENCE).err();
    for wrong in [
        Layout { len: layout.len + 1, ..layout.clone() },
        Layout { zip64: true, ..layout.clone() },
        Layout { cd_offset: u64::MAX, ..layout.clone() },
    ] {
        assert_eq!(splice(&wrong, &directory.bytes, PATH), Some(SpliceError::Layout));
    }
    let wrong = Layout { entries: 4, ..layout.clone() };
    assert_eq!(splice(&wrong, &directory.bytes, PATH), Some(SpliceError::Directory));
    assert_eq!(splice(&layout, &directory.bytes[1..], PATH), Some(SpliceError::Directory));
    let mut damaged = directory.bytes.clone();
    damaged[28] ^= 1;
    assert_eq!(splice(&layout, &damaged, PATH), Some(SpliceError::Directory));
    assert_eq!(splice(&layout, &directory.bytes, "책/1.xhtml"), Some(SpliceError::Occupied));
}

#[test]
fn what_is_not_protected_is_sent_as_it_lies() {
    let body = Body::plain(100, &[0xab; 32]);
    assert_eq!((body.len(), body.etag().len(), body.tail()), (100, 66, &[][..]));
    assert_eq!(body.parts(10..100), Ok(Parts { stored: 10..100, tail: 0..0 }));
}

#[test]
fn a_full_sink_says_so() {
    let mut full = crate::source::tests::Full(40);
    let sink: &mut dyn Sink = &mut full;
    let mut writer = Writer::new(sink);
    assert!(writer.add(&NewEntry::stored("a", &[0; 100]), &[0; 100]).is_err());
}
