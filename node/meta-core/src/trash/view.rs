//! Looking into the trash.

use super::{OPEN_GRACE, TrashRow};
use crate::bucket::{self, Bucket};
use crate::group;
use crate::inode::Inode;
use crate::key::inode::InodeKey;
use crate::key::trash::TrashKey;
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt, Key};
use crate::txn::Step;
use proto::trash::{TrashEntry, TrashFilter, TrashId, TrashPage};
use types::{BucketId, Timestamp};

/// Entries that one page looks at, whether they are wanted or not.
const PAGE_SCAN_MAX: usize = 4096;
/// Entries read at a time.
const SCAN_ROWS: usize = 256;
/// Bytes of paths in one page, well below an envelope.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// From when on an entry may be expired. `leap` is where the group's time stood after its last leap: how much of the time before
/// it has really passed is not known, so the window of what was there begins anew.
pub(super) fn due(key: &TrashKey, row: &TrashRow, bucket: &Bucket, leap: Timestamp) -> Timestamp {
    let seconds = i64::try_from(bucket.options.trash_window_secs).unwrap_or(i64::MAX);
    let window = if row.scratch { 0 } else { seconds.saturating_mul(Timestamp::SECOND) };
    Timestamp(key.time.max(leap).0.saturating_add(window.max(OPEN_GRACE)))
}

/// A page of the trash of a bucket.
pub(crate) fn list(
    kv: &dyn KvRead,
    bucket: BucketId,
    filter: &TrashFilter,
    after: Option<TrashId>,
    max: usize,
) -> Step<TrashPage> {
    let found = bucket::load(kv, bucket)??;
    let counters = group::load(kv)?;
    let mut page = TrashPage { time: counters.time, ..TrashPage::default() };
    let (mut from, end) = bounds(bucket, filter, after);
    let (mut seen, mut bytes) = (0, 0);
    while max > 0 && from < end {
        let rows = kv.scan(&from, &end, SCAN_ROWS)?;
        for (key, value) in &rows {
            let id = TrashKey::decode(key).ok_or_else(|| KvError::from(Corrupt::Row(key.to_vec())))?;
            let row = row::decode::<TrashKey>(key, value)?;
            let due = due(&id, &row, &found, counters.leap);
            if wanted(filter, &row, due) {
                bytes += row.path.len();
                page.entries.push(entry(kv, &id, row, due)?);
            }
            seen += 1;
            if page.entries.len() == max || seen == PAGE_SCAN_MAX || bytes > PAGE_BYTES_MAX {
                page.next = Some(id.id());
                return Ok(page);
            }
        }
        match rows.last() {
            Some((last, _)) if rows.len() == SCAN_ROWS => from = [last, &[0][..]].concat(),
            _ => break,
        }
    }
    Ok(page)
}

/// The keys between which wanted entries lie.
fn bounds(bucket: BucketId, filter: &TrashFilter, after: Option<TrashId>) -> (Vec<u8>, Vec<u8>) {
    let since = TrashKey::lower(bucket, filter.since.unwrap_or(Timestamp(i64::MIN)));
    let after = after.map(|id| [TrashKey::of(bucket, id).encode(), vec![0]].concat());
    let end = filter.until.map_or_else(|| TrashKey::upper(bucket), |until| TrashKey::lower(bucket, until));
    (after.map_or_else(|| since.clone(), |after| after.max(since.clone())), end)
}

fn wanted(filter: &TrashFilter, row: &TrashRow, due: Timestamp) -> bool {
    row.path.starts_with(&filter.prefix)
        && filter.session.is_none_or(|session| row.session == session)
        && filter.reason.is_none_or(|reason| row.reason == reason)
        && filter.due.is_none_or(|time| due <= time)
}

fn entry(kv: &dyn KvRead, key: &TrashKey, row: TrashRow, due: Timestamp) -> Step<TrashEntry> {
    let inode: Inode = row::require(kv, &InodeKey(key.ino))?;
    Ok(TrashEntry {
        id: key.id(),
        path: row.path,
        kind: inode.kind(),
        size: inode.size(),
        mtime: inode.mtime,
        session: row.session,
        reason: row.reason,
        scratch: row.scratch,
        due,
    })
}
