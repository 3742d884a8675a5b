//! What the records say, held against the index while they go by.

use super::{Held, REINDEX, REPAIR};
use crate::error::StoreError;
use crate::index::{Entry, Index, Located, Position};
use crate::record::{self, HEADER_BYTES, Header, Kind, SegmentNo, record_bytes};
use crate::recovery::Taker;
use std::collections::BTreeMap;
use types::{ChunkId, Findings};

/// Chunks behind the index that are kept by name. A checkpoint of 256 MiB has at most a sixteenth of that.
const BEHIND_MAX: usize = 1 << 20;

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) rowless: u64,
    /// What the segments say behind the index, or all they say if there is none: after a crash the next start takes it up.
    pub(super) behind: BTreeMap<ChunkId, Held>,
    /// More of that than is kept.
    pub(super) far_behind: bool,
    /// Bytes of whole records that the index takes for live, by segment.
    pub(super) live: BTreeMap<SegmentNo, u64>,
}

pub(super) struct Against<'a> {
    index: Option<&'a (Index, Position)>,
    deep: bool,
    findings: &'a mut Findings,
    progress: &'a mut dyn FnMut(u64),
    seen: Seen,
}

impl<'a> Against<'a> {
    pub(super) fn new(
        index: Option<&'a (Index, Position)>,
        deep: bool,
        findings: &'a mut Findings,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Against { index, deep, findings, progress, seen: Seen::default() }
    }

    /// All records have gone by.
    pub(super) fn end(self) -> Seen {
        if self.index.is_some() && !self.seen.behind.is_empty() {
            let what = format!("{} chunks are not in it yet", self.seen.behind.len());
            self.findings.note("index-behind", "the index", what, "nothing: the next start takes them up");
        }
        self.seen
    }

    /// Holds what a record says of a chunk against its row.
    fn compare(&mut self, chunk: ChunkId, said: &Entry) {
        let Some((index, position)) = self.index else {
            self.is_behind(chunk, Held::from(said));
            return;
        };
        let row = match index.get(chunk) {
            Ok(row) => row,
            Err(error) => {
                self.findings.warning("index-damaged", chunk, error, REINDEX);
                return;
            }
        };
        match (said, row) {
            // Compaction may have written it anew behind the position, with the former record still there: then it is known.
            (Entry::Live(said), row) if said.place >= position.place && !is_row_of(row, said) => {
                self.is_behind(chunk, Held::Live(said.len, said.root));
            }
            (Entry::Live(said), Some(Entry::Live(row))) if said.place == row.place => {
                if *said == row {
                    *self.seen.live.entry(said.place.segment).or_default() += record_bytes(said.len as usize);
                } else {
                    let what = "the index has another length or hash for it than its record";
                    self.findings.damage(
                        "index-differs",
                        chunk,
                        what,
                        "remove the folder `index`; the next start makes it anew",
                    );
                }
            }
            (Entry::Live(_), None) => self.seen.rowless += 1,
            // A tombstone of a segment that was on its way out may have been forgotten; one that is there is obeyed.
            (Entry::Tombstone(segment), Some(Entry::Live(_))) if *segment < position.place.segment => {
                let what = "it was deleted, and the index says that it is there";
                self.findings.warning(
                    "index-differs",
                    chunk,
                    what,
                    "remove the folder `index`; the next start makes it anew",
                );
            }
            (Entry::Tombstone(segment), row)
                if *segment >= position.place.segment && !matches!(row, Some(Entry::Tombstone(_))) =>
            {
                self.is_behind(chunk, Held::Deleted);
            }
            // A former record of a chunk that was moved, deleted or damaged; or a damaged one, which is looked at by its row.
            _ => {}
        }
    }

    fn is_behind(&mut self, chunk: ChunkId, held: Held) {
        if self.seen.behind.len() < BEHIND_MAX || self.seen.behind.contains_key(&chunk) {
            self.seen.behind.insert(chunk, held);
        } else {
            self.seen.far_behind = true;
        }
    }

    /// Computes the hashes of a record that the index takes for live.
    fn hash(&mut self, header: &Header, bytes: &[u8]) {
        let row = self.index.map(|(index, _)| index.get(header.chunk));
        if let Some(Ok(row)) = row
            && !matches!(row, Some(Entry::Live(row)) if row.place == header.place)
        {
            return;
        }
        let data = record::data(bytes, header);
        let leaves = types::leaves_of(data);
        let stored = &bytes[HEADER_BYTES + data.len()..][..leaves.as_flattened().len()];
        let place = format!("{} at {} of segment {:x}", header.chunk, header.place.offset, header.place.segment.0);
        if types::root_of(data, &leaves) != header.root {
            let what = "the data does not have its BLAKE3 hash, although its CRC is right";
            self.findings.damage("chunk-damaged", place, what, REPAIR);
        } else if stored != leaves.as_flattened() {
            let what = "the leaf hashes are not those of the data";
            self.findings.warning(
                "chunk-frame-damaged",
                place,
                what,
                "start the node: the scrub writes the record anew",
            );
        }
    }
}

/// Whether a row is about the same bytes, wherever they lie.
fn is_row_of(row: Option<Entry>, said: &Located) -> bool {
    matches!(row, Some(Entry::Live(row)) if (row.root, row.len) == (said.root, said.len))
}

impl Taker for Against<'_> {
    fn record(&mut self, header: &Header, bytes: &[u8]) {
        self.seen.records += 1;
        self.seen.bytes += bytes.len() as u64;
        (self.progress)(bytes.len() as u64);
        if self.deep && header.kind == Kind::Put {
            self.hash(header, bytes);
        }
    }

    fn take(&mut self, changes: &[(ChunkId, Entry)], _: Position) -> Result<(), StoreError> {
        changes.iter().for_each(|(chunk, entry)| self.compare(*chunk, entry));
        Ok(())
    }
}
