use crate::key::Table;
use crate::testing::{BUCKET, Group, UPLOAD, chunks, extent, inline, name, xattr};
use bytes::Bytes;
use proto::meta::{Answer, Command, Outcome, PartListing, Query, Refusal, UploadListing};
use proto::object::{Attr, ETag, NewContent, Precondition};
use types::UploadId;

fn begin(group: &mut Group) {
    let xattrs = vec![xattr("user.a", "1"), xattr("user.b", "2")];
    group.ok(Command::CreateUpload { bucket: BUCKET, key: name("d/k"), upload: UPLOAD, xattrs });
}

fn part(number: u16, content: NewContent) -> Command {
    Command::PutPart {
        bucket: BUCKET,
        key: name("d/k"),
        upload: UPLOAD,
        part: number,
        content,
        md5: [number as u8; 16],
        xattrs: vec![],
    }
}

fn complete(numbers: &[u16]) -> Command {
    Command::CompleteUpload {
        bucket: BUCKET,
        key: name("d/k"),
        upload: UPLOAD,
        parts: numbers.iter().map(|number| (*number, [*number as u8; 16])).collect(),
        etag: ETag::Multipart([3; 16], numbers.len() as u16),
        xattrs: vec![xattr("user.b", "3")],
        part_bytes_min: 20,
        precondition: Precondition::default(),
    }
}

fn object(group: &mut Group, numbers: &[u16]) -> Attr {
    match group.ok(complete(numbers)) {
        Outcome::Object(attr) => attr,
        other => panic!("{other:?}"),
    }
}

