//! The status of licences: whether one still holds, and what devices and stores may do to it.
//!
//! ```text
//!             register   renew           return      revoke      cancel      its end passes
//! ready       active     ready           cancelled   cancelled   cancelled   expired
//! active      active     active          returned    revoked     -           expired
//! expired     -          as before (1)   -           as above    -
//! returned, revoked, cancelled: nothing, they are final
//!
//! (1) only if the policy renews what has expired; it then is ready or active again
//! ```
//! Expired is never kept: it is what ready and active are after the end, and so comes without anybody's doing at the same moment on every node. Only a loan (a
//! licence with an end) can be renewed or returned.
//!
//! A step is worked out from a [`Record`] and does nothing by itself. If it moves the end, the licence has to be [changed](crate::licence::change) and signed;
//! then step and document are kept together ([`Record::apply`]). Events are only ever added.
//!
//! A limit on devices cannot be enforced: readers open a book though its registration fails, and say themselves who they are. It is counted nevertheless, since a
//! passphrase that was passed on shows in it.
//!
//! Source: LSD 1.0.

mod document;
mod language;
mod policy;
mod problem;
mod record;
mod refusal;
mod step;

pub use document::{RenewLink, StatusLinks, View, document};
pub use language::Language;
pub use policy::Policy;
pub use problem::{PROBLEM_TYPE, Problem};
pub use record::{Device, EVENTS_MAX, Event, EventKind, Record, State};
pub use refusal::Refusal;
pub use step::{Step, cancel, register, renew, return_licence, revoke};

#[cfg(test)]
mod tests;
