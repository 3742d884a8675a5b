//! What the crate `drm` makes, opened by programs that were not written by us.
//!
//! ```text
//! books ---- made up (py/make_books.py), and real ones of Debian's and PyPI's packages
//! Title ---- a book that was protected; Shop sells licences for it, signed under an Authority of the tests
//! Server --- answers over HTTP: downloads of a splice::Body by Range, and what a store answers about a loan
//! programs - node with Readium's packages (js/), python3 (py/), openssl and jq (sh/check-licence.sh), java with EPUBCheck
//! ```
//! The programs know nothing of how a package is made: they get files or addresses, a passphrase's hash or a root certificate, and say what they found.
//! Time and seeds are fixed; only ECDSA and the keys of the tests differ from run to run. What a machine lacks is skipped loudly, and is a failure under
//! `SAGO_CI`.

#![forbid(unsafe_code)]

mod authority;
mod books;
mod checker;
mod download;
mod entropy;
mod epubcheck;
pub mod http;
mod programs;
mod reader;
mod shop;
mod source;
mod title;

pub use authority::{Authority, KeyKind, Provider};
pub use books::{Format, Sample, childrens_literature, made_up, real};
pub use checker::{Findings, LicenceFiles};
pub use download::Download;
pub use entropy::Seeded;
pub use epubcheck::{EXPECTED, mistakes};
pub use programs::{Needs, file, json_of, lacks, output_of, program};
pub use reader::{Found, Opening, hashed, open, plain_entries};
pub use shop::{HINT, PASSPHRASE, Shop, at};
pub use title::Title;
