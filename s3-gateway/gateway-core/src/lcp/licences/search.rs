//! Licences that are looked for.

use crate::lcp::ListCursor;
use crate::lcp::records::{Record as _, beginning, whole};
use crate::lcp::title::time_entry;
use crate::lcp::{LICENCES, LcpError, Lending, LicenceEntry, LicenceIndex, TitleId};
use bytes::Bytes;
use drm::status::State;
use proto::record::{RECORD_PAGE_MAX, RecordCursor, RecordScan};
use std::ops::RangeInclusive;
use types::Timestamp;

/// Pages that one look goes through before it says how far it came: what is looked for may be rare.
const SCANS_MAX: usize = 32;
/// Licences of one page of a scan. Usual ones have five thousand bytes, so that it is near what the group gives at once.
const SCAN_MAX: u32 = 256;
/// Looks for one page. Sixty thousand licences are three hundred megabytes, which is as much as one request may cost.
const LOOKS_MAX: usize = 8;
/// Licences that may be passed over to come to a page by its number. Cursors go on from anywhere.
pub const SKIP_MAX: u64 = 100_000;

/// What licences are looked for; by default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LicenceFilter {
    /// Of this title.
    pub title: Option<TitleId>,
    /// Of this reader.
    pub user: Option<String>,
    /// That stand there now. Expired ones are those that are open otherwise.
    pub state: Option<State>,
    /// On which so many devices have registered.
    pub devices: Option<RangeInclusive<u32>>,
    /// First issued at that time or later.
    pub from: Option<Timestamp>,
    /// First issued before that time.
    pub to: Option<Timestamp>,
}

/// Licences that were found, in the order of the index that was gone through: mostly that of their issue.
#[derive(Clone, Debug, Default)]
pub struct LicencePage {
    /// They.
    pub found: Vec<LicenceEntry>,
    /// Where the next page begins, if there may be one.
    pub next: Option<ListCursor>,
}

impl LicenceFilter {
    fn takes(&self, licence: &LicenceEntry, now: Timestamp) -> bool {
        let devices = || u32::try_from(licence.status.devices().len()).unwrap_or(u32::MAX);
        self.title.as_ref().is_none_or(|title| *title == licence.title)
            && self.user.as_ref().is_none_or(|user| *user == licence.user)
            && self.state.is_none_or(|state| licence.status.state_at(now) == state)
            && self.devices.as_ref().is_none_or(|range| range.contains(&devices()))
            && self.from.is_none_or(|from| licence.issued >= from)
            && self.to.is_none_or(|to| licence.issued < to)
    }

    /// Whether the scan finds nothing but what is looked for.
    fn is_exact(&self) -> bool {
        let by_id = usize::from(self.title.is_some()) + usize::from(self.user.is_some());
        self.state.is_none() && self.devices.is_none() && by_id <= 1
    }

    /// The index that leads there soonest, and between which entries.
    fn scan(&self, now: Timestamp) -> (LicenceIndex, RecordScan) {
        let of = |id: &str| LicenceEntry::prefix_of(id).to_vec();
        let (index, scan) = if let Some(user) = &self.user {
            (LicenceIndex::User, self.issued_within(&of(user)))
        } else if let Some(title) = &self.title {
            (LicenceIndex::Title, self.issued_within(&of(title.as_str())))
        } else if self.state == Some(State::Expired) {
            (LicenceIndex::End, RecordScan { to: Some(Bytes::copy_from_slice(&time_entry(now))), ..whole(0) })
        } else if let Some(state) = self.state {
            (LicenceIndex::State, self.issued_within(&[LicenceEntry::state_number(state)]))
        } else if let Some(devices) = &self.devices {
            let to = devices.end().checked_add(1).map(|to| Bytes::copy_from_slice(&to.to_be_bytes()));
            (LicenceIndex::Devices, RecordScan { to, ..beginning(&devices.start().to_be_bytes(), 0) })
        } else {
            (LicenceIndex::Issued, self.issued_within(&[]))
        };
        (index, RecordScan { space: LICENCES, by: Some(index.index()), ..scan })
    }

    /// What begins so, of the time looked for.
    fn issued_within(&self, prefix: &[u8]) -> RecordScan {
        let at = |time: Timestamp| Bytes::from([prefix, &time_entry(time)].concat());
        let all = beginning(prefix, 0);
        RecordScan { from: self.from.map_or(all.from, at), to: self.to.map(at).or(all.to), ..all }
    }
}

