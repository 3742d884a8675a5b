//! Prints how fast the state machine is over a store in memory: `cargo run --release -p meta-core --example rates`.

#![allow(clippy::disallowed_methods, reason = "it measures time")]

use bytes::Bytes;
use meta_core::memory::MemoryKv;
use meta_core::{apply, query};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, Command, Query};
use proto::object::{ETag, FileKind, NewContent, NewExtent, Precondition};
use std::time::Instant;
use types::{
    Blake3Root, BucketId, ChunkId, ChunkIdParts, ChunkRef, Extent, GroupId, Ino, RequestId, SessionId, Slot, Timestamp,
    WriterEpoch,
};

const GROUP: GroupId = GroupId(1);
const BUCKET: BucketId = BucketId(1);
const SESSION: SessionId = SessionId(1);
const FILES: u64 = 200_000;
const BATCH: u64 = 64;

fn chunk(seq: u64) -> NewContent {
    let parts = ChunkIdParts { slot: Slot(1), group: GROUP, session: SESSION, epoch: WriterEpoch(1), seq: seq as u32 };
    let chunk = ChunkRef { id: ChunkId::new(parts), len: 65_536, root: Blake3Root([7; 32]) };
    let extent = Extent { file_offset: 0, chunk, chunk_offset: 0, len: 65_536 };
    NewContent::Chunks(vec![NewExtent { extent, missing: 0 }])
}

fn put(at: u64) -> Command {
    Command::PutObject {
        bucket: BUCKET,
        key: Bytes::from(format!("images/{:03}/{at:09}.jpg", at % 100)),
        content: chunk(at),
        etag: ETag::Md5([3; 16]),
        xattrs: vec![(Bytes::from_static(b"trusted.s3.content-type"), Bytes::from_static(b"image/jpeg"))],
        precondition: Precondition::default(),
    }
}

fn create(root: Ino, at: u64) -> Command {
    Command::Create {
        parent: root,
        name: Bytes::from(format!("file-{at:09}")),
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: chunk(FILES + at),
        exclusive: true,
    }
}

/// Applies `count` commands in batches and prints the rate.
fn rate(kv: &mut MemoryKv, what: &str, count: u64, from: u64, command: impl Fn(u64) -> Command) {
    let start = Instant::now();
    for first in (0..count).step_by(BATCH as usize) {
        let commands = (first..count.min(first + BATCH)).map(|at| {
            let seq = 1 + from + at;
            let id = RequestId { session: SESSION, seq, low: (from + first).max(1) };
            LogCommand::Meta(Some(id), command(at))
        });
        let batch = LogBatch { time: Timestamp(first as i64), commands: commands.collect() };
        apply(kv, GROUP, &batch).expect("memory does not fail");
    }
    println!("{what}: {:.0}/s", count as f64 / start.elapsed().as_secs_f64());
}

fn list(kv: &MemoryKv, what: &str, prefix: &'static str, delimiter: &'static str) {
    let start = Instant::now();
    let (mut after, mut keys, mut pages) = (Bytes::new(), 0, 0);
    loop {
        let wanted = Query::ListObjects {
            bucket: BUCKET,
            prefix: Bytes::from_static(prefix.as_bytes()),
            delimiter: Bytes::from_static(delimiter.as_bytes()),
            after,
            max: 1000,
        };
        let Ok(Ok(Answer::Listing(page))) = query(kv, GROUP, &wanted) else { return };
        keys += page.objects.len() + page.prefixes.len();
        pages += 1;
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {keys} items in {pages} pages, {:.0} items/s", keys as f64 / seconds);
}

fn main() {
    let mut kv = MemoryKv::new();
    rate(&mut kv, "ensure bucket", 1, 0, |_| Command::EnsureBucket { bucket: BUCKET });
    let Ok(Ok(Answer::Attr(root))) = query(&kv, GROUP, &Query::BucketRoot { bucket: BUCKET }) else { return };
    rate(&mut kv, "put of one chunk", FILES, 1, put);
    rate(&mut kv, "create of one chunk", FILES, 1 + FILES, |at| create(root.ino, at));
    list(&kv, "list of 100 directories", "images/", "");
    list(&kv, "list of one directory", "file-", "");
    list(&kv, "list with a delimiter", "images/", "/");
    println!("{} rows, {} bytes", kv.0.len(), kv.0.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>());
}
