//! Fault tests of a real cluster: what the tests under `tests/` share.
//!
//! `make test` runs them shortened; `make battery` (SAGO_BATTERY=1) at the lengths of "First light": five minutes of one fault each ten
//! seconds, five rounds of killing everything. The bounds are the same in both.
#![forbid(unsafe_code)]

mod fault;
mod verdict;

pub use fault::{Violence, one_node_at_a_time};
pub use verdict::conclude;

use harness::{Load, LoadConfig, Options};
use std::path::Path;

/// Three nodes, with a mount where this machine can mount.
#[must_use]
pub fn options() -> Options {
    let mount = Path::new("/dev/fuse").exists();
    if !mount {
        harness::skip("no /dev/fuse: the load goes through S3 alone");
    }
    Options { nodes: 3, mount }
}

/// The mixed load on a cluster.
#[must_use]
pub fn load(cluster: &harness::Cluster, prefix: &str, seed: u64, ledger: &std::sync::Arc<harness::Ledger>) -> Load {
    let target = cluster.target();
    let config = LoadConfig { prefix: prefix.into(), mount: target.mount.clone(), ..LoadConfig::mixed(seed) };
    Load::start(cluster.s3(), &target.bucket, config, std::sync::Arc::clone(ledger))
}
