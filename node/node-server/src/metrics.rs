//! The numbers of a node, beside those of the services in it: names, units, and the page that Prometheus reads.

use ::metrics::{Unit, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use proto::node::{DiskStatus, GroupStatus, NodeStatus};
use std::sync::OnceLock;

/// 1 if this node leads the group; label `group`.
pub const GROUP_LEADING: &str = "sago_group_leading";
/// The group's term; label `group`.
pub const GROUP_TERM: &str = "sago_group_term";
/// Committed up to this index; label `group`.
pub const GROUP_COMMIT: &str = "sago_group_commit_index";
/// Applied up to this index; label `group`.
pub const GROUP_APPLIED: &str = "sago_group_applied_index";
/// Entries in the log; label `group`.
pub const GROUP_LOG_ENTRIES: &str = "sago_group_log_entries";
/// Replicas on a disk; label `disk`.
pub const DISK_CHUNKS: &str = "sago_disk_chunks";
/// Bytes of them; label `disk`.
pub const DISK_BYTES: &str = "sago_disk_chunk_bytes";
/// Free bytes of a disk's file system; label `disk`.
pub const DISK_FREE: &str = "sago_disk_free_bytes";
/// Size of a disk's file system; label `disk`.
pub const DISK_TOTAL: &str = "sago_disk_total_bytes";
/// Placement groups; label `copies` is the number of their copies that are not lost. On the leader of the control group only, as all of these.
pub const PLACEMENT_GROUPS: &str = "sago_placement_groups";
/// Moves in progress.
pub const MOVES_RUNNING: &str = "sago_moves_running";
/// Moves that are needed and cannot begin.
pub const MOVES_BLOCKED: &str = "sago_moves_blocked";
/// Groups that their rules would have elsewhere and that have nowhere to go.
pub const GROUPS_UNMET: &str = "sago_placement_groups_unmet";
/// Bytes of segments that nothing uses; label `disk`.
pub const DISK_GARBAGE: &str = "sago_disk_garbage_bytes";
/// Damaged replicas that wait to be written anew; label `disk`.
pub const DISK_QUARANTINED: &str = "sago_disk_quarantined_chunks";
/// How full a disk's file system is: 0 normal, 1 nearfull, 2 backfillfull, 3 full; label `disk`.
pub const DISK_FULLNESS: &str = "sago_disk_fullness";
/// How often the node was started.
pub const INCARNATION: &str = "sago_node_incarnation";
/// Files in the trash of the buckets of a group, as its leader saw them last; label `group`.
pub const TRASH_FILES: &str = "sago_trash_files";
/// Bytes of them; label `group`.
pub const TRASH_BYTES: &str = "sago_trash_bytes";
/// Files released because their window was over; label `group`.
pub const TRASH_EXPIRED: &str = "sago_trash_expired_total";
/// Bytes of them; label `group`.
pub const TRASH_EXPIRED_BYTES: &str = "sago_trash_expired_bytes_total";
/// 1 if the leader does not expire trash because clocks disagree; label `group`.
pub const TRASH_HALTED: &str = "sago_trash_expiry_halted";
/// Buckets of a group whose breaker is open; label `group`.
pub const BREAKERS_OPEN: &str = "sago_breakers_open";
/// Memory of the process that is in RAM.
pub const RESIDENT: &str = "process_resident_memory_bytes";
/// Processor time of the process.
pub const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// One recorder a process, however many nodes tests start in it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to record. Only the first call in a process has an effect.
pub fn install() {
    RECORDER.get_or_init(|| match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => {
            describe();
            Some(handle)
        }
        Err(error) => {
            tracing::warn!(%error, "another recorder is installed: /metrics stays empty");
            None
        }
    });
}

/// How the placement groups stand, as the leader of the control group sees it.
pub(crate) fn record_placement(report: &meta_server::Report) {
    for (copies, groups) in report.groups_by_copies.iter().enumerate() {
        gauge!(PLACEMENT_GROUPS, "copies" => copies.to_string()).set(f64::from(*groups));
    }
    gauge!(MOVES_RUNNING).set(f64::from(report.running));
    gauge!(MOVES_BLOCKED).set(report.blocked.len() as f64);
    gauge!(GROUPS_UNMET).set(report.unmet.len() as f64);
}

/// Another node leads: what was recorded here must not be added to what it records.
pub(crate) fn clear_placement() {
    record_placement(&meta_server::Report::default());
}

/// Works off what has gathered in histograms. Call it every few seconds.
pub(crate) fn upkeep() {
    if let Some(Some(handle)) = RECORDER.get() {
        handle.run_upkeep();
    }
}

