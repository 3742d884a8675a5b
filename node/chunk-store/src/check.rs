//! A look at a data directory that changes nothing in it: for `sago fsck`, with the node stopped.
//!
//! ```text
//!  identity, names ──▶ index, read-only ──▶ every record of every segment, in order ──▶ each against its row of the index
//!                                                                                  ──▶ all rows counted, against what the records came to
//! ```
//!
//! | code | found |
//! | --- | --- |
//! | `disk-missing`, `disk-identity-missing`, `disk-identity-damaged` | who the disk is cannot be told; nothing more is looked at |
//! | `disk-foreign`, `disk-swapped` | it is another's |
//! | `disk-stranger`, `scrub-damaged` | names that no disk has; where the scrub stood is forgotten |
//! | `index-missing`, `index-damaged`, `index-behind` | the index is made anew, or brought up to the segments, at the next start |
//! | `index-differs`, `index-sums` | rows that say other than the records do, or are counted wrong |
//! | `segments-missing`, `segment-missing`, `segment-head-damaged`, `segment-unreadable` | a file or a part of one is gone |
//! | `segment-damaged`, `segment-torn` | a place holds no record although it did; the tail of a write that was never acknowledged |
//! | `chunk-damaged`, `chunk-frame-damaged`, `chunk-quarantined` | a replica that the index counts on is not what it should be |
//!
//! Every record is read whole and its CRCs are checked; `deep` also computes every BLAKE3. Records that the index knows to be in the
//! segments are all seen if their bytes, added up by segment, are those that the rows come to; only where they are not, the rows of that segment
//! are looked at one by one. So memory stays at a few bytes a segment, and each byte is read once.
//!
//! What it cannot see: whether the node should have a chunk of which it has neither record nor row. The metadata knows that ([`CheckedDisk::held`]).

mod against;

#[cfg(test)]
mod tests;

use crate::error::{OpenError, StoreError};
use crate::files::ReadOnlyFiles;
use crate::get;
use crate::identity::{self, IDENTITY, IDENTITY_TEMPORARY, Identity, LOCK};
use crate::index::{DISTRUST, Entry, Index, Located, Position};
use crate::record::{Place, SegmentNo};
use crate::recovery::Scan;
use crate::scrub::state::{NAME as SCRUB, NEW_NAME as SCRUB_NEW, ScrubState};
use crate::segment::{SegmentHeader, Segments, number_of};
use crate::verify::read_record;
use against::Against;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use types::{Blake3Root, ChunkId, DiskId, Findings, NodeId};

const REPAIR: &str = "start the node: the copy is written anew from another member";
const REINDEX: &str =
    "nothing: the next start makes the index anew from the segments, which takes a read of the whole disk";
const LOST_DISK: &str =
    "take the disk out (`sago placement disk ID failed`) and add an empty one; the copies are made anew elsewhere";
const MOUNTED: &str = "look whether the right file systems are mounted at the right places";
const LOOK: &str = "look what it is; Sago does not use it";

/// A data directory that was checked. It stays locked as long as the value lives, so that no node starts on it meanwhile.
pub struct CheckedDisk {
    /// Which disk it is.
    pub disk: DiskId,
    /// What was seen.
    pub summary: DiskSummary,
    index: Option<Index>,
    /// What the segments say behind the index, or all they say if there is none.
    behind: BTreeMap<ChunkId, Held>,
    /// There is more of that than is kept.
    far_behind: bool,
    _lock: Option<File>,
}

/// What was seen of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSummary {
    /// Segment files.
    pub segments: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Live chunks in the index.
    pub chunks: u64,
    /// Bytes of them.
    pub chunk_bytes: u64,
    /// Chunks known to be damaged.
    pub quarantined: u64,
    /// Records whose chunk has no row: it moved away, or its row was lost.
    pub rowless: u64,
}

/// What a disk has of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A replica of this length and hash.
    Live(u32, Blake3Root),
    /// It was deleted.
    Deleted,
    /// A damaged replica, which is known.
    Quarantined,
    /// Nothing.
    Nothing,
    /// There is no index that could say.
    Unknown,
}

impl From<&Entry> for Held {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Live(located) => Held::Live(located.len, located.root),
            Entry::Tombstone(_) => Held::Deleted,
            Entry::Quarantined(_) => Held::Quarantined,
        }
    }
}

