//! Licences: issued, shown, changed, registered, renewed, given back, looked for.
//!
//! ```text
//!  NewLicence --issue--> LicenceEntry --fresh, change_licence--> its document anew, signed
//!                             |
//!                             +--register, renew, extend, return_licence, revoke, cancel--> its status, and its document if its end moves
//! ```
//! Document and status are one record: a step is worked out from what was read and written only if that has not changed since. So of two gateways that do
//! something to one licence at once, the second sees what the first has done.
//!
//! Whoever touches a licence brings it up to date: if its title has a newer package the document names that one from then on. So nobody has to go through all
//! licences of a title when it changes, and the status document says in time that there is something to fetch, since showing it is touching it.
//!
//! What was given back or taken back is final: its document stays as it is for good.
//!
//! What is not here: who may do this, how often a book may be downloaded, and the passphrase, of which nothing is kept.

mod change;
mod document;
mod fresh;
mod issue;
mod nonce;
mod remove;
mod search;
mod steps;

pub use change::{LicenceChange, Limit, RightsChange};
pub use fresh::Anew;
pub use issue::{Issuance, NewLicence};
pub use nonce::{NONCES, Nonce};
pub use search::{LicenceFilter, LicencePage, SKIP_MAX};
pub use steps::Stepped;
