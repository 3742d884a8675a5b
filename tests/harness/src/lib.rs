//! What every test with real processes stands on.
//!
//! ```text
//! Cluster ── starts `sago demo`, kills, stops and restarts its node processes; cuts their power, if they are on fault disks
//! Network ── loses, delays, damages and cuts what goes between them
//! Cgroup ─── bounds a process's processor time and memory; FakeClock gives it a wall clock of its own; Mount and
//!            Gateway are further ones
//! Load ───── writers, readers and a probe; every acknowledged write goes to the Ledger (fsync) before the next one
//! Register ─ what a key may hold now: the last acknowledged version, or one issued since
//! checker ── at the end every key is read again and compared with the Ledger
//! linear ─── whether what many clients saw of one key has an order in which it makes sense
//! ```
//! Rules: wait for a condition with a bound ([`wait`]), never for a time. A seed decides all choices and is printed. What a machine
//! lacks is skipped loudly, and is a failure under `SAGO_CI` ([`skip()`]).
#![forbid(unsafe_code)]

mod binary;
mod body;
mod cgroup;
mod checker;
mod checkout;
mod clock;
mod cluster;
mod gaps;
mod gateway;
mod ledger;
pub mod linear;
mod load;
pub mod memory_cluster;
mod mount;
mod network;
mod process;
mod register;
mod skip;
mod wait;

pub use binary::sago;
pub use body::{Body, BodyFault, OpId};
pub use cgroup::{Bounded, Cgroup};
pub use checker::{Verdict, check};
pub use checkout::checkout;
pub use clock::{FakeClock, Pace};
pub use cluster::{Cluster, DiskPage, NodePage, Options};
pub use fault_disk::{FaultDisk, Kept, Kind as DiskRequest, Stray, SyncFault, missing as fault_disks_missing};
pub use gaps::{Gap, gaps};
pub use gateway::Gateway;
pub use ledger::{Entry, Ledger};
pub use load::{Contest, ContestReport, Load, LoadConfig, LoadReport};
pub use loadgen::s3::{Credentials, Listing, Payload, S3Client, S3Error};
pub use loadgen::target::Target;
pub use mount::Mount;
pub use network::{Carried, End, Link, Network};
pub use register::{Kind, Register};
pub use skip::skip;
pub use wait::{schedule, until, within};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by a test that starts a cluster: two at once on two cores would measure each other.
pub fn exclusive() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The seed of a run: `SAGO_SEED`, or a new one. It is printed, so that a failure can be run again.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("SAGO_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| rand::random::<u64>() >> 16);
    println!("seed {seed} (run again with SAGO_SEED={seed})");
    seed
}

/// The value, or the end of the test with the whole chain of causes, as people read it.
///
/// # Panics
/// If it is an error.
pub fn must<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Whether a test of the second tier runs, for which `make test` has no time: in `make battery` at full length, with `SAGO_TIER=2` shortened.
/// Says so if not.
#[must_use]
pub fn in_tier_two(test: &str) -> bool {
    let asked = battery() || std::env::var_os("SAGO_TIER").is_some_and(|tier| tier == "2");
    if !asked {
        println!("{test}: left to `make battery` (SAGO_TIER=2 runs it shortened)");
    }
    asked
}

/// Whether the full lengths are asked for (`make battery`).
#[must_use]
pub fn battery() -> bool {
    std::env::var_os("SAGO_BATTERY").is_some()
}
