//! Synced batches a second: what one loop of the Raft driver can commit on a disk, with and without the watermark.
//!
//! `cargo run --release -p raft-log --example commit_rate -- FOLDER [SECONDS] [ENTRY_BYTES]`; the folder is made and
//! must be empty.

use bytes::Bytes;
use raft_core::{Entry, EntryKind, HardState, LogStart};
use raft_log::{GroupWrite, Mark, RaftLog};
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use types::{GroupId, LogIndex, NodeId, ReplicaId, Term};

const GROUP: GroupId = GroupId(1);
const TERM: Term = Term(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("usage: commit_rate FOLDER [SECONDS] [ENTRY_BYTES]")?);
    let seconds = args.next().map_or(Ok(3), |text| text.parse())?;
    let entry_bytes = args.next().map_or(Ok(1024), |text| text.parse())?;
    let (log, _) = RaftLog::open(&folder, NodeId(1))?;
    log.create_group(GROUP)?;
    for acknowledge in [false, true, false, true] {
        let (rate, slowest) = commit(&log, Duration::from_secs(seconds), entry_bytes, acknowledge)?;
        println!(
            "entries of {entry_bytes} B, watermark {}: {rate:.0} synced batches/s, slowest {:.1} ms",
            if acknowledge { "on" } else { "off" },
            slowest.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn commit(
    log: &RaftLog,
    time: Duration,
    entry_bytes: usize,
    acknowledge: bool,
) -> Result<(f64, Duration), Box<dyn Error>> {
    let data = Bytes::from(vec![0x5a; entry_bytes]);
    let (began, mut batches, mut slowest) = (Instant::now(), 0u32, Duration::ZERO);
    while began.elapsed() < time {
        let last = log.load(GROUP).ok_or("the group exists")?.last;
        let index = LogIndex(last.0 + 1);
        let entry = Entry { term: TERM, index, kind: EntryKind::Normal, data: data.clone() };
        let hard_state = Some(HardState { term: TERM, vote: ReplicaId(1), commit: last });
        let start = Instant::now();
        log.write(&[GroupWrite { group: GROUP, entries: vec![entry], hard_state, must_sync: true }])?;
        slowest = slowest.max(start.elapsed());
        if acknowledge {
            log.acknowledged(&[(GROUP, Mark { term: TERM, vote: ReplicaId(1), last: index })]);
        }
        if index.0.is_multiple_of(10_000) {
            log.truncate(GROUP, LogStart { index, term: TERM })?;
        }
        batches += 1;
    }
    Ok((f64::from(batches) / began.elapsed().as_secs_f64(), slowest))
}
