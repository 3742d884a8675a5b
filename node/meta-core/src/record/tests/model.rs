//! Random changes beside a map, and looks at both.

use super::*;
use proto::record::RecordCursor;
use std::collections::BTreeMap;

/// What there should be.
type Model = BTreeMap<RecordKey, RecordView>;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Few of them, zeros and prefixes of each other among them.
    fn text(&mut self) -> Bytes {
        let len = 1 + self.below(2);
        (0..len).map(|_| [0, 1, b'a', 0xff][self.below(4) as usize]).collect()
    }

    fn key(&mut self) -> RecordKey {
        RecordKey { space: RecordSpace(self.below(2) as u16), key: self.text() }
    }

    fn content(&mut self) -> RecordContent {
        let entries: BTreeSet<IndexEntry> = (0..self.below(4))
            .map(|_| IndexEntry { index: RecordIndex(self.below(2) as u8), entry: self.text() })
            .collect();
        RecordContent { value: self.text(), entries: entries.into_iter().collect() }
    }

    fn expected(&mut self, there: Option<&RecordView>) -> Expected {
        match (self.below(10), there) {
            (0, _) => Expected::Absent,
            (1, _) => Expected::Revision(Revision(self.below(400))),
            (2..6, Some(view)) => Expected::Revision(view.revision),
            (2..6, None) => Expected::Absent,
            _ => Expected::Any,
        }
    }

    /// Changes of different records.
    fn changes(&mut self, model: &Model) -> Vec<RecordChange> {
        let mut changes: BTreeMap<RecordKey, RecordChange> = BTreeMap::new();
        for _ in 0..1 + self.below(4) {
            let key = self.key();
            let expected = self.expected(model.get(&key));
            let content = (self.below(3) > 0).then(|| self.content());
            changes.insert(key.clone(), RecordChange { key, expected, content });
        }
        changes.into_values().collect()
    }
}

fn lost(model: &Model, change: &RecordChange) -> bool {
    let there = model.get(&change.key).map(|view| view.revision);
    match change.expected {
        Expected::Any => false,
        Expected::Absent => there.is_some(),
        Expected::Revision(revision) => there != Some(revision),
    }
}

/// What a look must find: index entry and record.
fn sought(model: &Model, scan: &RecordScan) -> Vec<(Bytes, RecordView)> {
    let of_space = model.iter().filter(|(key, _)| key.space == scan.space);
    let places = of_space.flat_map(|(key, view)| {
        let entries = view.content.entries.iter().filter(|entry| Some(entry.index) == scan.by);
        let places: Vec<(Bytes, Bytes)> = match scan.by {
            Some(_) => entries.map(|entry| (entry.entry.clone(), key.key.clone())).collect(),
            None => vec![(Bytes::new(), key.key.clone())],
        };
        places.into_iter().map(|place| (place, view.clone()))
    });
    let mut places: Vec<((Bytes, Bytes), RecordView)> = places
        .filter(|((entry, key), _)| {
            let place = if scan.by.is_some() { entry } else { key };
            *place >= scan.from && scan.to.as_ref().is_none_or(|to| place < to)
        })
        .collect();
    places.sort_by(|one, other| one.0.cmp(&other.0));
    places.into_iter().map(|((entry, _), view)| (entry, view)).collect()
}

/// Looks through everything in pages, by views or keys.
fn look(group: &Group, model: &Model, scan: &RecordScan) {
    let expected = sought(model, scan);
    let (mut found, mut after) = (Vec::new(), None::<RecordCursor>);
    for _ in 0..=expected.len() {
        let page = group.page_of(RecordScan { after, ..scan.clone() }).expect("a page");
        match page.found {
            FoundRecords::Views(views) => {
                assert!(!scan.keys_only && views.len() <= scan.max as usize);
                found.extend(views.into_iter().map(|view| (view.key, view.revision, Some(view.content))));
            }
            FoundRecords::Keys(keys) => {
                assert!(scan.keys_only && keys.len() <= scan.max as usize);
                found.extend(keys.into_iter().map(|(key, revision)| (key, revision, None)));
            }
        }
        after = page.next;
        match &after {
            Some(cursor) => assert_eq!(cursor.entry, expected[found.len() - 1].0),
            None => break,
        }
    }
    let content = |view: &RecordView| (!scan.keys_only).then(|| view.content.clone());
    let expected = expected.iter().map(|(_, view)| (view.key.clone(), view.revision, content(view)));
    assert_eq!((found, after), (expected.collect::<Vec<_>>(), None), "{scan:?}");
}

#[test]
fn records_are_those_of_a_map() {
    for seed in 0..12 {
        let (mut dice, mut group, mut model) = (Dice(seed), Group::new(), Model::new());
        let (mut races, mut last) = (0, Revision(0));
        for step in 0..150 {
            let changes = dice.changes(&model);
            let race = changes.iter().position(|change| lost(&model, change));
            match (group.change(&changes), race) {
                (Err(Refusal::RecordRace(at)), Some(race)) if at as usize == race => races += 1,
                (Ok(revisions), None) => {
                    for (change, revision) in changes.into_iter().zip(revisions) {
                        assert_eq!(revision.is_some(), change.content.is_some());
                        let (Some(revision), Some(content)) = (revision, change.content) else {
                            model.remove(&change.key);
                            continue;
                        };
                        assert!(revision > last);
                        last = revision;
                        let key = change.key.key.clone();
                        model.insert(change.key, RecordView { key, revision, content });
                    }
                }
                other => panic!("seed {seed}, step {step}: {other:?}"),
            }
            let keys: Vec<_> = (0..5).map(|_| dice.key()).collect();
            let expected: Vec<_> = keys.iter().map(|key| model.get(key).cloned()).collect();
            let asked = group.ask(Query::Records { bucket: BUCKET, keys });
            assert_eq!(asked, Ok(Answer::Records(expected)), "seed {seed}, step {step}");
            let by = [None, Some(RecordIndex(0)), Some(RecordIndex(1))][dice.below(3) as usize];
            let from = if dice.below(2) == 0 { Bytes::new() } else { dice.text() };
            let to = (dice.below(2) == 0).then(|| dice.text());
            let (space, max) = (RecordSpace(dice.below(2) as u16), 1 + dice.below(4) as u32);
            look(&group, &model, &RecordScan { space, by, from, to, after: None, keys_only: dice.below(2) == 0, max });
        }
        assert!(races > 10 && model.len() > 5, "seed {seed}: {races} races lost, {} records", model.len());
    }
}
