use crate::kv::{KvError, KvRead, Row};
use crate::memory::MemoryKv;
use crate::testing::{BUCKET, GROUP, Group, inline, put};
use bytes::Bytes;
use proto::meta::{Answer, Command, Listing, Query};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Counts what a query reads.
struct Counting<'a> {
    kv: &'a MemoryKv,
    gets: Cell<usize>,
    scans: Cell<usize>,
    rows: Cell<usize>,
}

impl<'a> Counting<'a> {
    fn new(kv: &'a MemoryKv) -> Self {
        Counting { kv, gets: Cell::new(0), scans: Cell::new(0), rows: Cell::new(0) }
    }

    fn list(&self, prefix: &str, delimiter: &str, after: &str, max: u32) -> Listing {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let (prefix, delimiter, after) = (bytes(prefix), bytes(delimiter), bytes(after));
        let wanted = Query::ListObjects { bucket: BUCKET, prefix, delimiter, after, max };
        match crate::query(self, GROUP, &wanted).expect("memory") {
            Ok(Answer::Listing(listing)) => listing,
            other => panic!("{other:?}"),
        }
    }
}

impl KvRead for Counting<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.gets.set(self.gets.get() + 1);
        self.kv.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        let rows = self.kv.scan(start, end, limit)?;
        self.scans.set(self.scans.get() + 1);
        self.rows.set(self.rows.get() + rows.len());
        Ok(rows)
    }
}

fn fill(group: &mut Group, keys: impl Iterator<Item = String>) {
    for key in keys {
        group.send_unchecked(None, put(&key, inline(b""))).expect("a key");
    }
}

/// The items a listing should show, from a plain set of keys.
fn items(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<(String, bool)> {
    let mut items = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let item = match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => (key[..prefix.len() + at + delimiter.len()].to_owned(), true),
            None => (key.clone(), false),
        };
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
    items
}

fn shown(listing: &Listing) -> Vec<(String, bool)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut items: Vec<_> = listing.objects.iter().map(|object| (text(&object.key), false)).collect();
    items.extend(listing.prefixes.iter().map(|prefix| (text(prefix), true)));
    items.sort();
    items
}

/// All keys of up to three names and all prefixes, delimiters, places and sizes drawn from them, against a sorted set.
#[test]
fn pages_are_those_of_a_sorted_set() {
    let names = ["", "a", "a-", "a0", "b", "ab"];
    let mut keys = BTreeSet::new();
    for (i, first) in names.iter().enumerate() {
        for (j, second) in names.iter().enumerate() {
            keys.insert(first.to_string());
            keys.insert(format!("{first}/"));
            if (i + j) % 2 == 0 {
                keys.insert(format!("{first}/{second}"));
            }
            if (i * j) % 3 == 1 {
                keys.insert(format!("{first}/{second}/{first}"));
            }
        }
    }
    keys.remove("");
    let mut group = Group::new();
    fill(&mut group, keys.iter().cloned());
    let places: Vec<String> = keys.iter().cloned().chain(["zz".into(), "a/zz".into(), "\0".into()]).collect();
    let delimiters = ["", "/", "a", "-", "/a", "a/", "b", "ab"];
    let mut at = 0usize;
    for prefix in keys.iter().map(String::as_str).chain(["", "x", "a/a", "/"]) {
        for delimiter in delimiters {
            let all = items(&keys, prefix, delimiter);
            for max in [1, 2, 1000] {
                at += 7;
                let mut after = if at.is_multiple_of(3) { String::new() } else { places[at % places.len()].clone() };
                let first_after = after.clone();
                let mut seen = Vec::new();
                loop {
                    let page = group.list(prefix, delimiter, &after, max);
                    seen.extend(shown(&page));
                    match page.next {
                        Some(next) => after = String::from_utf8(next.to_vec()).expect("these keys are text"),
                        None => break,
                    }
                }
                let expected: Vec<_> =
                    all.iter().filter(|(item, _)| first_after.is_empty() || *item > first_after).cloned().collect();
                assert_eq!(seen, expected, "prefix {prefix:?} delimiter {delimiter:?} after {first_after:?} max {max}");
            }
        }
    }
}

#[test]
fn a_page_is_a_few_scans_and_no_inode() {
    let mut group = Group::new();
    fill(&mut group, (0..5000).map(|i| format!("flat/{i:05}")));
    let counting = Counting::new(&group.kv);
    let page = counting.list("flat/", "", "flat/01234", 1000);
    assert_eq!(page.objects.len(), 1000);
    assert_eq!(page.next.as_deref(), Some(&b"flat/02234"[..]));
    assert!(counting.gets.get() <= 4, "{} gets", counting.gets.get());
    assert!(counting.scans.get() <= 6, "{} scans", counting.scans.get());
}

