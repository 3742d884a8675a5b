//! Counted extent lists: the pieces of a large content, kept once and referred to by inodes, parts and windows.
//!
//! Moving a content (completing an upload, copying, trashing) moves a reference to its list. Only a list that
//! one inode alone refers to is ever edited; over any other a window is laid, which can be cut and split without touching
//! the list.

use crate::garbage::Garbage;
use crate::key::list::{ListKey, RunKey};
use crate::kv::{KvError, KvRead};
use crate::piece::{Piece, Source, runs};
use crate::row::{self, Corrupt};
use crate::txn::{Step, Txn};
use proto::meta::Refusal;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use types::{ListId, Timestamp};

/// Lists that windows may lead through until the last chunk. Each level costs a read a seek.
pub(crate) const LIST_DEPTH_MAX: u8 = 8;
/// Pieces that one command may change inside a list; a larger edit lays a window over the old list instead.
pub(crate) const EDIT_PIECES_MAX: usize = 1024;
/// Pieces in a row. More make rows that are rewritten for one changed piece dear, fewer make rows many.
const PIECES_PER_ROW: usize = 16;
/// Windows in a row: they are smaller and seldom edited, and 10,000 parts must fit a command.
const WINDOWS_PER_ROW: usize = 64;
/// Rows read at a time.
const SCAN_ROWS: usize = 64;

/// The head of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListHeader {
    /// Inodes, parts and windows that refer to it.
    pub(crate) refs: u64,
    /// 1 if all its pieces lie in chunks, else one more than the deepest list a window of it shows.
    pub(crate) depth: u8,
    /// When a reference to it was last dropped, if ever.
    pub(crate) dropped: Option<Timestamp>,
}

/// A row of a list: the end it is keyed by, and its pieces.
type Run = (u64, Vec<Piece>);

/// The rows of a list that overlap a range, one at a time.
pub(crate) struct Runs<'a> {
    kv: &'a dyn KvRead,
    rows: std::vec::IntoIter<Run>,
    from: Option<Vec<u8>>,
    upper: Vec<u8>,
    end: u64,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(kv: &'a dyn KvRead, list: ListId, range: &Range<u64>) -> Self {
        let from = Some(RunKey::beyond(list, range.start));
        Runs { kv, rows: Vec::new().into_iter(), from, upper: RunKey::upper(list), end: range.end }
    }

    /// The next row: the number it is keyed by, and its pieces.
    pub(crate) fn next(&mut self) -> Result<Option<Run>, KvError> {
        loop {
            if let Some((key, pieces)) = self.rows.next() {
                let begins = pieces.first().map_or(u64::MAX, |piece| piece.offset);
                return Ok((begins < self.end).then_some((key, pieces)));
            }
            let Some(from) = self.from.take() else { return Ok(None) };
            let rows = self.kv.scan(&from, &self.upper, SCAN_ROWS)?;
            if rows.len() == SCAN_ROWS {
                self.from = rows.last().map(|(key, _)| [key, &[0][..]].concat());
            }
            let rows = rows.iter().map(|(key, value)| {
                let pieces = row::decode::<RunKey>(key, value)?;
                let end = pieces.last().map(Piece::end).ok_or_else(|| Corrupt::Row(key.to_vec()))?;
                Ok((end, pieces))
            });
            self.rows = rows.collect::<Result<Vec<_>, KvError>>()?.into_iter();
        }
    }
}

/// All pieces of a list if there are at most `max`.
fn few_pieces(kv: &dyn KvRead, list: ListId, max: usize) -> Result<Option<Vec<Piece>>, KvError> {
    let mut pieces = Vec::new();
    let mut runs = Runs::new(kv, list, &(0..u64::MAX));
    while let Some((_, run)) = runs.next()? {
        pieces.extend(run);
        if pieces.len() > max {
            return Ok(None);
        }
    }
    Ok(Some(pieces))
}

