//! Protection: titles that were queued become packages, once a version, by workers of all gateways.
//!
//! ```text
//! Queued --claim--> Protecting{worker, until} ----> Ready      a package more
//!   ▲                 │    │    │                    Failed     the book is refused
//!   ├── the cluster --┘    │    └ lease over: another worker claims it
//!   └── other source ------┘
//! ```
//! A claim is a number that the worker draws anew each time and that stands in the record. As long as it stands there the title is the worker's, whatever else of it
//! changes; once it does not, the worker has lost, and nothing that it has made becomes visible. The order is: upload, complete the object, look at the source
//! again, name the object in the record. So a package is whole before anybody can find it, and what a dead worker leaves is an upload or an object that no record
//! names, which a [sweep] removes.
//!
//! ```text
//! source object --ranged reads--> Reader ┐                            ┌ PartSink --parts--> upload --> object packages/{title}/{version}-{random}
//!                                        ├ drm::package::protect ─────┤
//!                    a thread that blocks┘                            └ at most three parts in memory
//! ```

mod claim;
mod events;
mod job;
mod kind;
mod package;
mod part;
mod reader;
mod reason;
mod source;
mod stop;
mod sweep;
mod work;

pub use events::{ProtectionEvent, ProtectionEvents};
pub use sweep::Swept;