#[test]
fn a_delimiter_never_looks_inside_directories() {
    let mut group = Group::new();
    fill(&mut group, (0..50).flat_map(|dir| (0..100).map(move |file| format!("{dir:02}/{file:02}"))));
    let counting = Counting::new(&group.kv);
    let page = counting.list("", "/", "", 1000);
    assert_eq!((page.objects.len(), page.prefixes.len(), page.next), (0, 50, None));
    assert!(counting.rows.get() <= 50, "{} rows", counting.rows.get());
    assert!(counting.gets.get() <= 2, "{} gets", counting.gets.get());
}

#[test]
fn any_other_delimiter_leaps_over_what_it_rolls_up() {
    let mut group = Group::new();
    fill(&mut group, (0..4).flat_map(|year| (0..2000).map(move |i| format!("{year}-{i:04}"))));
    let counting = Counting::new(&group.kv);
    let page = counting.list("", "-", "", 1000);
    assert_eq!(shown(&page).len(), 4);
    assert!(counting.rows.get() < 400, "{} rows", counting.rows.get());
}

#[test]
fn a_walk_through_small_directories_descends_once_each() {
    let mut group = Group::new();
    fill(&mut group, (0..500).flat_map(|dir| (0..2).map(move |file| format!("a/{dir:03}/{file}"))));
    let counting = Counting::new(&group.kv);
    let page = counting.list("a/", "", "a/100/0", 500);
    assert_eq!(page.objects.len(), 500);
    // A directory costs its inode and one scan.
    assert!(counting.gets.get() < 300, "{} gets", counting.gets.get());
    assert!(counting.scans.get() < 300, "{} scans", counting.scans.get());
}

#[test]
fn a_forest_of_empty_directories_ends_the_page_early_and_hides_nothing() {
    let mut group = Group::new();
    let root = group.root;
    let parent = group.mkdir(root, "d");
    for i in 0..60_000 {
        let dir = crate::testing::create(parent, &format!("{i:06}"), proto::object::FileKind::Directory, inline(b""));
        group.send_unchecked(None, dir).expect("a directory");
    }
    fill(&mut group, ["d/030000/", "d/059999/x", "e"].into_iter().map(str::to_owned));
    let mut after = String::new();
    let mut pages = 0;
    let mut seen = Vec::new();
    loop {
        let page = group.list("", "", &after, 1000);
        pages += 1;
        seen.extend(shown(&page).into_iter().map(|(key, _)| key));
        match page.next {
            Some(next) => after = String::from_utf8(next.to_vec()).expect("text"),
            None => break,
        }
    }
    assert_eq!(seen, ["d/030000/", "d/059999/x", "e"]);
    assert!(pages > 1, "no page reads without end");
}

#[test]
fn hard_links_show_the_inode_as_it_is() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"1")).ino;
    group.ok(Command::Link { ino: file, parent: group.root, name: crate::testing::name("b") });
    group.ok(Command::Write { ino: file, inline: Some(Bytes::from_static(b"333")), extents: vec![], append: false });
    let listing = group.list("", "", "", 10);
    assert!(listing.objects.iter().all(|object| object.size == 3));
    assert_eq!(listing.objects[0].etag, listing.objects[1].etag);
}

#[test]
fn bytes_of_any_value_are_listed() {
    let mut group = Group::new();
    let keys: [&[u8]; 4] = [b"\xff\xff", b"\xff\xff\xff", b"\xff\xff\xff/\0", b"\xfe"];
    for key in keys {
        let Command::PutObject { bucket, content, etag, xattrs, precondition, .. } = put("x", inline(b"")) else {
            unreachable!()
        };
        let key = Bytes::copy_from_slice(key);
        group.ok(Command::PutObject { bucket, key, content, etag, xattrs, precondition });
    }
    let list = |prefix: &[u8], delimiter: &[u8]| {
        let wanted = Query::ListObjects {
            bucket: BUCKET,
            prefix: Bytes::copy_from_slice(prefix),
            delimiter: Bytes::copy_from_slice(delimiter),
            after: Bytes::new(),
            max: 10,
        };
        match group.ask(wanted) {
            Ok(Answer::Listing(listing)) => (listing.objects.len(), listing.prefixes.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(b"", b""), (4, 0));
    assert_eq!(list(b"\xff", b""), (3, 0));
    assert_eq!(list(b"\xff", b"\xff"), (0, 1));
    assert_eq!(list(b"", b"\xff"), (1, 1));
    assert_eq!(list(b"\xff\xff\xff", b"/"), (1, 1));
}
