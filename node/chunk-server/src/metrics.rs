//! The numbers this crate gives out: names, units, and the store's observer that counts flushes.

use chunk_store::{BatchWritten, Observer};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Requests answered; labels `call` (put, get, stat, delete, replicate) and `result` (ok, refused).
pub const REQUESTS: &str = "sago_chunk_requests_total";
/// Bytes of chunks stored by puts and replication.
pub const PUT_BYTES: &str = "sago_chunk_put_bytes_total";
/// Bytes of chunks read, whole leaves.
pub const GET_BYTES: &str = "sago_chunk_get_bytes_total";
/// Requests refused because too much was in flight.
pub const BUSY: &str = "sago_chunk_busy_total";
/// Records that shared one flush; label `disk`.
pub const BATCH_RECORDS: &str = "sago_chunk_batch_records";
/// Bytes appended with one flush; label `disk`.
pub const BATCH_BYTES: &str = "sago_chunk_batch_bytes";
/// Seconds of one write and flush; label `disk`.
pub const FLUSH_SECONDS: &str = "sago_chunk_flush_seconds";
/// Damaged replicas found by reads; label `disk`.
pub const CORRUPT: &str = "sago_chunk_corrupt_total";
/// Chunks copied to disks of this node that moves bring in.
pub const MOVE_CHUNKS: &str = "sago_move_chunks_total";
/// Bytes of them.
pub const MOVE_BYTES: &str = "sago_move_bytes_total";
/// Chunks taken off disks of this node that their groups moved away from.
pub const LEFTOVER_CHUNKS: &str = "sago_move_leftover_chunks_total";
/// 1 if a disk failed and takes no more requests; label `disk`.
pub const FENCED: &str = "sago_chunk_disk_fenced";

/// Tells the recorder what the numbers mean. Once, at start.
pub fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "chunk requests answered");
    describe_counter!(PUT_BYTES, Unit::Bytes, "bytes of chunks stored");
    describe_counter!(GET_BYTES, Unit::Bytes, "bytes of chunks read");
    describe_counter!(BUSY, Unit::Count, "chunk requests refused because too much was in flight");
    describe_histogram!(BATCH_RECORDS, Unit::Count, "records that shared one flush");
    describe_histogram!(BATCH_BYTES, Unit::Bytes, "bytes appended with one flush");
    describe_histogram!(FLUSH_SECONDS, Unit::Seconds, "time of one write and flush");
    describe_counter!(CORRUPT, Unit::Count, "damaged replicas found by reads");
    describe_counter!(MOVE_CHUNKS, Unit::Count, "chunks copied to disks that moves bring in");
    describe_counter!(MOVE_BYTES, Unit::Bytes, "bytes of chunks copied to disks that moves bring in");
    describe_counter!(LEFTOVER_CHUNKS, Unit::Count, "chunks taken off disks that their groups moved away from");
    describe_gauge!(FENCED, Unit::Count, "1 if the disk failed and takes no more requests");
}

/// Counts an answer.
pub(crate) fn answered(call: &'static str, ok: bool) {
    counter!(REQUESTS, "call" => call, "result" => if ok { "ok" } else { "refused" }).increment(1);
}

/// Hears of the store's flushes and failures.
pub(crate) struct StoreMetrics;

impl Observer for StoreMetrics {
    fn batch_written(&self, batch: BatchWritten) {
        let disk = batch.disk.to_string();
        histogram!(BATCH_RECORDS, "disk" => disk.clone()).record(batch.records as f64);
        histogram!(BATCH_BYTES, "disk" => disk.clone()).record(batch.bytes as f64);
        histogram!(FLUSH_SECONDS, "disk" => disk).record(batch.time.as_secs_f64());
    }

    fn corrupt(&self, disk: usize) {
        counter!(CORRUPT, "disk" => disk.to_string()).increment(1);
    }

    fn fenced(&self, disk: usize) {
        gauge!(FENCED, "disk" => disk.to_string()).set(1.0);
    }
}