impl Txn<'_> {
    /// A new list with one reference. The references of `pieces` are taken over.
    pub(crate) fn create_list(&mut self, pieces: &[Piece]) -> Step<ListId> {
        let depth = 1 + self.depth_of(pieces)?;
        if depth > LIST_DEPTH_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let list = self.next_list();
        self.write(&ListKey(list), &ListHeader { refs: 1, depth, dropped: None });
        self.write_runs(list, pieces);
        Ok(list)
    }

    /// The depth of the deepest list that a window among `pieces` shows; 0 without one.
    pub(crate) fn depth_of(&self, pieces: &[Piece]) -> Step<u8> {
        let mut depth = 0;
        let mut seen = None;
        for piece in pieces {
            if let Source::List { list, .. } = piece.source
                && seen.replace(list) != Some(list)
            {
                depth = depth.max(self.require(&ListKey(list))?.depth);
            }
        }
        Ok(depth)
    }

    fn write_runs(&mut self, list: ListId, pieces: &[Piece]) {
        let windows = pieces.iter().all(|piece| matches!(piece.source, Source::List { .. }));
        for run in pieces.chunks(if windows { WINDOWS_PER_ROW } else { PIECES_PER_ROW }) {
            let end = run.last().expect("chunks are not empty").end();
            self.write(&RunKey { list, end }, &run.to_vec());
        }
    }

    pub(crate) fn retain_list(&mut self, list: ListId, references: u64) -> Step<()> {
        let mut header = self.require(&ListKey(list))?;
        header.refs += references;
        self.write(&ListKey(list), &header);
        Ok(())
    }

    /// Drops a reference; the last one makes the list garbage. Its pieces keep theirs until it is collected.
    pub(crate) fn release_list(&mut self, list: ListId) -> Step<()> {
        let key = ListKey(list);
        let mut header = self.require(&key)?;
        let Some(refs) = header.refs.checked_sub(1) else {
            return Err(KvError::from(Corrupt::Row(row::Key::encode(&key))).into());
        };
        header.refs = refs;
        header.dropped = header.dropped.max(Some(self.dropped_at));
        self.write(&key, &header);
        if refs == 0 {
            self.garbage.push(Garbage::List(list));
        }
        Ok(())
    }

    pub(crate) fn retain(&mut self, source: &Source, references: u64) -> Step<()> {
        match source {
            Source::Chunk { chunk, .. } => self.retain_chunk(chunk.id, references),
            Source::List { list, .. } => self.retain_list(*list, references),
        }
    }

    pub(crate) fn release(&mut self, source: &Source) -> Step<()> {
        match source {
            Source::Chunk { chunk, .. } => self.release_chunk(chunk.id),
            Source::List { list, .. } => self.release_list(*list),
        }
    }

    /// Takes `holes` out of pieces and keeps the count of references right.
    pub(crate) fn punch(&mut self, pieces: Vec<Piece>, holes: &[Range<u64>]) -> Step<Vec<Piece>> {
        let mut left = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let rest = piece.without(holes);
            match rest.len() as u64 {
                0 => self.release(&piece.source)?,
                1 => {}
                split => self.retain(&piece.source, split - 1)?,
            }
            left.extend(rest);
        }
        Ok(left)
    }

    /// Whether a list may be edited in place at `ranges`: it is one inode's alone, and few pieces are touched.
    pub(crate) fn editable(&self, list: ListId, ranges: &[Range<u64>]) -> Step<bool> {
        if self.require(&ListKey(list))?.refs > 1 {
            return Ok(false);
        }
        let mut touched = 0;
        for range in ranges {
            let mut runs = Runs::new(self.rows(), list, range);
            while let Some((_, pieces)) = runs.next()? {
                touched += pieces.len();
                if touched > EDIT_PIECES_MAX {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Replaces what lies under each run of `new` (pieces in order) by it. Returns the bytes of storage dropped.
    /// The list must be [`Txn::editable`].
    pub(crate) fn edit_list(&mut self, list: ListId, new: &[Piece]) -> Step<u64> {
        let mut dropped = 0;
        let mut rest = new;
        for run in runs(new) {
            let (now, later) = rest.split_at(rest.partition_point(|piece| piece.offset < run.end));
            rest = later;
            dropped += self.replace_run(list, &run, now)?;
        }
        Ok(dropped)
    }

    /// Replaces what lies in `range` by `new`. Returns the bytes of storage dropped.
    pub(crate) fn replace_run(&mut self, list: ListId, range: &Range<u64>, new: &[Piece]) -> Step<u64> {
        let mut old = Vec::new();
        let mut ends = Vec::new();
        let mut runs = Runs::new(self.rows(), list, range);
        while let Some((end, pieces)) = runs.next()? {
            ends.push(end);
            old.extend(pieces);
        }
        for end in ends {
            self.remove(&RunKey { list, end });
        }
        let before = stored(&old);
        let mut left = self.punch(old, std::slice::from_ref(range))?;
        let dropped = before - stored(&left);
        let at = left.partition_point(|piece| piece.offset < range.start);
        left.splice(at..at, new.iter().cloned());
        self.write_runs(list, &left);
        Ok(dropped)
    }

    /// Drops the references of a list that nothing refers to, about `budget` pieces of them, as of `since`. Whether it is gone.
    pub(crate) fn dissolve_list(&mut self, list: ListId, since: Timestamp, budget: &mut usize) -> Step<bool> {
        let mut runs = Vec::new();
        let mut all = Runs::new(self.rows(), list, &(0..u64::MAX));
        let mut gone = true;
        while let Some((end, pieces)) = all.next()? {
            if *budget == 0 && !runs.is_empty() {
                gone = false;
                break;
            }
            *budget = budget.saturating_sub(pieces.len());
            runs.push((end, pieces));
        }
        self.dropped_at = since;
        for (end, pieces) in runs {
            self.remove(&RunKey { list, end });
            for piece in &pieces {
                self.release(&piece.source)?;
            }
        }
        self.dropped_at = self.now;
        if gone {
            self.remove(&ListKey(list));
        }
        Ok(gone)
    }

    /// Turns the inode's reference to a list into references to all its pieces, if there are at most `max`.
    pub(crate) fn unfold_list(&mut self, list: ListId, max: usize) -> Step<Option<Vec<Piece>>> {
        let Some(pieces) = few_pieces(self.rows(), list, max)? else { return Ok(None) };
        for piece in &pieces {
            self.retain(&piece.source, 1)?;
        }
        self.release_list(list)?;
        Ok(Some(pieces))
    }
}

/// Bytes of storage that pieces stand for.
pub(crate) fn stored(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::stored).fold(0, u64::saturating_add)
}
