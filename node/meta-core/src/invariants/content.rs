//! Contents, lists and chunks: every reference counted, every size right.

use super::{Broken, snapshot::Snapshot};
use crate::chunk::State;
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
    broken.unless(inline == usize::from(content.inline), || format!("{ino}: inline {inline}, not {}", content.inline));
    broken.unless(inline as u64 <= content.size, || format!("{ino}: inline beyond the end"));
    let empty = Vec::new();
    let pieces = match &content.body {
        Body::Direct(pieces) => {
            broken.unless(pieces.len() <= DIRECT_PIECES_MAX, || format!("{ino}: too many direct pieces"));
            pieces.iter().for_each(|piece| counted.piece(piece));
            pieces
        }
        Body::List(list) => {
            counted.list(*list);
            snapshot.runs.get(list).unwrap_or(&empty)
        }
    };
    broken.unless(in_order(pieces), || format!("{ino}: pieces overlap"));
    let end = pieces.last().map_or(0, Piece::end);
    broken.unless(end <= content.size, || format!("{ino}: pieces to {end}, size {}", content.size));
    let bytes = inline as u64 + stored(pieces);
    broken.unless(bytes == content.stored, || format!("{ino}: {bytes} bytes stored, {} counted", content.stored));
}

fn in_order(pieces: &[Piece]) -> bool {
    pieces.iter().all(|piece| piece.len > 0) && pieces.windows(2).all(|pair| pair[0].end() <= pair[1].offset)
}

fn references(snapshot: &Snapshot, counted: &Counted, broken: &mut Broken) {
    for (id, header) in &snapshot.lists {
        let refs = counted.lists.get(id).copied().unwrap_or(0);
        broken.unless(refs == header.refs, || format!("{id}: {refs} references, {} counted", header.refs));
        let garbage = snapshot.garbage.contains(&Garbage::List(*id));
        broken.unless(refs > 0 || garbage, || format!("{id}: unused and not garbage"));
        let below = snapshot.runs.get(id).into_iter().flatten().filter_map(|piece| match piece.source {
            Source::List { list, .. } => snapshot.lists.get(&list).map(|header| header.depth),
            Source::Chunk { .. } => None,
        });
        // Cutting the deepest window away may leave the header above the truth, never below.
        broken.unless(header.depth > below.max().unwrap_or(0), || format!("{id}: depth {}", header.depth));
    }
    for id in counted.lists.keys() {
        broken.unless(snapshot.lists.contains_key(id), || format!("{id} is referred to, but gone"));
    }
    for (id, chunk) in &snapshot.chunks {
        let refs = counted.chunks.get(id).copied().unwrap_or(0);
        broken.unless(refs == chunk.refs, || format!("{id}: {refs} references, {} counted", chunk.refs));
        let staged = snapshot.staged.contains(&(id.session(), *id));
        broken.unless(staged == (chunk.state == State::Staged), || format!("{id}: staged {staged}, {:?}", chunk.state));
        let condemned = snapshot.condemned.contains(id);
        broken.unless(condemned == chunk.is_condemned(), || format!("{id}: condemned {condemned}, {:?}", chunk.state));
        broken
            .unless(refs == 0 || chunk.state == State::Plain, || format!("{id}: {refs} references, {:?}", chunk.state));
        let garbage = snapshot.garbage.contains(&Garbage::Chunk(*id));
        let known = refs > 0 || staged || garbage || condemned;
        broken.unless(known, || format!("{id}: unused, neither staged nor garbage nor condemned"));
    }
    let condemned = snapshot.condemned.iter();
    for id in counted.chunks.keys().chain(snapshot.under_replicated.keys()).chain(condemned) {
        broken.unless(snapshot.chunks.contains_key(id), || format!("{id} is referred to, but not known"));
    }
}