fn parts(group: &Group, after: u16, max: u32) -> Result<PartListing, Refusal> {
    match group.ask(Query::ListParts { bucket: BUCKET, key: name("d/k"), upload: UPLOAD, after, max })? {
        Answer::Parts(listing) => Ok(listing),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_become_one_object() {
    let mut group = Group::new();
    begin(&mut group);
    group.ok(part(1, chunks(1, 2, 10)));
    group.ok(part(3, chunks(10, 3, 10)));
    group.ok(part(7, NewContent::Chunks(vec![extent(20, 0, 5)])));
    let attr = object(&mut group, &[1, 3, 7]);
    assert_eq!((attr.size, attr.stored), (55, 55));
    assert_eq!(attr.etag_text(), format!("{}-3", "03".repeat(16)));
    let numbers: Vec<u32> = group.extents(attr.ino).iter().map(|(_, _, chunk)| *chunk).collect();
    assert_eq!(numbers, [1, 2, 10, 11, 12, 20]);
    assert_eq!(group.extents(attr.ino)[2], (20, 10, 10));
    let xattrs = group.ask(Query::ListXattrs { ino: attr.ino });
    assert_eq!(xattrs, Ok(Answer::Xattrs(vec![xattr("user.a", "1"), xattr("user.b", "3")])));
    assert_eq!(group.rows(Table::Part), vec![]);
    assert_eq!(parts(&group, 0, 10), Err(Refusal::NoSuchUpload));
    assert_eq!(group.run(complete(&[1])), Err(Refusal::NoSuchUpload));
}

#[test]
fn ten_thousand_parts_are_one_small_command() {
    let mut group = Group::new();
    begin(&mut group);
    for number in 1..=10_000 {
        group.send_unchecked(None, part(number, NewContent::Chunks(vec![]))).expect("a part");
    }
    for number in (1..=10_000).step_by(2) {
        group.seq_unchecked(part(number, NewContent::Chunks(vec![extent(u32::from(number), 0, 20)])));
    }
    let before = group.kv.0.clone();
    let all: Vec<u16> = (1..=10_000).step_by(2).collect();
    let attr = object(&mut group, &all);
    let changed = group.kv.0.iter().filter(|(key, value)| before.get(*key) != Some(value)).count();
    assert!(changed < 200, "{changed} rows written");
    assert_eq!(attr.size, 5_000 * 20);
    let view = group.content(attr.ino);
    assert_eq!(view.extents.len(), 1024);
    let mut at = 0;
    let mut seen = 0;
    loop {
        let Ok(Answer::Content(view)) = group.ask(Query::Content { ino: attr.ino, offset: at, len: u64::MAX }) else {
            panic!("content")
        };
        for extent in view.extents {
            assert_eq!(extent.file_offset, seen * 20);
            seen += 1;
        }
        match view.next {
            Some(next) => at = next,
            None => break,
        }
    }
    assert_eq!(seen, 5_000);
    assert!(!group.rows(Table::Part).is_empty(), "dropped bit by bit");
    for _ in 0..40 {
        group.send_unchecked(None, Command::EnsureBucket { bucket: BUCKET }).expect("idempotent");
    }
    assert_eq!((group.rows(Table::Part).len(), group.rows(Table::Sweep).len()), (0, 0));
    group.ok(Command::EnsureBucket { bucket: BUCKET });
}

#[test]
fn what_is_not_taken_becomes_garbage() {
    let mut group = Group::new();
    begin(&mut group);
    group.ok(part(1, chunks(1, 2, 10)));
    group.ok(part(1, chunks(3, 2, 10)));
    assert_eq!(group.rows(Table::Garbage).len(), 1, "the replaced part");
    group.ok(part(2, chunks(5, 2, 10)));
    group.ok(part(3, chunks(7, 2, 10)));
    let attr = object(&mut group, &[1, 3]);
    assert_eq!(group.extents(attr.ino).iter().map(|(_, _, chunk)| *chunk).collect::<Vec<_>>(), [3, 4, 7, 8]);
    assert_eq!(group.rows(Table::Garbage).len(), 2, "and the part left out");
}

#[test]
fn an_aborted_upload_leaves_garbage_only() {
    let mut group = Group::new();
    begin(&mut group);
    group.ok(part(1, chunks(1, 2, 10)));
    assert_eq!(group.run(Command::SealBucket { bucket: BUCKET }), Err(Refusal::NotEmpty));
    let abort = Command::AbortUpload { bucket: BUCKET, key: name("d/k"), upload: UPLOAD };
    group.ok(abort.clone());
    assert_eq!(group.run(abort), Err(Refusal::NoSuchUpload));
    assert_eq!((group.rows(Table::Part).len(), group.rows(Table::Garbage).len()), (0, 1));
    group.ok(Command::SealBucket { bucket: BUCKET });
}

#[test]
fn lists_of_parts_are_checked() {
    let mut group = Group::new();
    begin(&mut group);
    group.ok(part(1, chunks(1, 1, 10)));
    group.ok(part(2, chunks(2, 2, 10)));
    assert_eq!(group.run(complete(&[])), Err(Refusal::Invalid));
    assert_eq!(group.run(complete(&[2, 1])), Err(Refusal::InvalidPartOrder));
    assert_eq!(group.run(complete(&[2, 2])), Err(Refusal::InvalidPartOrder));
    assert_eq!(group.run(complete(&[2, 3])), Err(Refusal::InvalidPart));
    assert_eq!(group.run(complete(&[1, 2])), Err(Refusal::PartTooSmall(1)));
    assert_eq!(group.run(part(0, chunks(9, 1, 1))), Err(Refusal::Invalid));
    assert_eq!(group.run(part(10_001, chunks(9, 1, 1))), Err(Refusal::Invalid));
    assert_eq!(group.run(part(4, inline(b"x"))), Err(Refusal::Invalid));
    let again = Command::CreateUpload { bucket: BUCKET, key: name("k"), upload: UPLOAD, xattrs: vec![] };
    assert_eq!(group.run(again), Err(Refusal::Exists));
    assert_eq!(object(&mut group, &[2]).size, 20);
}

#[test]
fn parts_are_listed_in_pages() {
    let mut group = Group::new();
    begin(&mut group);
    for number in [5, 1, 9] {
        group.ok(part(number, chunks(u32::from(number), 1, 10)));
    }
    let page = parts(&group, 0, 2).expect("parts");
    assert_eq!((page.parts.iter().map(|part| part.part).collect::<Vec<_>>(), page.truncated), (vec![1, 5], true));
    let page = parts(&group, 5, 2).expect("parts");
    assert_eq!((page.parts.iter().map(|part| part.part).collect::<Vec<_>>(), page.truncated), (vec![9], false));
    assert!(parts(&group, u16::MAX, 2).expect("parts").parts.is_empty());
    assert_eq!(parts(&group, 0, 0).map(|page| page.truncated), Ok(false));
}

/// Every prefix, delimiter and place to begin over a small set of keys, page by page, against a plain filter.
#[test]
fn uploads_are_listed_by_key_then_id() {
    let mut group = Group::new();
    let mut all = Vec::new();
    for (at, key) in ["a", "a", "a/b", "a/c", "a\0", "b/", "b/c/d"].into_iter().enumerate() {
        let upload = UploadId([9 - at as u8; 16]);
        group.ok(Command::CreateUpload { bucket: BUCKET, key: name(key), upload, xattrs: vec![] });
        all.push((name(key), upload));
    }
    all.sort();
    for (prefix, delimiter) in [("", ""), ("", "/"), ("a", ""), ("a", "/"), ("a/", "/"), ("b/", "/"), ("x", "")] {
        let mut items: Vec<(Bytes, Option<UploadId>)> = Vec::new();
        for (key, upload) in all.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes())) {
            let rest = &key[prefix.len()..];
            let at = rest.iter().position(|byte| delimiter.as_bytes() == [*byte]);
            let item = match at {
                Some(at) => (key.slice(..prefix.len() + at + 1), None),
                None => (key.clone(), Some(*upload)),
            };
            if items.last() != Some(&item) {
                items.push(item);
            }
        }
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let wanted =
                Query::ListUploads { bucket: BUCKET, prefix: name(prefix), delimiter: name(delimiter), after, max: 1 };
            let Ok(Answer::Uploads(UploadListing { uploads, prefixes, truncated })) = group.ask(wanted) else {
                panic!("uploads")
            };
            seen.extend(uploads.into_iter().map(|(key, upload, _)| (key, Some(upload))));
            seen.extend(prefixes.into_iter().map(|prefix| (prefix, None)));
            after = seen.last().cloned();
            if !truncated {
                break;
            }
        }
        assert_eq!(seen, items, "prefix {prefix:?} delimiter {delimiter:?}");
    }
}
