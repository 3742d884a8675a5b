//! Fault tests of a real cluster: what the tests under `tests/` share.
//!
//! `make test` runs them shortened; `make battery` (SAGO_BATTERY=1) at the lengths of "First light": five minutes of one fault each ten
//! seconds, five rounds of killing everything. The bounds are the same in both.
#![forbid(unsafe_code)]

mod bookshop;
mod campaign;
mod collector;
mod copies;
pub mod exit;
mod fault;
mod fsck;
mod newcomer;
mod segments;
mod shelf;
mod traffic;
mod verdict;

pub use bookshop::{Answer, Bookshop, HINT, Loan};
pub use campaign::Campaign;
pub use collector::{garbage, hasty_collector, held};
pub use copies::{Copies, Repaired, every_copy_is_made, levelled_on, repaired};
pub use fault::{Violence, one_node_at_a_time};
pub use fsck::fsck;
pub use newcomer::{Background, Newcomer};
pub use segments::{Records, forget_cached, places, segments};
pub use shelf::{Shelf, Titles, all_take_chunks, shop_files, shop_images, stocked_shop};
pub use traffic::{Traffic, Waits};
pub use verdict::conclude;

use harness::{Load, LoadConfig, Options};
use std::path::Path;

/// Raft groups of a demo: the control group and four of metadata.
pub const GROUPS: usize = 5;

/// Three nodes, with a mount where this machine can mount.
#[must_use]
pub fn options() -> Options {
    let mount = Path::new("/dev/fuse").exists();
    if !mount {
        harness::skip("no /dev/fuse: the load goes through S3 alone");
    }
    Options { mount, ..Options::default() }
}

/// Size of each node's fault disk: sparse, so it costs what is written. Nothing that is deleted comes back yet.
const DISK_BYTES: u64 = 12 << 30;

/// Three nodes on disks that fail on command; none where this machine cannot have them.
#[must_use]
pub fn on_fault_disks() -> Option<Options> {
    if let Some(what) = harness::fault_disks_missing() {
        harness::skip(what);
        return None;
    }
    Some(Options { disk_bytes: Some(DISK_BYTES), ..options() })
}

/// Three nodes behind a network that fails on command.
#[must_use]
pub fn behind_a_network() -> Options {
    Options { network: true, ..options() }
}

/// A load on a cluster, on its mount too if it has one.
#[must_use]
pub fn load(cluster: &harness::Cluster, config: LoadConfig, ledger: &std::sync::Arc<harness::Ledger>) -> Load {
    let target = cluster.target();
    let config = LoadConfig { mount: target.mount.clone(), ..config };
    Load::start(cluster.s3(), &target.bucket, config, std::sync::Arc::clone(ledger))
}