impl CheckedDisk {
    /// What the disk has of a chunk, by its index and the records behind that.
    #[must_use]
    pub fn held(&self, chunk: ChunkId) -> Held {
        match self.behind.get(&chunk) {
            Some(held) => *held,
            None => match self.indexed(chunk) {
                Held::Nothing if self.far_behind => Held::Unknown,
                held => held,
            },
        }
    }

    fn indexed(&self, chunk: ChunkId) -> Held {
        match self.index.as_ref().map(|index| index.get(chunk)) {
            None | Some(Err(_)) => Held::Unknown,
            Some(Ok(None)) => Held::Nothing,
            Some(Ok(Some(entry))) => Held::from(&entry),
        }
    }

    /// Shows all chunks that the index takes for live, in the order of their ids; none if there is no index.
    pub fn each_live(&self, mut visit: impl FnMut(ChunkId)) {
        const PAGE: usize = 1024;
        let Some(index) = &self.index else { return };
        let mut after = None;
        // A row that cannot be read was reported by the check.
        while let Ok(page) = index.list(after, PAGE) {
            page.iter().for_each(|(chunk, _)| visit(*chunk));
            after = page.last().map(|(chunk, _)| *chunk);
            if page.len() < PAGE {
                return;
            }
        }
    }
}

/// Checks the data directory `path`, which should be `node`'s and, with `disk`, that disk, and notes everything that is wrong. Changes no byte.
/// `progress` is told of the bytes of records as they are read. `None`: who the disk is cannot be told.
///
/// # Errors
/// It could not be checked: [`OpenError::Locked`], or [`OpenError::Disk`] if not even the folders can be read.
pub fn check(
    path: &Path,
    node: NodeId,
    disk: Option<DiskId>,
    deep: bool,
    findings: &mut Findings,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<CheckedDisk>, OpenError> {
    let failed = |source: io::Error| OpenError::Disk { path: path.to_owned(), source: StoreError::Io(source) };
    let names = match names(path) {
        Ok(names) if names.iter().any(|name| name != LOCK && name != "lost+found") => names,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {
            findings.damage("disk-missing", path.display(), "there is no disk here", MOUNTED);
            return Ok(None);
        }
    };
    let lock = identity::hold(path)?;
    for name in names.iter().filter(|name| !KNOWN.contains(&name.as_str())) {
        findings.note("disk-stranger", path.join(name).display(), "not a file of a disk", LOOK);
    }
    let Some(identity) = identify(path, node, disk, findings).map_err(failed)? else { return Ok(None) };
    if names.iter().any(|name| name == SCRUB) && !ScrubState::is_readable(path) {
        let what = "where the scrub stood cannot be read";
        findings.note("scrub-damaged", path.join(SCRUB).display(), what, "nothing: the next scrub begins anew");
    }
    let index = open_index(path, &identity, findings);
    let (mut summary, mut seen) = (DiskSummary::default(), against::Seen::default());
    let segments_path = path.join("segments");
    let files = Arc::new(ReadOnlyFiles::new(&segments_path));
    let segments = Segments::new(files.clone());
    match segments.list() {
        Ok(numbers) => {
            summary.segments = numbers.len() as u64;
            let look = Look { path: &segments_path, identity: &identity, segments: &segments, numbers: &numbers };
            look.heads(findings).map_err(failed)?;
            seen = look.records(index.as_ref(), deep, &mut summary, findings, progress);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && index.is_none() => {
            findings.note("disk-unfinished", path.display(), "the disk was never used", "start the node");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.damage("segments-missing", segments_path.display(), "all segments are gone", LOST_DISK);
        }
        Err(error) => return Err(failed(error)),
    }
    for (name, blocks) in files.unreadable() {
        let what = format!("the medium does not give {blocks} blocks of 4 KiB");
        findings.damage("segment-unreadable", segments_path.join(name).display(), what, LOST_DISK);
    }
    let (index, against::Seen { behind, far_behind, .. }) = (index.map(|(index, _)| index), seen);
    Ok(Some(CheckedDisk { disk: identity.disk, summary, index, behind, far_behind, _lock: lock }))
}

/// What may stand in a data directory.
const KNOWN: [&str; 9] =
    [IDENTITY, IDENTITY_TEMPORARY, LOCK, "segments", "index", DISTRUST, SCRUB, SCRUB_NEW, "lost+found"];

fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(path)?;
    let mut names: Vec<_> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()?;
    names.sort_unstable();
    Ok(names)
}

fn identify(path: &Path, node: NodeId, disk: Option<DiskId>, findings: &mut Findings) -> io::Result<Option<Identity>> {
    let place = path.join(IDENTITY);
    let Some(text) = identity::read(path)? else {
        let what = "the identity is missing: neither the disk's id nor the mark of its records is known";
        findings.damage("disk-identity-missing", place.display(), what, LOST_DISK);
        return Ok(None);
    };
    let Some(identity) = Identity::decode(&text) else {
        let what = "the identity is damaged, or of a format that this program does not know";
        findings.damage("disk-identity-damaged", place.display(), what, LOST_DISK);
        return Ok(None);
    };
    if identity.node != node {
        let what = format!("a disk of {}, not of {node}", identity.node);
        findings.damage("disk-foreign", path.display(), what, MOUNTED);
    } else if let Some(expected) = disk.filter(|expected| *expected != identity.disk) {
        let what = format!("disk {}, where {expected} should be", identity.disk);
        findings.damage("disk-swapped", path.display(), what, MOUNTED);
    }
    Ok(Some(identity))
}

fn open_index(path: &Path, identity: &Identity, findings: &mut Findings) -> Option<(Index, Position)> {
    let place = path.join("index");
    if path.join(DISTRUST).exists() {
        let what = "it gave wrong answers and is not believed";
        findings.warning("index-damaged", place.display(), what, REINDEX);
        return None;
    }
    if let Err(error) = rocks_check::check_folder(&place) {
        findings.warning("index-damaged", place.display(), error, REINDEX);
        return None;
    }
    match Index::open_read_only(path, identity.disk) {
        Ok(Some(opened)) => return Some(opened),
        Ok(None) => findings.note("index-missing", place.display(), "there is no index, or an empty one", REINDEX),
        Err(error) => findings.warning("index-damaged", place.display(), error, REINDEX),
    }
    None
}

/// What is looked at.
struct Look<'a> {
    path: &'a Path,
    identity: &'a Identity,
    segments: &'a Segments,
    numbers: &'a [SegmentNo],
}

