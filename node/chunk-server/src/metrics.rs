//! The numbers this crate gives out: names, units, and the store's observer that counts flushes.

use chunk_store::{BatchWritten, Observer};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Requests answered; labels `call` (put, get, stat, delete, replicate, report) and `result` (ok, refused).
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
/// Replicas that were read wrongly once and are right: a disk, controller or memory that flips bits; label `disk`.
pub const MISREAD: &str = "sago_chunk_misread_total";
/// Chunks copied to disks of this node that moves bring in.
pub const MOVE_CHUNKS: &str = "sago_move_chunks_total";
/// Bytes of them.
pub const MOVE_BYTES: &str = "sago_move_bytes_total";
/// Chunks taken off disks of this node that their groups moved away from.
pub const LEFTOVER_CHUNKS: &str = "sago_move_leftover_chunks_total";
/// 1 if a disk failed and takes no more requests; label `disk`.
pub const FENCED: &str = "sago_chunk_disk_fenced";

/// Bytes of records written once more by compaction; label `disk`.
pub const COMPACTED: &str = "sago_compaction_copied_bytes_total";
/// Bytes that compaction gave back; label `disk`.
pub const FREED: &str = "sago_compaction_freed_bytes_total";
/// 1 while there is more to compact; label `disk`.
pub const COMPACTING: &str = "sago_compaction_active";
/// Chunks that the scrub looked at; label `disk`.
pub const SCRUBBED_CHUNKS: &str = "sago_scrub_chunks_total";
/// Bytes that it read; label `disk`.
pub const SCRUBBED_BYTES: &str = "sago_scrub_bytes_total";
/// Damaged replicas that it found; label `disk`.
pub const SCRUB_DAMAGED: &str = "sago_scrub_damaged_total";
/// Records that it wrote anew because only what is round the data was damaged; label `disk`.
pub const SCRUB_REWRITTEN: &str = "sago_scrub_rewritten_total";
/// When the last full pass ended, seconds since 1970; label `disk`.
pub const SCRUB_FINISHED: &str = "sago_scrub_finished_time_seconds";
/// Damaged replicas written anew from an intact one.
pub const REWRITTEN: &str = "sago_chunk_rewritten_total";
/// Chunks of which no member has an intact copy, as far as this node knows.
pub const LOST: &str = "sago_chunk_no_intact_copy";
/// Chunks and lists of a group that wait out the grace time; label `group`, told by its leader.
pub const GARBAGE_WAITING: &str = "sago_garbage_waiting";
/// Condemned chunks of a group that some member may still have; label `group`, told by its leader.
pub const GARBAGE_CONDEMNED_LEFT: &str = "sago_garbage_condemned_left";
/// 1 if the leader does not collect the garbage of a group because clocks disagree; label `group`.
pub const GARBAGE_HALTED: &str = "sago_garbage_halted";
/// Chunks condemned by groups while this node led them.
pub const GARBAGE_CONDEMNED: &str = "sago_garbage_condemned_total";
/// Orphans deleted from this node.
pub const ORPHANS_DELETED: &str = "sago_orphans_deleted_total";
/// Orphans found and held back by the breaker; an alarm unless 0.
pub const ORPHANS_HELD: &str = "sago_orphans_held";
/// Chunks on record as lacking a copy when repair last went through them, told by the leaders of their groups.
pub const LACKING: &str = "sago_repair_lacking_chunks";
/// Audits of one node for one group that came to their end.
pub const AUDITS: &str = "sago_audits_total";
/// Copies that were gone from a disk without a trace and were made anew.
pub const AUDIT_MADE: &str = "sago_audit_made_total";
/// Copies that the last audits could not have made, told by the leaders of their groups; an alarm unless 0.
pub const AUDIT_UNMADE: &str = "sago_audit_unmade";

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
    describe_counter!(MISREAD, Unit::Count, "replicas that were read wrongly once and are right");
    describe_counter!(MOVE_CHUNKS, Unit::Count, "chunks copied to disks that moves bring in");
    describe_counter!(MOVE_BYTES, Unit::Bytes, "bytes of chunks copied to disks that moves bring in");
    describe_counter!(LEFTOVER_CHUNKS, Unit::Count, "chunks taken off disks that their groups moved away from");
    describe_counter!(COMPACTED, Unit::Bytes, "bytes of records written once more by compaction");
    describe_counter!(FREED, Unit::Bytes, "bytes that compaction gave back");
    describe_gauge!(COMPACTING, Unit::Count, "1 while there is more to compact");
    describe_counter!(SCRUBBED_CHUNKS, Unit::Count, "chunks that the scrub looked at");
    describe_counter!(SCRUBBED_BYTES, Unit::Bytes, "bytes that the scrub read");
    describe_counter!(SCRUB_DAMAGED, Unit::Count, "damaged replicas that the scrub found");
    describe_counter!(SCRUB_REWRITTEN, Unit::Count, "records that the scrub wrote anew");
    describe_gauge!(SCRUB_FINISHED, Unit::Seconds, "when the last full pass of the scrub ended, since 1970");
    describe_counter!(REWRITTEN, Unit::Count, "damaged replicas written anew from an intact one");
    describe_gauge!(LOST, Unit::Count, "chunks of which no member has an intact copy");
    describe_gauge!(FENCED, Unit::Count, "1 if the disk failed and takes no more requests");
    describe_gauge!(GARBAGE_WAITING, Unit::Count, "chunks and lists that wait out the grace time");
    describe_gauge!(GARBAGE_CONDEMNED_LEFT, Unit::Count, "condemned chunks that some member may still have");
    describe_gauge!(GARBAGE_HALTED, Unit::Count, "1 if garbage is not collected because clocks disagree");
    describe_counter!(GARBAGE_CONDEMNED, Unit::Count, "chunks condemned");
    describe_counter!(ORPHANS_DELETED, Unit::Count, "orphans deleted");
    describe_gauge!(ORPHANS_HELD, Unit::Count, "orphans held back by the breaker");
    describe_gauge!(LACKING, Unit::Count, "chunks on record as lacking a copy");
    describe_counter!(AUDITS, Unit::Count, "audits of one node for one group that came to their end");
    describe_counter!(AUDIT_MADE, Unit::Count, "copies that were gone without a trace and were made anew");
    describe_gauge!(AUDIT_UNMADE, Unit::Count, "copies that the last audits could not have made");
}

/// Shows how much garbage a group has.
pub(crate) fn garbage(group: types::GroupId, waiting: u64, condemned: u64) {
    let label = group.0.to_string();
    gauge!(GARBAGE_WAITING, "group" => label.clone()).set(waiting as f64);
    gauge!(GARBAGE_CONDEMNED_LEFT, "group" => label).set(condemned as f64);
}

/// Shows whether the garbage of a group waits for clocks to agree.
pub(crate) fn garbage_halted(group: types::GroupId, halted: bool) {
    gauge!(GARBAGE_HALTED, "group" => group.0.to_string()).set(if halted { 1.0 } else { 0.0 });
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

    fn misread(&self, disk: usize) {
        counter!(MISREAD, "disk" => disk.to_string()).increment(1);
    }

    fn fenced(&self, disk: usize) {
        gauge!(FENCED, "disk" => disk.to_string()).set(1.0);
    }
}
