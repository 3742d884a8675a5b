//! Looks through the record of downloads.

use super::super::records::{Held, Page, whole};
use super::super::title::time_entry;
use super::super::{LcpError, Lending, TitleId};
use super::{DownloadEntry, DownloadIndex};
use bytes::Bytes;
use drm::licence::LicenceId;
use proto::record::{RecordCursor, RecordScan};
use types::Timestamp;

/// Entries in one page.
const PAGE_MAX: u32 = 1000;
/// Pages of records that are read for one page of an answer: a filter on two things may find little in many.
const READS_MAX: usize = 16;

/// Which downloads. What is not set does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadFilter {
    /// Of this licence.
    pub licence: Option<LicenceId>,
    /// Of this title.
    pub title: Option<TitleId>,
    /// Of this reader, as the store calls him.
    pub user: Option<String>,
    /// That began then or later.
    pub from: Option<Timestamp>,
    /// That began before.
    pub to: Option<Timestamp>,
}

impl DownloadFilter {
    fn holds(&self, entry: &DownloadEntry) -> bool {
        self.licence.is_none_or(|licence| licence == entry.licence)
            && self.title.as_ref().is_none_or(|title| *title == entry.title)
            && self.user.as_ref().is_none_or(|user| *user == entry.user)
            && self.from.is_none_or(|from| from <= entry.at)
            && self.to.is_none_or(|to| entry.at < to)
    }

    /// By what narrows it most.
    fn scan(&self, max: u32) -> RecordScan {
        let narrowest = match (self.licence, &self.title, &self.user) {
            (Some(licence), _, _) => Some((DownloadIndex::Licence, licence.to_string())),
            (None, _, Some(user)) => Some((DownloadIndex::User, user.clone())),
            (None, Some(title), None) => Some((DownloadIndex::Title, title.to_string())),
            (None, None, None) => None,
        };
        let prefix = narrowest.as_ref().map_or_else(Vec::new, |(_, id)| DownloadIndex::prefix(id).to_vec());
        let bound = |time: Timestamp| Bytes::from([&prefix, time_entry(time).as_slice()].concat());
        // The bound of a time is below all that began then. Behind the last time comes nothing of the same prefix.
        let from = bound(self.from.unwrap_or(Timestamp(i64::MIN)));
        let to = match self.to {
            Some(to) => bound(to),
            None => [&prefix, [u8::MAX; 17].as_slice()].concat().into(),
        };
        RecordScan { by: narrowest.map(|(index, _)| index.index()), from, to: Some(to), ..whole(max) }
    }
}

impl Lending {
    /// Downloads that were recorded, in the order in which they began: a page of at most `max`, 1 to 1,000, from `after` on. A page may be short, and even empty,
    /// and there be more behind it.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn recorded_downloads(
        &self,
        filter: &DownloadFilter,
        after: Option<RecordCursor>,
        max: u32,
    ) -> Result<Page<DownloadEntry>, LcpError> {
        let max = max.clamp(1, PAGE_MAX);
        let mut found: Vec<Held<DownloadEntry>> = Vec::new();
        let mut next = after;
        for _ in 0..READS_MAX {
            let left = max - found.len() as u32;
            let scan = RecordScan { after: next, ..filter.scan(left) };
            let page = self.store.records::<DownloadEntry>(scan).await?;
            next = page.next;
            found.extend(page.found.into_iter().filter(|held| filter.holds(&held.value)));
            if next.is_none() || found.len() as u32 >= max {
                break;
            }
        }
        Ok(Page { found, next })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use crate::lcp::records::Record as _;

    #[test]
    fn a_scan_covers_what_the_filter_wants() {
        let times = [i64::MIN, -5, 0, 5, i64::MAX].map(Timestamp);
        let bounds: Vec<Option<Timestamp>> = times.iter().copied().map(Some).chain([None]).collect();
        for (from, to) in bounds.iter().flat_map(|from| bounds.iter().map(move |to| (*from, *to))) {
            for at in times {
                let one = entry(at.0, u64::MAX);
                let filter = DownloadFilter { from, to, ..DownloadFilter::default() };
                let scan = filter.scan(10);
                let covers = |place: &Bytes| *place >= scan.from && scan.to.as_ref().is_none_or(|to| place < to);
                assert_eq!(covers(&one.key()), filter.holds(&one), "{from:?} {to:?} {at:?}");
                let filter = DownloadFilter { user: Some(one.user.clone()), from, to, ..DownloadFilter::default() };
                let scan = filter.scan(10);
                let place = &one.entries()[2];
                assert_eq!(scan.by, Some(place.index));
                let covers = |place: &Bytes| *place >= scan.from && scan.to.as_ref().is_none_or(|to| place < to);
                assert_eq!(covers(&place.entry), filter.holds(&one), "{from:?} {to:?} {at:?}");
            }
        }
    }

    #[test]
    fn every_condition_has_to_hold() {
        let one = entry(10, 1);
        let same = DownloadFilter {
            licence: Some(one.licence),
            title: Some(one.title.clone()),
            user: Some(one.user.clone()),
            from: Some(one.at),
            to: Some(Timestamp(11)),
        };
        assert!(same.holds(&one));
        let other = "00000000-0000-4000-8000-000000000000".parse().ok();
        for filter in [
            DownloadFilter { licence: other, ..same.clone() },
            DownloadFilter { title: "other".parse().ok(), ..same.clone() },
            DownloadFilter { user: Some("독".to_owned()), ..same.clone() },
            DownloadFilter { from: Some(Timestamp(11)), ..same.clone() },
            DownloadFilter { to: Some(Timestamp(10)), ..same.clone() },
        ] {
            assert!(!filter.holds(&one), "{filter:?}");
        }
    }
}
