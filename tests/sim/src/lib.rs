//! A cluster in one thread: the real raft-core, meta-core, chunk-core and placement under a simulated network, simulated disks and clocks,
//! all of it decided by one seed.
//!
//! ```text
//!  seed -> Script (knobs, faults, operations) -> World
//!  Agenda -> event -> World -> Node (Replica: raft-core + meta-core; ChunkStore) -> messages, flushes -> Agenda
//!                           -> Client (chunk-core: session, write, read)         -> messages          -> Agenda
//!                           -> fault                                             Judge: judges every step
//! ```
//! The shells here do what the threads of `meta-server` and the tasks of `cluster-client` do, in the same order and without them.
//! A seed that fails is run again by `make sim SEED=n`, which prints the shrunk script.

#![forbid(unsafe_code)]

mod bug;
mod chunks;
mod client;
mod control;
mod disk;
mod duty;
mod errand;
mod event;
mod fault;
mod judge;
mod lease;
mod liveness;
mod marks;
mod message;
mod network;
mod node;
mod operation;
mod random;
mod replica;
mod rows;
mod script;
mod shrink;
mod totals;
mod trace;
mod world;

pub use bug::Bug;
pub use client::Tally;
pub use event::Millis;
pub use fault::{Fault, PlannedFault};
pub use judge::{Rule, Violation};
pub use marks::{Mark, Marks};
pub use operation::{Condition, Name, Operation, PlannedOperation};
pub use script::{Knobs, Script};
pub use shrink::{Shrunk, shrink};
pub use totals::Totals;
pub use trace::Trace;
pub use world::{Report, run};
