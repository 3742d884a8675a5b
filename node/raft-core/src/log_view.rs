//! The log as raft-rs reads it: the newest entries in memory, older ones from the durable log.

use crate::entry::{Entry, HardState, LogReader, LogStart};
use crate::membership::Members;
use crate::message::{StatePoint, entry_to_raft, snapshot_to_raft};
use raft::eraftpb as pb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;
use types::{LogIndex, ReplicaId, Term};

/// Bytes of entry data a group keeps in memory. Followers that lag by more are served from the disk.
const CACHED_BYTES_MAX: usize = 4 << 20;

pub(crate) struct LogView {
    hard_state: HardState,
    /// As of `applied`.
    members: Members,
    start: LogStart,
    last: LogStart,
    /// Consecutive entries up to `last`.
    cache: VecDeque<Entry>,
    cached_bytes: usize,
    /// The newest entry known to be durable: nothing newer is dropped from the cache.
    durable: LogIndex,
    /// Newest applied entry: where a snapshot taken now would begin.
    applied: LogStart,
    reader: Arc<dyn LogReader>,
}

impl LogView {
    pub(crate) fn new(
        hard_state: HardState,
        members: Members,
        start: LogStart,
        last: LogStart,
        applied: LogStart,
        reader: Arc<dyn LogReader>,
    ) -> Self {
        LogView {
            hard_state,
            members,
            start,
            last,
            cache: VecDeque::new(),
            cached_bytes: 0,
            durable: last.index,
            applied,
            reader,
        }
    }

    pub(crate) fn start(&self) -> LogStart {
        self.start
    }

    pub(crate) fn last(&self) -> LogStart {
        self.last
    }

    /// Takes entries that are on their way to the disk; they replace any conflicting tail.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.cache.back().is_some_and(|last| last.index >= first.index) {
            let dropped = self.cache.pop_back().expect("just seen");
            self.cached_bytes -= dropped.data.len();
        }
        if self.cache.back().is_some_and(|last| last.index.0 + 1 != first.index.0) {
            self.cache.clear();
            self.cached_bytes = 0;
        }
        self.durable = self.durable.min(LogIndex(first.index.0 - 1));
        for entry in entries {
            self.cached_bytes += entry.data.len();
            self.last = LogStart { index: entry.index, term: entry.term };
            self.cache.push_back(entry.clone());
        }
    }

    pub(crate) fn set_durable(&mut self, index: LogIndex) {
        self.durable = self.durable.max(index);
        self.shrink();
    }

    /// `members` if they have changed.
    pub(crate) fn set_applied(&mut self, applied: LogStart, members: Option<Members>) {
        self.applied = applied;
        self.members = members.unwrap_or_else(|| std::mem::take(&mut self.members));
        self.shrink();
    }

    fn shrink(&mut self) {
        let droppable = self.durable.min(self.applied.index);
        while self.cached_bytes > CACHED_BYTES_MAX && self.cache.front().is_some_and(|e| e.index <= droppable) {
            let dropped = self.cache.pop_front().expect("just seen");
            self.cached_bytes -= dropped.data.len();
        }
    }

    /// The durable log was cut off up to `to`.
    pub(crate) fn truncated(&mut self, to: LogStart) {
        self.start = to;
        while self.cache.front().is_some_and(|entry| entry.index <= to.index) {
            let dropped = self.cache.pop_front().expect("just seen");
            self.cached_bytes -= dropped.data.len();
        }
    }

    /// A snapshot replaces the whole log.
    pub(crate) fn restore(&mut self, point: &StatePoint) {
        self.start = point.at;
        self.last = point.at;
        self.applied = point.at;
        self.durable = point.at.index;
        self.members.clone_from(&point.members);
        self.cache.clear();
        self.cached_bytes = 0;
    }

    /// The term of an entry, if it is known without reading.
    fn known_term_of(&self, index: LogIndex) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        if index == self.last.index {
            return Some(self.last.term);
        }
        let first = self.cache.front().filter(|first| index >= first.index)?;
        self.cache.get((index.0 - first.index.0) as usize).map(|entry| entry.term)
    }

    pub(crate) fn term_of(&self, index: LogIndex) -> Option<Term> {
        if index < self.start.index || index > self.last.index {
            return None;
        }
        if let Some(known) = self.known_term_of(index) {
            return Some(known);
        }
        let read = self.reader.entries(index, LogIndex(index.0 + 1), u64::MAX).ok()?;
        read.first().map(|entry| entry.term)
    }
}

fn io_error(error: impl std::error::Error + Send + Sync + 'static) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let mut hard_state = pb::HardState::default();
        hard_state.term = self.hard_state.term.0;
        hard_state.vote = self.hard_state.vote.0;
        hard_state.commit = self.hard_state.commit.0;
        Ok(RaftState::new(hard_state, self.members.to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<pb::Entry>> {
        if low <= self.start.index.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let cached_from = self.cache.front().map_or(u64::MAX, |entry| entry.index.0);
        let mut out = Vec::new();
        let mut bytes = 0u64;
        let mut take = |entry: Entry| {
            bytes = bytes.saturating_add(entry.data.len() as u64 + 16);
            if !out.is_empty() && bytes > max_size {
                return false;
            }
            out.push(entry_to_raft(entry));
            true
        };
        let mut next = low;
        if low < cached_from {
            let to = high.min(cached_from);
            let read = self.reader.entries(LogIndex(low), LogIndex(to), max_size).map_err(io_error)?;
            let whole = read.last().is_some_and(|last| last.index.0 + 1 == to);
            for entry in read {
                if !take(entry) {
                    return Ok(out);
                }
            }
            if !whole {
                return Ok(out);
            }
            next = to;
        }
        while next < high {
            let Some(entry) = self.cache.get((next - cached_from) as usize) else { break };
            if !take(entry.clone()) {
                break;
            }
            next += 1;
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(LogIndex(index)) {
            Some(term) => Ok(term.0),
            None if index < self.start.index.0 => Err(raft::Error::Store(StorageError::Compacted)),
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last.index.0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<pb::Snapshot> {
        let too_old = self.applied.index.0 < request_index.max(self.start.index.0) || self.applied.index.0 == 0;
        // A replica refuses a snapshot that does not know it: the change that takes it in must be applied here first.
        if too_old || !self.members.contains(ReplicaId(to)) {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(snapshot_to_raft(&StatePoint { at: self.applied, members: self.members.clone() }))
    }
}
