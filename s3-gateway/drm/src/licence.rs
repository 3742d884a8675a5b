//! Licences: what a reader may do with a title, and the title's key wrapped under his own.
//!
//! ```text
//! Grant + Keys --issue-----+
//! stored + Grant --reissue-+--> Unsigned --sign--> Issued --parse--> Licence --unlock--> content key
//! stored + Change --change-+                     (kept as it is)
//! ```
//! A document that is written is its own canonical text, and the one that was signed is kept and sent, always the same bytes: random initialisation vectors and
//! ECDSA would make another each time. Neither the passphrase nor its hash is kept, so what is encrypted in a document stays as it is when the document
//! [changes](change()); only the store, which knows the hash, can have it [issued anew](reissue()).
//!
//! Every document holds `updated`, or else `issued`. The status document shows readers when their copy is old, so that time moves with each change and never
//! otherwise, and never twice to the same second.
//!
//! Source: LCP 1.0, sections 3 to 5.

mod change;
pub mod field;
mod id;
mod issue;
mod link;
mod member;
mod provider;
mod read;
mod reader;
mod rights;
mod unsigned;

pub use change::{Change, change};
pub use id::{BadLicenceId, LicenceId};
pub use issue::{BadGrant, Grant, Keys, issue, reissue};
pub use link::{HashForm, LICENCE_TYPE, LINKS_MAX, Link, Publication, STATUS_TYPE};
pub use member::{Extensions, Scalar};
pub use provider::{Provider, expand};
pub use read::{BadLicence, CannotUnlock, Licence, Terms, Unlocked};
pub use reader::Reader;
pub use rights::{OutsideRights, Rights};
pub use unsigned::{Issued, SigningError, Unsigned, check_signer, next_change};

/// Bytes of a document. Usual ones have four thousand; a large certificate and long links make thirty.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// How the content key and user data are encrypted.
const CONTENT_KEY_ALGORITHM: &str = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";
/// How a passphrase is hashed.
const USER_KEY_ALGORITHM: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

#[cfg(test)]
mod tests;
