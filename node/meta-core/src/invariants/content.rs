//! Contents, lists and chunks: every reference counted, every size right.

use super::{Broken, snapshot::Snapshot};
use crate::chunk::{Chunk, State};
use crate::content::{Body, Content, DIRECT_PIECES_MAX};
use crate::garbage::Garbage;
use crate::list::stored;
use crate::piece::{Piece, Source};
use std::collections::BTreeMap;
use types::{ChunkId, Ino, ListId};

/// References found.
#[derive(Default)]
struct Counted {
    chunks: BTreeMap<ChunkId, u64>,
    lists: BTreeMap<ListId, u64>,
}

impl Counted {
    fn piece(&mut self, piece: &Piece) {
        match piece.source {
            Source::Chunk { chunk, .. } => *self.chunks.entry(chunk.id).or_default() += 1,
            Source::List { list, .. } => self.list(list),
        }
    }

    fn list(&mut self, list: ListId) {
        *self.lists.entry(list).or_default() += 1;
    }
}

pub(super) fn check(snapshot: &Snapshot, broken: &mut Broken) {
    let mut counted = Counted::default();
    for (ino, inode) in &snapshot.inodes {
        if let Some(content) = inode.content() {
            one(snapshot, *ino, content, &mut counted, broken);
        }
    }
    for (list, pieces) in &snapshot.runs {
        broken.unless(in_order(pieces), || format!("{list}: pieces overlap"));
        broken.unless(snapshot.lists.contains_key(list), || format!("{list}: runs without a header"));
        pieces.iter().for_each(|piece| counted.piece(piece));
    }
    for (upload, parts) in &snapshot.parts {
        let sweep = snapshot.sweeps.get(upload);
        for (number, part) in parts {
            if let Some(list) = part.list.filter(|_| !sweep.is_some_and(|sweep| sweep.took(*number))) {
                counted.list(list);
            }
        }
    }
    references(snapshot, &counted, broken);
    for ino in snapshot.inline.keys().chain(snapshot.xattrs.keys()) {
        broken.unless(snapshot.inodes.contains_key(ino), || format!("{ino} is gone, its data is not"));
    }
}

/// One inode's content agrees with itself.
fn one(snapshot: &Snapshot, ino: Ino, content: &Content, counted: &mut Counted, broken: &mut Broken) {
    let inline = snapshot.inline.get(&ino).copied().unwrap_or(0);
    let mut sum = PieceSum::default();
    match &content.body {
        Body::Direct(pieces) => {
            pieces.iter().for_each(|piece| counted.piece(piece));
            sum.add(pieces);
        }
        Body::List(list) => {
            counted.list(*list);
            sum.add(snapshot.runs.get(list).map_or(&[], Vec::as_slice));
        }
    }
    agrees(ino, content, inline, &sum, broken);
}

/// What pieces come to, taken in one run after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PieceSum {
    /// Where the last one ends.
    pub(crate) end: u64,
    stored: u64,
    pub(crate) overlap: bool,
}

impl PieceSum {
    /// Adds the next run.
    pub(crate) fn add(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            self.overlap |= piece.len == 0 || piece.offset < self.end;
            self.end = self.end.max(piece.end());
        }
        self.stored = self.stored.saturating_add(stored(pieces));
    }
}

/// A content agrees with its inline bytes and its pieces.
pub(crate) fn agrees(ino: Ino, content: &Content, inline: usize, sum: &PieceSum, broken: &mut Broken) {
    broken.unless(inline == usize::from(content.inline), || format!("{ino}: inline {inline}, not {}", content.inline));
    broken.unless(inline as u64 <= content.size, || format!("{ino}: inline beyond the end"));
    if let Body::Direct(pieces) = &content.body {
        broken.unless(pieces.len() <= DIRECT_PIECES_MAX, || format!("{ino}: too many direct pieces"));
    }
    broken.unless(!sum.overlap, || format!("{ino}: pieces overlap"));
    broken.unless(sum.end <= content.size, || format!("{ino}: pieces to {}, size {}", sum.end, content.size));
    let bytes = sum.stored.saturating_add(inline as u64);
    broken.unless(bytes == content.stored, || format!("{ino}: {bytes} bytes stored, {} counted", content.stored));
}

fn in_order(pieces: &[Piece]) -> bool {
    pieces.iter().all(|piece| piece.len > 0) && pieces.windows(2).all(|pair| pair[0].end() <= pair[1].offset)
}

/// A list's references are those that were found, and one that nothing refers to is named as garbage.
pub(crate) fn list_references(id: ListId, counted: u64, refs: u64, garbage: bool, broken: &mut Broken) {
    broken.unless(refs == counted, || format!("{id}: {refs} references, {counted} counted"));
    broken.unless(refs > 0 || garbage, || format!("{id}: unused and not garbage"));
}

/// A list is deeper than all lists that its windows show. Cutting the deepest window away may leave it above the truth, never below.
pub(crate) fn depth(id: ListId, depth: u8, below: u8, broken: &mut Broken) {
    broken.unless(depth > below, || format!("{id}: depth {depth}"));
}

/// The tables of staged and condemned chunks say what a chunk's row says.
pub(crate) fn chunk_tables(id: ChunkId, chunk: &Chunk, staged: bool, condemned: bool, broken: &mut Broken) {
    broken.unless(staged == (chunk.state == State::Staged), || format!("{id}: staged {staged}, {:?}", chunk.state));
    broken.unless(condemned == chunk.is_condemned(), || format!("{id}: condemned {condemned}, {:?}", chunk.state));
}

/// A chunk's references are those that were found, and one that nothing refers to waits for something.
pub(crate) fn chunk_references(id: ChunkId, counted: u64, state: State, refs: u64, garbage: bool, broken: &mut Broken) {
    broken.unless(refs == counted, || format!("{id}: {refs} references, {counted} counted"));
    broken.unless(refs == 0 || state == State::Plain, || format!("{id}: {refs} references, {state:?}"));
    let known = refs > 0 || garbage || state != State::Plain;
    broken.unless(known, || format!("{id}: unused, neither staged nor garbage nor condemned"));
}

fn references(snapshot: &Snapshot, counted: &Counted, broken: &mut Broken) {
    for (id, header) in &snapshot.lists {
        let refs = counted.lists.get(id).copied().unwrap_or(0);
        list_references(*id, header.refs, refs, snapshot.garbage.contains(&Garbage::List(*id)), broken);
        let below = snapshot.runs.get(id).into_iter().flatten().filter_map(|piece| match piece.source {
            Source::List { list, .. } => snapshot.lists.get(&list).map(|header| header.depth),
            Source::Chunk { .. } => None,
        });
        depth(*id, header.depth, below.max().unwrap_or(0), broken);
    }
    for id in counted.lists.keys() {
        broken.unless(snapshot.lists.contains_key(id), || format!("{id} is referred to, but gone"));
    }
    for (id, chunk) in &snapshot.chunks {
        let refs = counted.chunks.get(id).copied().unwrap_or(0);
        let staged = snapshot.staged.contains(&(id.session(), *id));
        chunk_tables(*id, chunk, staged, snapshot.condemned.contains(id), broken);
        let garbage = snapshot.garbage.contains(&Garbage::Chunk(*id));
        chunk_references(*id, chunk.refs, chunk.state, refs, garbage, broken);
    }
    let condemned = snapshot.condemned.iter();
    for id in counted.chunks.keys().chain(snapshot.under_replicated.keys()).chain(condemned) {
        broken.unless(snapshot.chunks.contains_key(id), || format!("{id} is referred to, but not known"));
    }
}