impl Look<'_> {
    /// First blocks, and names that are no segment's.
    fn heads(&self, findings: &mut Findings) -> io::Result<()> {
        for name in names(self.path)?.iter().filter(|name| number_of(name).is_none()) {
            findings.note("disk-stranger", self.path.join(name).display(), "not a segment", LOOK);
        }
        for number in self.numbers {
            let file = self.segments.get(*number)?;
            if SegmentHeader::read(&*file, &self.identity.tag, *number)?.is_none() && file.next_data(0)?.is_some() {
                let what = "the first block is damaged: where the segment before ends is not known";
                findings.warning(
                    "segment-head-damaged",
                    self.place(*number),
                    what,
                    "nothing: its records are read as ever",
                );
            }
        }
        Ok(())
    }

    fn place(&self, segment: SegmentNo) -> String {
        self.path.join(crate::segment::name_of(segment)).display().to_string()
    }

    /// All records, against the index if there is one.
    fn records(
        &self,
        index: Option<&(Index, Position)>,
        deep: bool,
        summary: &mut DiskSummary,
        findings: &mut Findings,
        progress: &mut dyn FnMut(u64),
    ) -> against::Seen {
        let mut against = Against::new(index, deep, findings, progress);
        let mut scan = Scan::new(&mut against, None);
        let begin = Place { segment: SegmentNo(0), offset: 0 };
        let scanned = scan.all(self.segments, self.numbers, begin, &self.identity.tag).and_then(|_| scan.finish());
        let report = std::mem::take(&mut scan.report);
        let seen = against.end();
        (summary.records, summary.bytes, summary.rowless) = (seen.records, seen.bytes, seen.rowless);
        if let Err(error) = scanned {
            findings.damage("segment-unreadable", self.path.display(), error, LOST_DISK);
            return seen;
        }
        self.damage(&report, index.is_some(), &seen, findings);
        let Some((index, position)) = index else { return seen };
        let start = position.place.segment;
        if !self.numbers.contains(&start) && start.0 > 0 {
            let what = "the index knows of records in it, and it is gone";
            findings.damage("segment-missing", self.place(start), what, LOST_DISK);
        }
        if let Err(error) = self.rows(index, &seen, summary, findings) {
            findings.warning("index-damaged", "the index", error, REINDEX);
        }
        seen
    }

    fn damage(
        &self,
        report: &crate::recovery::RecoveryReport,
        known: bool,
        seen: &against::Seen,
        findings: &mut Findings,
    ) {
        for damage in &report.damage {
            let place = format!("{} at {}", self.place(damage.segment), damage.offset);
            let what = match damage.chunk {
                Some(chunk) => format!("{} bytes are not the record of {chunk} that they were", damage.bytes),
                None => format!("{} bytes hold no record although they did", damage.bytes),
            };
            let settled = damage.chunk.and_then(|chunk| seen.behind.get(&chunk));
            match known {
                // Written anew since, or deleted: a chunk never changes, so any whole record of it will do.
                false if matches!(settled, Some(Held::Live(..) | Held::Deleted)) => {
                    let advice = "nothing: the chunk has another record here that says what became of it";
                    findings.note("segment-damaged", place, what, advice);
                }
                // Which chunks that costs is told by the index, one by one.
                true => findings.warning(
                    "segment-damaged",
                    place,
                    what,
                    "see the chunks named; space that nothing uses needs nothing",
                ),
                false => findings.damage("segment-damaged", place, what, REPAIR),
            }
        }
        let more = report.damaged - report.damage.len() as u64;
        if more > 0 {
            let what = format!("{more} more places hold no record although they did");
            findings.warning("segment-damaged", self.path.display(), what, "see the chunks named");
        }
        if report.torn > 0 {
            let what = format!("{} places end in a write that was never acknowledged", report.torn);
            findings.note("segment-torn", self.path.display(), what, "nothing: the next start drops it");
        }
    }

    /// Counts all rows, and finds those whose record was not seen.
    fn rows(
        &self,
        index: &Index,
        seen: &against::Seen,
        summary: &mut DiskSummary,
        findings: &mut Findings,
    ) -> Result<(), crate::error::IndexError> {
        let recount = index.recount(|chunk, entry| {
            if let Entry::Quarantined(located) = entry {
                let place = format!("{chunk} in {} at {}", self.place(located.place.segment), located.place.offset);
                findings.warning("chunk-quarantined", place, "known to be damaged, never served", REPAIR);
            }
        })?;
        (summary.chunks, summary.chunk_bytes) = (recount.totals.chunks, recount.totals.bytes);
        summary.quarantined = recount.totals.quarantined;
        if recount != index.counted() {
            let what = "the sums are not those of the rows";
            findings.warning(
                "index-sums",
                "the index",
                what,
                "remove the folder `index`; the next start makes it anew",
            );
        }
        let doubtful: BTreeSet<SegmentNo> = recount
            .uses
            .iter()
            .filter(|(segment, in_use)| seen.live.get(segment).copied().unwrap_or(0) != in_use.live)
            .map(|(segment, _)| *segment)
            .collect();
        if !doubtful.is_empty() {
            index.recount(|chunk, entry| {
                if let Entry::Live(located) = entry
                    && doubtful.contains(&located.place.segment)
                {
                    self.replica(chunk, located, findings);
                }
            })?;
        }
        Ok(())
    }

    /// Looks at one replica where the index says it lies.
    fn replica(&self, chunk: ChunkId, located: &Located, findings: &mut Findings) {
        let place = format!("{chunk} in {} at {}", self.place(located.place.segment), located.place.offset);
        match read_record(self.segments, &self.identity.tag, chunk, located) {
            Ok(verified) if verified.framed => {}
            Ok(_) => {
                let what = "the data is right, header, leaf hashes or trailer are not";
                findings.warning(
                    "chunk-frame-damaged",
                    place,
                    what,
                    "start the node: the scrub writes the record anew",
                );
            }
            Err(error) if get::is_damage(&error) => findings.damage("chunk-damaged", place, error, REPAIR),
            Err(error) => findings.damage("segment-unreadable", place, error, LOST_DISK),
        }
    }
}
