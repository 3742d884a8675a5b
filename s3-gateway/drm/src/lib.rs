//! Readium LCP, basic profile: licences, protected packages, status documents.
//!
//! ```text
//! source book --package--> E, encrypted once ----------------+
//!                          content key, size, hash           +--splice--> what a reader downloads
//! reader, rights --licence--> document, signed, kept --------+
//! ```
//! A title is encrypted once under its content key. A reader gets a licence, which holds that key wrapped under his user key, and what he downloads is the
//! stored title with the licence spliced into it, byte for byte the same every time.
//!
//! Pure: bytes in, bytes out. Time, randomness and signatures come from the caller ([`Entropy`], [`Signer`]); nothing here reads a file or a clock.
//!
//! Source: ISO/IEC 23078-2; Readium LCP 1.0 and LSD 1.0.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod certificate;
pub mod cipher;
mod deflate;
mod entropy;
mod keys;
pub mod licence;
pub mod open;
pub mod package;
mod profile;
pub mod protector;
pub mod rfc3339;
pub mod signature;
mod source;
pub mod splice;
pub mod status;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod zip;

pub use entropy::Entropy;
pub use keys::{BadKey, ContentKey, PassphraseHash, UserKey};
pub use profile::{BASIC_PROFILE, BasicProfile, Profile};
pub use signature::Signer;
pub use source::{PastEnd, Sink, SinkError, Source, SourceError};