impl Lending {
    /// Licences of a kind, behind a place, at most `max` (1..=1024). A page may be short of it though there is more.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn licences(
        &self,
        filter: &LicenceFilter,
        after: Option<ListCursor>,
        max: u32,
    ) -> Result<LicencePage, LcpError> {
        let now = self.config.clock.now();
        let (index, scan) = filter.scan(now);
        let max = max.clamp(1, RECORD_PAGE_MAX) as usize;
        let mut page = LicencePage { next: after, ..LicencePage::default() };
        for _ in 0..SCANS_MAX {
            let scan = RecordScan { after: page.next.take().map(|next| next.0), max: SCAN_MAX, ..scan.clone() };
            let seen = self.store.records::<LicenceEntry>(scan).await?;
            let last = seen.found.len().saturating_sub(1);
            for (number, held) in seen.found.into_iter().enumerate() {
                let licence = held.value;
                if !filter.takes(&licence, now) {
                    continue;
                }
                let place = place(index, &licence);
                page.found.push(licence);
                if page.found.len() == max {
                    page.next = if number == last { seen.next.map(ListCursor) } else { place };
                    return Ok(page);
                }
            }
            page.next = seen.next.map(ListCursor);
            if page.next.is_none() {
                break;
            }
        }
        Ok(page)
    }

    /// Licences of a kind behind the first `skip` of them: for those who count pages.
    ///
    /// # Errors
    /// [`LcpError::Invalid`]: `skip` is over [`SKIP_MAX`], or too many others stand between those that are looked for. The cluster's.
    pub async fn licences_from(&self, filter: &LicenceFilter, skip: u64, max: u32) -> Result<LicencePage, LcpError> {
        let far = || LcpError::invalid("page", "is too far to be counted there: follow the links from page to page");
        if skip > SKIP_MAX {
            return Err(far());
        }
        let (mut left, mut next, mut looks) = (skip, None, 0);
        while left > 0 {
            if looks == LOOKS_MAX && !filter.is_exact() {
                return Err(far());
            }
            let passed;
            (passed, next) = self.pass(filter, next, left.min(u64::from(RECORD_PAGE_MAX)) as u32).await?;
            if next.is_none() {
                return Ok(LicencePage::default());
            }
            left = left.saturating_sub(passed);
            looks += 1;
        }
        self.licences_after(filter, next, max).await
    }

    /// Licences of a kind behind a place. There are less than asked for only at the end, or where they are rare.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn licences_after(
        &self,
        filter: &LicenceFilter,
        after: Option<ListCursor>,
        max: u32,
    ) -> Result<LicencePage, LcpError> {
        let max = max.clamp(1, RECORD_PAGE_MAX);
        let mut page = self.licences(filter, after, max).await?;
        for _ in 1..LOOKS_MAX {
            let left = max.saturating_sub(page.found.len() as u32);
            if page.next.is_none() || left == 0 {
                break;
            }
            let more = self.licences(filter, page.next.take(), left).await?;
            page.found.extend(more.found);
            page.next = more.next;
        }
        Ok(page)
    }

    /// Goes past at most `max` licences of a kind: how many it was, and where there is more.
    async fn pass(
        &self,
        filter: &LicenceFilter,
        after: Option<ListCursor>,
        max: u32,
    ) -> Result<(u64, Option<ListCursor>), LcpError> {
        if filter.is_exact() {
            let (_, scan) = filter.scan(self.config.clock.now());
            let scan = RecordScan { after: after.map(|after| after.0), max, ..scan };
            let (keys, next) = self.store.record_keys::<LicenceEntry>(scan).await?;
            return Ok((keys.len() as u64, next.map(ListCursor)));
        }
        let page = self.licences(filter, after, max).await?;
        Ok((page.found.len() as u64, page.next))
    }

    /// How many licences were issued from that time on, and before that one.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn count_licences(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<u64, LcpError> {
        let filter = LicenceFilter { from, to, ..LicenceFilter::default() };
        let (_, scan) = filter.scan(self.config.clock.now());
        self.store.count_records::<LicenceEntry>(scan, u64::MAX).await
    }
}

/// Where a licence stands in an index; each has one entry there.
fn place(index: LicenceIndex, licence: &LicenceEntry) -> Option<ListCursor> {
    let entry = licence.entries().into_iter().find(|entry| entry.index == index.index())?;
    Some(ListCursor(RecordCursor { entry: entry.entry, key: licence.key() }))
}
