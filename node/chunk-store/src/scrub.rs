//! Reads live chunks from the medium and holds every byte of their records against what is known of them.
//!
//! | found | done |
//! | --- | --- |
//! | all is right | nothing |
//! | the data is right, header, leaf hashes or trailer are not | the record is written anew from the data |
//! | the data is wrong, or the medium does not give it, and a second look says the same | quarantined: never served, and named to whoever can fetch a good copy |
//!
//! In the order of ids, so that a place to go on from is one id. A chunk that is put below that place is looked at in the next
//! pass. Quarantine outlives a restart: it is a row of the index, and after a crash or without the index it is found again.

pub(crate) mod state;

pub use state::ScrubState;

use crate::disk::{Disk, Judged};
use crate::error::{GetError, ScrubError};
use crate::get;
use crate::index::Located;
use crate::record::record_bytes;
use crate::verify::{Verified, read_record};
use crate::writer::{Job, PutJob};
use tokio::sync::oneshot;
use types::ChunkId;

/// Chunks taken from the index at once.
const PAGE: usize = 256;

/// What a call of `ChunkStore::scrub` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where to go on; `None`: all chunks were looked at.
    pub next: Option<ChunkId>,
    /// Chunks looked at.
    pub chunks: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Those that are damaged, and quarantined now.
    pub damaged: Vec<ChunkId>,
    /// Records written anew because only what is round the data was damaged.
    pub rewritten: u64,
}

/// Looks at chunks with ids above `after` until `budget` bytes were read. Blocks.
pub(crate) fn scrub(disk: &Disk, after: Option<ChunkId>, budget: u64) -> Result<Scrubbed, ScrubError> {
    let mut done = Scrubbed { next: after, ..Scrubbed::default() };
    loop {
        let page = disk.list(done.next, PAGE)?;
        let last = page.len() < PAGE;
        for (chunk, located) in page {
            done.next = Some(chunk);
            look(disk, chunk, located, &mut done)?;
            if done.bytes >= budget {
                return Ok(done);
            }
        }
        if last {
            return Ok(Scrubbed { next: None, ..done });
        }
    }
}

/// Looks at one chunk, wherever compaction moves it meanwhile.
pub(crate) fn look(disk: &Disk, chunk: ChunkId, mut located: Located, done: &mut Scrubbed) -> Result<(), ScrubError> {
    done.chunks += 1;
    loop {
        if disk.is_fenced() {
            return Err(ScrubError::Fenced { disk: disk.id() });
        }
        done.bytes += record_bytes(located.len as usize);
        match read_record(&disk.segments, disk.tag(), chunk, &located) {
            Ok(verified) if verified.framed => return Ok(()),
            // As for the data (`Disk::judge`): a bit may have flipped on the way from a medium that is right.
            Ok(_) if disk.is_right(chunk, &located) => return Ok(()),
            Ok(verified) => {
                tracing::warn!(%chunk, disk = %disk.id(), segment = located.place.segment.0, offset = located.place.offset, "a record is damaged round its data and is written anew");
                done.rewritten += u64::from(rewrite(disk, chunk, &located, verified));
                return Ok(());
            }
            Err(error) if get::is_damage(&error) => match disk.judge(chunk, &located, error) {
                Judged::Moved(now) => located = now,
                // Found just now, or by a reader a moment ago.
                Judged::Damaged(_) | Judged::Is(GetError::Corrupt) => {
                    done.damaged.push(chunk);
                    return Ok(());
                }
                Judged::Misread | Judged::Is(_) => return Ok(()),
            },
            Err(error) => return Err(ScrubError::Read(error)),
        }
    }
}

/// Writes a record anew. `false`: not now; the next pass finds it again.
fn rewrite(disk: &Disk, chunk: ChunkId, located: &Located, verified: Verified) -> bool {
    let Some(permit) = disk.queue.reserve(verified.data.len()) else { return false };
    let (answer, answered) = oneshot::channel();
    let Verified { data, leaves, crc, .. } = verified;
    let put = PutJob { chunk, root: located.root, data, leaves, crc, answer };
    disk.queue.push(Job::Move(put, located.place), permit);
    answered.blocking_recv().is_ok_and(|done| done.is_ok())
}
