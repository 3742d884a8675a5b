//! Looks through the records of a space, a page at a time.

use super::{PAGE_BYTES_MAX, Record, bytes_of};
use crate::key::record::{RecordIndexKey, RecordRowKey};
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt, Key};
use crate::txn::Step;
use bytes::Bytes;
use proto::meta::Refusal;
use proto::record::{
    FoundRecords, RECORD_KEY_BYTES_MAX, RECORD_PAGE_MAX, RecordCursor, RecordIndex, RecordPage, RecordScan, RecordView,
    Revision,
};
use types::BucketId;

/// Rows of an index read at a time: small ones.
const SCAN_ENTRIES: usize = 256;
/// Records read at a time, 4 MiB of the largest.
const SCAN_RECORDS: usize = 16;
/// Bytes of records read for one page of keys. The values lie between them and are read on the way.
const READ_BYTES_MAX: usize = 8 << 20;

/// Fills a page.
struct Filling {
    found: FoundRecords,
    max: usize,
    bytes: usize,
    last: Option<RecordCursor>,
}

impl Filling {
    fn new(scan: &RecordScan) -> Self {
        let found = if scan.keys_only { FoundRecords::Keys(Vec::new()) } else { FoundRecords::Views(Vec::new()) };
        Filling { found, max: scan.max.clamp(1, RECORD_PAGE_MAX) as usize, bytes: 0, last: None }
    }

    fn len(&self) -> usize {
        match &self.found {
            FoundRecords::Views(views) => views.len(),
            FoundRecords::Keys(keys) => keys.len(),
        }
    }

    /// Whether the next one, of so many bytes, must wait for the next page.
    fn is_full(&self, bytes: usize, bytes_max: usize) -> bool {
        self.len() == self.max || self.last.is_some() && self.bytes + bytes > bytes_max
    }

    /// Takes in a record; `false` if the page is full.
    fn view(&mut self, entry: Bytes, view: RecordView) -> bool {
        let bytes = bytes_of(&view);
        if self.is_full(bytes, if self.keys() { READ_BYTES_MAX } else { PAGE_BYTES_MAX }) {
            return false;
        }
        self.bytes += bytes;
        self.last = Some(RecordCursor { entry, key: view.key.clone() });
        match &mut self.found {
            FoundRecords::Views(views) => views.push(view),
            FoundRecords::Keys(keys) => keys.push((view.key, view.revision)),
        }
        true
    }

    /// Takes in what an index alone says of one; `false` if the page is full.
    fn key(&mut self, entry: Bytes, key: Bytes, revision: Revision) -> bool {
        let bytes = 32 + key.len();
        if self.is_full(bytes, PAGE_BYTES_MAX) {
            return false;
        }
        self.bytes += bytes;
        self.last = Some(RecordCursor { entry, key: key.clone() });
        if let FoundRecords::Keys(keys) = &mut self.found {
            keys.push((key, revision));
        }
        true
    }

    fn keys(&self) -> bool {
        matches!(self.found, FoundRecords::Keys(_))
    }

    /// The page, and whether anything was left out.
    fn page(self, more: bool) -> RecordPage {
        RecordPage { found: self.found, next: self.last.filter(|_| more) }
    }
}

/// One page of a look.
pub(crate) fn scan(kv: &dyn KvRead, bucket: BucketId, scan: &RecordScan) -> Step<RecordPage> {
    let RecordScan { from, to, after, .. } = scan;
    let after = after.iter().flat_map(|after| [&after.entry, &after.key]);
    if [from].into_iter().chain(to).chain(after).any(|place| place.len() > RECORD_KEY_BYTES_MAX) {
        return Err(Refusal::NameTooLong.into());
    }
    match scan.by {
        None => by_keys(kv, bucket, scan),
        Some(index) => by_index(kv, bucket, index, scan),
    }
}

fn by_keys(kv: &dyn KvRead, bucket: BucketId, scan: &RecordScan) -> Step<RecordPage> {
    let (start, end) = RecordRowKey::range(bucket, scan.space, &scan.from, scan.to.as_deref());
    let after = scan.after.as_ref().map(|after| {
        let key = after.key.to_vec();
        behind(&RecordRowKey { bucket, space: scan.space, key })
    });
    let mut filling = Filling::new(scan);
    let more = each_row(kv, (start, end), after, SCAN_RECORDS, |key, value| {
        let record: Record = row::decode::<RecordRowKey>(key, value)?;
        let key = RecordRowKey::decode(key).ok_or_else(|| corrupt(key))?.key;
        Ok(filling.view(Bytes::new(), record.view(key)))
    })?;
    Ok(filling.page(more))
}

fn by_index(kv: &dyn KvRead, bucket: BucketId, index: RecordIndex, scan: &RecordScan) -> Step<RecordPage> {
    let (start, end) = RecordIndexKey::range(bucket, scan.space, index, &scan.from, scan.to.as_deref());
    let after = scan.after.as_ref().map(|after| {
        let (entry, key) = (after.entry.to_vec(), after.key.to_vec());
        behind(&RecordIndexKey { bucket, space: scan.space, index, entry, key })
    });
    let mut filling = Filling::new(scan);
    let more = each_row(kv, (start, end), after, SCAN_ENTRIES, |key, value| {
        let place = RecordIndexKey::decode(key).ok_or_else(|| corrupt(key))?;
        if filling.keys() {
            let revision = row::decode::<RecordIndexKey>(key, value)?;
            return Ok(filling.key(place.entry.into(), place.key.into(), revision));
        }
        if filling.len() == filling.max {
            return Ok(false);
        }
        let record: Record = row::require(kv, &place.record())?;
        Ok(filling.view(place.entry.into(), record.view(place.key)))
    })?;
    Ok(filling.page(more))
}

/// Where the rows behind this one begin.
fn behind(key: &impl Key) -> Vec<u8> {
    let mut key = key.encode();
    key.push(0);
    key
}

fn corrupt(key: &[u8]) -> KvError {
    Corrupt::Row(key.to_vec()).into()
}

/// Goes through the rows of a range from `after` on, if that lies in it, until `take` wants no more. Whether it left any.
fn each_row(
    kv: &dyn KvRead,
    (start, end): (Vec<u8>, Vec<u8>),
    after: Option<Vec<u8>>,
    rows_max: usize,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, KvError>,
) -> Result<bool, KvError> {
    let mut from = after.filter(|after| *after > start).unwrap_or(start);
    loop {
        let rows = kv.scan(&from, &end, rows_max)?;
        for (key, value) in &rows {
            if !take(key, value)? {
                return Ok(true);
            }
        }
        match rows.last() {
            Some((last, _)) if rows.len() == rows_max => from = [last, &[0][..]].concat(),
            _ => return Ok(false),
        }
    }
}
