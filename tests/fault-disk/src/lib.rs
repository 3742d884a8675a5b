//! A disk that fails on command, and the file system on it that a node of a test lives on.
//!
//! ```text
//! node process ── ext4 ── loop device ── FUSE: one file, `disk` ── Medium: a volatile cache over a sparse file
//!                                                                     ▲
//! test ── FaultDisk: power cut, errors, lies, delays, rot ────────────┘
//! ```
//! Every layer but the last is the kernel's own, so that what a program meets after a power cut is what the journal of a real file
//! system makes of a torn disk. A FUSE file and not device-mapper, because kernels without modules have only the former.
//!
//! * A write goes to the cache in sectors of 512 bytes; only a flush (FUSE fsync, which the loop device makes of every flush and barrier)
//!   moves the cache to the medium. A power cut keeps none of the cache, or the share of its sectors that a seed chooses: torn, out of order.
//! * A cut ends every open handle for good. A loop device from before the cut can never write to the disk after it, however long the
//!   kernel takes to let go of it.
//! * Everything is undone when the values are dropped. What a killed run left behind is cleared by the next one ([`clear_leftovers`]).
//!
//! It does not model: a disk whose cache reorders *flushed* sectors, or a sector that is torn inside.
#![forbid(unsafe_code)]

mod counts;
mod device;
mod faults;
mod leftovers;
mod medium;
mod mounted;
mod requirements;

pub use counts::Counts;
pub use faults::{Kind, Stray, SyncFault};
pub use leftovers::clear_leftovers;
pub use medium::{Kept, Lost, SECTOR_BYTES};
pub use mounted::FaultDisk;
pub use requirements::missing;
