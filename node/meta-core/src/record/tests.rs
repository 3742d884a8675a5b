mod model;

use super::*;
use crate::key::Table;
use crate::testing::{BUCKET, Group, SESSION, inline, name};
use proto::meta::{Answer, Command, Outcome, Query};
use proto::record::{FoundRecords, RECORD_PAGE_MAX, RecordIndex, RecordPage, RecordScan, RecordSpace};
use types::RequestId;

const SPACE: RecordSpace = RecordSpace(1);
const OTHER: RecordSpace = RecordSpace(2);
const INDEX: RecordIndex = RecordIndex(3);

fn key(space: RecordSpace, key: &str) -> RecordKey {
    RecordKey { space, key: name(key) }
}

fn entry(index: RecordIndex, entry: &str) -> IndexEntry {
    IndexEntry { index, entry: name(entry) }
}

fn put(of: &str, expected: Expected, value: &str, entries: &[&str]) -> RecordChange {
    let entries = entries.iter().map(|text| entry(INDEX, text)).collect();
    RecordChange { key: key(SPACE, of), expected, content: Some(RecordContent { value: name(value), entries }) }
}

fn remove(of: &str, expected: Expected) -> RecordChange {
    RecordChange { key: key(SPACE, of), expected, content: None }
}

fn command(changes: &[RecordChange]) -> Command {
    Command::PutRecords { bucket: BUCKET, changes: changes.to_vec() }
}

fn scan(by: Option<RecordIndex>) -> RecordScan {
    RecordScan { space: SPACE, by, from: Bytes::new(), to: None, after: None, keys_only: false, max: RECORD_PAGE_MAX }
}

impl Group {
    fn change(&mut self, changes: &[RecordChange]) -> Result<Vec<Option<Revision>>, Refusal> {
        match self.run(command(changes))? {
            Outcome::Records(revisions) => Ok(revisions),
            other => panic!("{other:?}"),
        }
    }

    fn record(&self, of: &str) -> Option<RecordView> {
        let keys = vec![key(SPACE, of)];
        match self.ask(Query::Records { bucket: BUCKET, keys }) {
            Ok(Answer::Records(found)) => found.into_iter().next().expect("one"),
            other => panic!("{other:?}"),
        }
    }

