//! Titles: made of objects of marked buckets, or brought by a store that has encrypted them itself.
//!
//! ```text
//! an object changes --note_object--+
//! first download    --ensure-------+--> look at the source, then at the title: queued, ready, or gone
//! operator          --protect------+
//! workers, now and then  --sweep---+
//! ```
//! What is noted is never an event but a reason to look: whoever looks compares the source as it is with the title as it is. So a note that comes twice, late, or
//! in the wrong order does no harm, and one that was lost is made up for by the next look.
//!
//! A title that is made of an object has a claim (`claim`) beside it, which two gateways cannot both make.

mod bring;
mod claim;
mod list;
mod note;
mod remove;
mod rewrap;
mod walk;

pub use bring::{Brought, BroughtTitle};
use claim::SourceClaim;
pub use list::{TitleCounts, TitleFilter};
pub(super) use note::is_folder;
pub use rewrap::RewrappedTitles;
pub use walk::{ProtectCounts, ProtectMode};
