//! Records, as one would write them down: a map, and a number for each change.

use super::{Model, Why, refused, same};
use proto::meta::{Outcome, Refusal};
use proto::record::{
    Expected, FoundRecords, RecordChange, RecordCursor, RecordKey, RecordPage, RecordScan, RecordView, Revision,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Shared by the states of all entries that do not change them.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Arc<BTreeMap<RecordKey, RecordView>>);

impl Records {
    fn is_as_expected(&self, change: &RecordChange) -> bool {
        let there = self.0.get(&change.key).map(|view| view.revision);
        match change.expected {
            Expected::Any => true,
            Expected::Absent => there.is_none(),
            Expected::Revision(revision) => there == Some(revision),
        }
    }
}

impl Model {
    pub(super) fn put_records(
        &mut self,
        changes: &[RecordChange],
        found: &Result<Outcome, Refusal>,
    ) -> Result<(), Why> {
        if let Some(lost) = changes.iter().position(|change| !self.records.is_as_expected(change)) {
            return refused(Refusal::RecordRace(lost as u32), found);
        }
        let records = Arc::make_mut(&mut self.records.0);
        let mut revisions = Vec::new();
        for RecordChange { key, content, .. } in changes {
            let Some(content) = content.clone() else {
                records.remove(key);
                revisions.push(None);
                continue;
            };
            // The numbers of inodes count on.
            self.numbered += 1;
            let revision = Revision(self.numbered);
            records.insert(key.clone(), RecordView { key: key.key.clone(), revision, content });
            revisions.push(Some(revision));
        }
        same(&Ok(Outcome::Records(revisions)), found)
    }

    pub(super) fn check_records(&self, keys: &[RecordKey], found: &[Option<RecordView>]) -> Result<(), Why> {
        let expected: Vec<_> = keys.iter().map(|key| self.records.0.get(key).cloned()).collect();
        same(&expected.as_slice(), &found)
    }

    /// Clients look at the first page of a whole space.
    pub(super) fn check_record_page(&self, scan: &RecordScan, page: &RecordPage) -> Result<(), Why> {
        let of_space = self.records.0.iter().filter(|(key, _)| key.space == scan.space);
        let places = of_space.flat_map(|(key, view)| {
            let entries = view.content.entries.iter().filter(|entry| Some(entry.index) == scan.by);
            let own = scan.by.is_none().then(Default::default);
            entries.map(|entry| entry.entry.clone()).chain(own).map(move |entry| ((entry, &key.key), view))
        });
        let mut places: Vec<_> = places.collect();
        places.sort_by_key(|(place, _)| place.clone());
        let more = places.len() > scan.max as usize;
        places.truncate(scan.max as usize);
        let last = places.last().map(|((entry, key), _)| RecordCursor { entry: entry.clone(), key: (*key).clone() });
        let views = places.iter().map(|(_, view)| *view);
        let found = if scan.keys_only {
            FoundRecords::Keys(views.map(|view| (view.key.clone(), view.revision)).collect())
        } else {
            FoundRecords::Views(views.cloned().collect())
        };
        same(&RecordPage { found, next: last.filter(|_| more) }, page)
    }
}
