//! Reads entries back.

use crate::db::range_options;
use crate::error::Cause;
use crate::log::RaftLog;
use crate::row;
use raft_core::{Entry, LogReadError, LogReader};
use rocksdb::DB;
use std::sync::Arc;
use types::{GroupId, LogIndex};

/// One group's log, for `raft-core`.
pub(crate) struct Reader {
    pub(crate) log: Arc<RaftLog>,
    pub(crate) group: GroupId,
}

impl LogReader for Reader {
    fn entries(&self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Result<Vec<Entry>, LogReadError> {
        self.log.entries(self.group, from, to, bytes_max).map_err(|cause| LogReadError(cause.to_string()))
    }
}

/// The entries `from..to` in order, without a gap; stops early once their data exceeds `bytes_max`, but not before
/// the first.
pub(crate) fn read(db: &DB, group: GroupId, from: LogIndex, to: LogIndex, bytes_max: u64) -> Result<Vec<Entry>, Cause> {
    let mut entries = Vec::new();
    let mut bytes = 0u64;
    let mut rows = db.raw_iterator_opt(range_options(&row::entry_key(group, from), &row::entry_key(group, to)));
    rows.seek_to_first();
    for index in (from.0..to.0).map(LogIndex) {
        let Some((key, value)) = rows.item() else {
            rows.status()?;
            return Err(Cause::Damaged { group, index });
        };
        if key != row::entry_key(group, index) {
            return Err(Cause::Damaged { group, index });
        }
        let entry = row::decode_entry(group, index, value).map_err(|_| Cause::Damaged { group, index })?;
        bytes += entry.data.len() as u64;
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
        rows.next();
    }
    Ok(entries)
}
