//! The coordination of chunk writes, reads and writer sessions, as step functions.
//!
//! Nothing here sends, sleeps or looks at a clock. A driver feeds in what happened and when ([`Moment`](types::Moment)), performs what
//! comes out, and calls again at the moment asked for. `cluster-client` is the driver, `chunk-server` that of the collector.
//!
//! * [`collect`]: what may be deleted, and when it is gone.
//! * [`session`]: ids for new chunks, and the placement group they go to.
//! * [`write`](mod@write): one chunk on its way into one placement group.
//! * [`pull`]: what a disk has to copy before it may take the place of another.
//! * [`read`]: one range on its way out of whichever replica is intact.

#![forbid(unsafe_code)]

pub mod collect;
pub mod pull;
pub mod read;
pub mod session;
pub mod view;
pub mod write;

pub use view::{Readiness, View};
