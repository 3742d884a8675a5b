//! Names and units of what this crate counts.

use metrics::counter;

/// Downloads of books that have ended, by `ending`.
pub const DOWNLOADS: &str = "sago_lcp_downloads_total";
/// Bytes of them that were sent.
pub const DOWNLOAD_BYTES: &str = "sago_lcp_download_bytes_total";
/// Records of downloads that were written.
pub const RECORDS: &str = "sago_lcp_download_records_total";
/// Records of downloads that could not be kept, since the cluster took none for too long.
pub const RECORDS_DROPPED: &str = "sago_lcp_download_records_dropped_total";

pub(crate) fn download_ended(ending: &'static str, bytes: u64) {
    counter!(DOWNLOADS, "ending" => ending).increment(1);
    counter!(DOWNLOAD_BYTES).increment(bytes);
}

pub(crate) fn download_records(count: usize) {
    counter!(RECORDS).increment(count as u64);
}

pub(crate) fn download_record_dropped() {
    counter!(RECORDS_DROPPED).increment(1);
}