    fn page_of(&self, scan: RecordScan) -> Result<RecordPage, Refusal> {
        match self.ask(Query::ScanRecords { bucket: BUCKET, scan })? {
            Answer::RecordPage(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    fn keys_of(&self, scan: RecordScan) -> Vec<String> {
        let page = self.page_of(RecordScan { keys_only: true, ..scan }).expect("a page");
        let FoundRecords::Keys(keys) = page.found else { panic!("keys") };
        keys.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }
}

#[test]
fn records_are_changed_all_or_none_and_the_lost_race_is_named() {
    let mut group = Group::new();
    let made = group.change(&[put("a", Expected::Absent, "1", &["x"]), put("b", Expected::Any, "1", &[])]);
    let [Some(a), Some(b)] = made.expect("made")[..] else { panic!("two") };
    assert!(a < b);
    let before = group.kv.clone();
    let lost = [
        (put("a", Expected::Absent, "2", &[]), 0),
        (put("c", Expected::Revision(a), "2", &[]), 0),
        (remove("b", Expected::Revision(a)), 0),
    ];
    for (change, place) in lost {
        assert_eq!(group.change(std::slice::from_ref(&change)), Err(Refusal::RecordRace(place)), "{change:?}");
        let several =
            [put("d", Expected::Absent, "2", &[]), remove("a", Expected::Any), put("e", Expected::Any, "", &[])];
        let several: Vec<_> =
            several.into_iter().filter(|other| other.key != change.key).chain([change.clone()]).collect();
        assert_eq!(group.change(&several), Err(Refusal::RecordRace(several.len() as u32 - 1)));
    }
    let rows = |kv: &crate::memory::MemoryKv| {
        kv.0.iter()
            .filter(|(key, _)| key[0] >= 0x70)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&group.kv), rows(&before));

    let done = group.change(&[put("a", Expected::Revision(a), "2", &["y", "z"]), remove("b", Expected::Revision(b))]);
    let [Some(later), None] = done.expect("done")[..] else { panic!("one, and one removed") };
    assert!(later > b);
    assert_eq!((group.keys_of(scan(None)), group.keys_of(scan(Some(INDEX)))), (vec!["a".into()], vec!["a".into(); 2]));
    let content = RecordContent { value: name("2"), entries: vec![entry(INDEX, "y"), entry(INDEX, "z")] };
    assert_eq!(group.record("a"), Some(RecordView { key: name("a"), revision: later, content }));
    assert_eq!(group.record("b"), None);
    // To remove what is not there is no error, and tells that it is not there.
    assert_eq!(group.change(&[remove("b", Expected::Absent), remove("c", Expected::Any)]), Ok(vec![None, None]));
    assert_eq!(group.change(&[]), Ok(Vec::new()));
}

#[test]
fn a_revision_never_comes_back() {
    let mut group = Group::new();
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let made = group.change(&[put("a", Expected::Absent, "the same", &["x"])]).expect("made");
        assert!(seen.insert(made[0].expect("a revision")), "round {round}");
        let early: Vec<_> = seen.iter().copied().filter(|revision| Some(*revision) != made[0]).collect();
        for revision in early {
            assert_eq!(group.change(&[remove("a", Expected::Revision(revision))]), Err(Refusal::RecordRace(0)));
        }
        assert_eq!(group.change(&[remove("a", Expected::Revision(made[0].expect("one")))]), Ok(vec![None]));
        group.put("object", inline(b"drawn from the same numbers"));
    }
    crate::recover(&mut group.kv, crate::testing::GROUP, &Default::default()).expect("memory");
    let after = group.change(&[put("a", Expected::Absent, "", &[])]).expect("made")[0].expect("one");
    assert!(after.0 > seen.last().expect("some").0 + 1_000, "what was lost is passed over");
}

#[test]
fn bounds_are_kept() {
    let mut group = Group::new();
    let any = Expected::Any;
    let long = |bytes: usize| "x".repeat(bytes);
    let many = |count: usize| (0..count).map(|i| put(&i.to_string(), any, "", &[])).collect::<Vec<_>>();
    let entries = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>();
    let with = |entries: &[String]| put("a", any, "", &entries.iter().map(String::as_str).collect::<Vec<_>>());
    let full = |count: usize| {
        (0..count).map(|i| put(&i.to_string(), any, &long(RECORD_VALUE_BYTES_MAX), &[])).collect::<Vec<_>>()
    };
    let refused = [
        (vec![put("", any, "", &[])], Refusal::Invalid),
        (vec![put(&long(RECORD_KEY_BYTES_MAX + 1), any, "", &[])], Refusal::NameTooLong),
        (vec![put("a", any, "", &[&long(RECORD_KEY_BYTES_MAX + 1)])], Refusal::NameTooLong),
        (vec![put("a", any, &long(RECORD_VALUE_BYTES_MAX + 1), &[])], Refusal::TooLarge),
        (vec![with(&entries(RECORD_ENTRIES_MAX + 1))], Refusal::TooLarge),
        (vec![put("a", any, "", &["x", "y", "x"])], Refusal::Invalid),
        (vec![put("a", any, "", &[]), remove("b", any), remove("a", any)], Refusal::Invalid),
        (many(RECORD_CHANGES_MAX + 1), Refusal::TooLarge),
        (full(4), Refusal::TooLarge),
    ];
    for (changes, refusal) in refused {
        assert_eq!(group.change(&changes), Err(refusal));
    }
    let longest = long(RECORD_KEY_BYTES_MAX);
    for changes in [
        vec![put(&longest, any, &long(RECORD_VALUE_BYTES_MAX), &["", &longest])],
        vec![with(&entries(RECORD_ENTRIES_MAX))],
        many(RECORD_CHANGES_MAX),
        full(3),
    ] {
        let revisions = group.change(&changes).expect("within bounds");
        assert_eq!(revisions.len(), changes.len());
    }
    assert_eq!(group.rows(Table::Record).len(), 2 + RECORD_CHANGES_MAX);

    let keys = |keys: Vec<RecordKey>| Query::Records { bucket: BUCKET, keys };
    assert_eq!(group.ask(keys(vec![key(SPACE, "a"); RECORD_CHANGES_MAX + 1])), Err(Refusal::TooLarge));
    assert_eq!(group.ask(keys(vec![key(SPACE, "")])), Err(Refusal::Invalid));
    assert_eq!(group.page_of(RecordScan { from: name(&long(257)), ..scan(None) }), Err(Refusal::NameTooLong));
    assert_eq!(group.page_of(RecordScan { to: Some(name(&long(257))), ..scan(None) }), Err(Refusal::NameTooLong));
}

/// The largest command that the bounds allow fits into a log entry.
#[test]
fn the_largest_command_can_be_proposed() {
    let changes: Vec<_> = (0..RECORD_CHANGES_MAX as u8)
        .map(|i| {
            let entries = 0..RECORD_ENTRIES_MAX as u8;
            let entries =
                entries.map(|at| IndexEntry { index: RecordIndex(255), entry: vec![at; 255].into() }).collect();
            let value = vec![0; (RECORDS_BYTES_MAX / RECORD_CHANGES_MAX) - 256 - 16 * 255].into();
            let key = RecordKey { space: RecordSpace(u16::MAX), key: vec![i; 256].into() };
            let expected = Expected::Revision(Revision(u64::MAX));
            RecordChange { key, expected, content: Some(RecordContent { value, entries }) }
        })
        .collect();
    assert!(check(&changes).is_ok());
    let id = RequestId { session: SESSION, seq: u64::MAX, low: u64::MAX };
    let encoded = proto::encode(&proto::log::LogCommand::Meta(Some(id), command(&changes)));
    assert!(encoded.len() <= types::COMMAND_BYTES_MAX, "{}", encoded.len());
}

#[test]
fn a_bucket_with_records_is_not_sealed_and_a_sealed_one_takes_none() {
    let mut group = Group::new();
    let seal = Command::SealBucket { bucket: BUCKET };
    group.change(&[put("a", Expected::Any, "1", &["x"])]).expect("made");
    let Ok(Answer::Usage(usage)) = group.ask(Query::Usage { bucket: BUCKET }) else { panic!("usage") };
    assert_eq!((usage.files, usage.bytes), (0, 0), "records are no files");
    assert_eq!(group.run(seal.clone()), Err(Refusal::NotEmpty));
    group.change(&[remove("a", Expected::Any)]).expect("removed");
    assert!(group.rows(Table::Record).is_empty() && group.rows(Table::RecordIndex).is_empty());
    assert_eq!(group.run(seal), Ok(Outcome::Done));
    assert_eq!(group.change(&[put("a", Expected::Any, "1", &[])]), Err(Refusal::BucketSealed));
    let elsewhere = Command::PutRecords { bucket: types::BucketId(9), changes: Vec::new() };
    assert_eq!(group.run(elsewhere), Err(Refusal::NoSuchBucket));
    let query = Query::ScanRecords { bucket: types::BucketId(9), scan: scan(None) };
    assert_eq!(group.ask(query), Err(Refusal::NoSuchBucket));
}

#[test]
fn a_change_that_is_sent_again_is_made_once() {
    let mut group = Group::new();
    let seq = group.next_seq();
    let id = RequestId { session: SESSION, seq, low: seq };
    let change = command(&[put("a", Expected::Absent, "1", &["x"])]);
    let first = group.send(Some(id), change.clone());
    assert!(first.is_ok());
    assert_eq!(group.send(Some(id), change.clone()), first);
    // The race is lost for good too, whatever has happened since.
    let seq = group.next_seq();
    let id = RequestId { session: SESSION, seq, low: seq };
    assert_eq!(group.send(Some(id), change.clone()), Err(Refusal::RecordRace(0)));
    group.change(&[remove("a", Expected::Any)]).expect("removed");
    let low = RequestId { low: seq, ..id };
    assert_eq!(group.send(Some(low), change), Err(Refusal::StaleRequest));
}

#[test]
fn answers_are_bounded_and_go_on_where_they_ended() {
    let mut group = Group::new();
    let large = "v".repeat(RECORD_VALUE_BYTES_MAX);
    let names: Vec<String> = (0..9).map(|i| format!("k{i}")).collect();
    for of in &names {
        group.change(&[put(of, Expected::Any, &large, &["same"])]).expect("made");
    }
    let keys: Vec<_> = names.iter().map(|of| key(SPACE, of)).collect();
    let Ok(Answer::Records(some)) = group.ask(Query::Records { bucket: BUCKET, keys }) else { panic!("records") };
    assert_eq!(some.len(), 3, "a fourth would be longer than a page with what is around it");
    for by in [None, Some(INDEX)] {
        let (mut after, mut found, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = group.page_of(RecordScan { after, ..scan(by) }).expect("a page");
            let FoundRecords::Views(views) = page.found else { panic!("views") };
            assert!(!views.is_empty() && views.iter().map(bytes_of).sum::<usize>() <= PAGE_BYTES_MAX);
            found.extend(views.iter().map(|view| String::from_utf8_lossy(&view.key).into_owned()));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((&found, pages), (&names, 3));
        assert_eq!(group.keys_of(scan(by)), names, "keys alone fit");
    }
    // An answer is never longer than an envelope, however long its records are.
    let page = group.ask(Query::ScanRecords { bucket: BUCKET, scan: scan(None) }).expect("a page");
    assert!(proto::encode(&page).len() < proto::frame::ENVELOPE_BYTES_MAX);
}

#[test]
fn a_look_keeps_to_its_space_its_index_and_its_bounds() {
    let mut group = Group::new();
    let any = Expected::Any;
    group
        .change(&[
            put("a", any, "", &["m"]),
            put("b\0", any, "", &["m\0", "a"]),
            put("b", any, "", &["m", ""]),
            RecordChange { key: key(OTHER, "c"), expected: any, content: Some(RecordContent::default()) },
            RecordChange {
                key: key(SPACE, "d"),
                expected: any,
                content: Some(RecordContent { value: Bytes::new(), entries: vec![entry(RecordIndex(4), "m")] }),
            },
        ])
        .expect("made");
    let by = |from: &str, to: Option<&str>| RecordScan { from: name(from), to: to.map(name), ..scan(Some(INDEX)) };
    assert_eq!(group.keys_of(scan(None)), ["a", "b", "b\0", "d"]);
    assert_eq!(group.keys_of(RecordScan { from: name("b"), to: Some(name("d")), ..scan(None) }), ["b", "b\0"]);
    assert_eq!(group.keys_of(by("", None)), ["b", "b\0", "a", "b", "b\0"]);
    assert_eq!(group.keys_of(by("m", Some("m\0"))), ["a", "b"]);
    assert_eq!(group.keys_of(by("m\0", None)), ["b\0"]);
    assert_eq!(group.keys_of(by("n", Some("a"))), Vec::<String>::new());
    let one = group.page_of(RecordScan { max: 0, ..by("m", None) }).expect("a page");
    let next = proto::record::RecordCursor { entry: name("m"), key: name("a") };
    assert_eq!(one.next, Some(next), "a page holds at least one");
    // A place outside the bounds is taken for the nearest inside.
    let early = proto::record::RecordCursor { entry: name("a"), key: name("z") };
    assert_eq!(group.keys_of(RecordScan { after: Some(early), ..by("m", Some("m\0")) }), ["a", "b"]);
    let late = proto::record::RecordCursor { entry: name("z"), key: name("z") };
    assert_eq!(group.keys_of(RecordScan { after: Some(late), ..by("m", None) }), Vec::<String>::new());
}
