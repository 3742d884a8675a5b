//! A cluster in one thread: the real raft-core, meta-core and chunk-core under a simulated network, simulated disks and clocks, all of
//! it decided by one seed.
//!
//! ```text
//!  Schedule -> event -> World -> Node (Replica: raft-core + meta-core; chunks) -> messages, flushes -> Schedule
//!                             -> Client (chunk-core: session, write, read)     -> messages          -> Schedule
//!                             -> Fault                                          Checker: judges every step
//! ```
//! The shells here do what the threads of `meta-server` and the tasks of `cluster-client` do, in the same order and without them.
//! A seed that fails is run again by `SAGO_SIM_SEED=n cargo test -p sim one_seed -- --nocapture`.

#![forbid(unsafe_code)]

mod check;
mod client;
mod disk;
mod event;
mod fault;
mod network;
mod node;
mod random;
mod replica;
mod world;

pub use check::Violation;
pub use client::Tally;
pub use fault::Fault;
pub use replica::Bug;
pub use world::{Options, Report, run};