/// The page, with the node's state as it is now.
pub(crate) fn render(status: &NodeStatus) -> String {
    gauge!(INCARNATION).set(status.incarnation.0 as f64);
    status.groups.iter().for_each(|group| record_group(status, group));
    status.disks.iter().for_each(record_disk);
    record_process();
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

fn describe() {
    describe_gauge!(GROUP_LEADING, Unit::Count, "1 if this node leads the group");
    describe_gauge!(GROUP_TERM, Unit::Count, "the group's term");
    describe_gauge!(GROUP_COMMIT, Unit::Count, "committed up to this index");
    describe_gauge!(GROUP_APPLIED, Unit::Count, "applied up to this index");
    describe_gauge!(GROUP_LOG_ENTRIES, Unit::Count, "entries in the log");
    describe_gauge!(DISK_CHUNKS, Unit::Count, "replicas on the disk");
    describe_gauge!(DISK_BYTES, Unit::Bytes, "bytes of replicas on the disk");
    describe_gauge!(DISK_FREE, Unit::Bytes, "free bytes of the disk's file system");
    describe_gauge!(DISK_TOTAL, Unit::Bytes, "size of the disk's file system");
    describe_gauge!(PLACEMENT_GROUPS, Unit::Count, "placement groups by copies that are not lost, on the leader");
    describe_gauge!(MOVES_RUNNING, Unit::Count, "moves in progress, on the leader");
    describe_gauge!(
        GROUPS_UNMET,
        Unit::Count,
        "groups that their rules would have elsewhere and that have nowhere to go, on the leader"
    );
    describe_gauge!(MOVES_BLOCKED, Unit::Count, "moves that are needed and cannot begin, on the leader");
    describe_gauge!(DISK_GARBAGE, Unit::Bytes, "bytes of segments that nothing uses");
    describe_gauge!(DISK_QUARANTINED, Unit::Count, "damaged replicas that wait to be written anew");
    describe_gauge!(DISK_FULLNESS, Unit::Count, "0 normal, 1 nearfull, 2 backfillfull, 3 full");
    describe_gauge!(INCARNATION, Unit::Count, "how often the node was started");
    describe_gauge!(TRASH_FILES, Unit::Count, "files in the trash of the group's buckets");
    describe_gauge!(TRASH_BYTES, Unit::Bytes, "bytes of files in the trash of the group's buckets");
    describe_counter!(TRASH_EXPIRED, Unit::Count, "files released because their window was over");
    describe_counter!(TRASH_EXPIRED_BYTES, Unit::Bytes, "bytes released because their window was over");
    describe_gauge!(TRASH_HALTED, Unit::Count, "1 if trash is not expired because clocks disagree");
    describe_gauge!(BREAKERS_OPEN, Unit::Count, "buckets whose breaker is open");
    describe_gauge!(RESIDENT, Unit::Bytes, "memory of the process that is in RAM");
    describe_gauge!(CPU_SECONDS, Unit::Seconds, "processor time of the process");
}

fn record_group(status: &NodeStatus, group: &GroupStatus) {
    let label = group.group.0.to_string();
    let leading = if group.leader == Some(status.node) { 1.0 } else { 0.0 };
    gauge!(GROUP_LEADING, "group" => label.clone()).set(leading);
    gauge!(GROUP_TERM, "group" => label.clone()).set(group.term.0 as f64);
    gauge!(GROUP_COMMIT, "group" => label.clone()).set(group.commit.0 as f64);
    gauge!(GROUP_APPLIED, "group" => label.clone()).set(group.applied.0 as f64);
    let entries = (group.last.0 + 1).saturating_sub(group.first.0);
    gauge!(GROUP_LOG_ENTRIES, "group" => label).set(entries as f64);
}

fn record_disk(disk: &DiskStatus) {
    let label = disk.disk.to_string();
    gauge!(DISK_CHUNKS, "disk" => label.clone()).set(disk.chunks as f64);
    gauge!(DISK_BYTES, "disk" => label.clone()).set(disk.bytes as f64);
    gauge!(DISK_FREE, "disk" => label.clone()).set(disk.free as f64);
    gauge!(DISK_TOTAL, "disk" => label.clone()).set(disk.total as f64);
    gauge!(DISK_GARBAGE, "disk" => label.clone()).set(disk.garbage as f64);
    gauge!(DISK_QUARANTINED, "disk" => label.clone()).set(disk.quarantined as f64);
    gauge!(DISK_FULLNESS, "disk" => label).set(f64::from(disk.fullness as u8));
}

/// From /proc, as far as it can be read.
fn record_process() {
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        gauge!(RESIDENT).set(bytes as f64);
    }
    if let Some(seconds) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        gauge!(CPU_SECONDS).set(seconds);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// User and system time, fields 14 and 15 of proc(5), in ticks of which Linux has 100 a second on every platform it shows to
/// programs. The name in parentheses may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_pages_are_read() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   1024 kB\nThreads: 1\n"), Some(1 << 20));
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 5";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!((resident_bytes(""), cpu_seconds("")), (None, None));
    }
}
