//! Books that go out wrapped: titles, licences, what became of them, and downloads. Readium LCP over a [`Store`](crate::Store).
//!
//! ```text
//!  object of a marked bucket --protection, once a version--> package: an object of the system bucket
//!        │ source                                              │
//!      Title ── content key, wrapped ────────────────────────┐ │
//!        │                                                   │ │
//!  LicenceEntry ── document, as it was signed; status ────> Download: the package's bytes, then the licence and the directory
//! ```
//! Everything that is remembered is a record of the system bucket (`records`), changed by comparison of its revision: what a step is worked out from is what
//! it changes, or it is worked out anew. So of two gateways that lend, renew or revoke at once both succeed or one of them sees what the other did, and a
//! request that is repeated after a leader died does nothing twice.
//!
//! Nothing here is HTTP; the routes of both reference servers and our own are in `gateway`.

mod audit;
mod config;
mod cursor;
mod download;
mod error;
mod licence;
mod licences;
mod limits;
mod protection;
pub(crate) mod records;
mod service;
mod title;
mod titles;
mod token;

pub use drm::licence::LICENCE_TYPE;
pub use proto::record::RecordCursor;

pub use audit::{Authority, Client, DOWNLOADS, DownloadEntry, DownloadFilter, Ending, Refused};
pub use config::{Clock, LcpConfig, Signers};
pub use cursor::{BadListCursor, ListCursor};
pub use download::{Download, DownloadBody, DownloadRequest, OpenPackage, Permit, Wanted};
pub use error::LcpError;
pub use licence::{LICENCES, LicenceEntry, LicenceIndex};
pub use licences::{
    Anew, Issuance, LicenceChange, LicenceFilter, LicencePage, Limit, NONCES, NewLicence, Nonce, RightsChange,
    SKIP_MAX, Stepped,
};
pub use protection::{ProtectionEvent, ProtectionEvents, Swept};
pub use records::{Held, Page};
pub use service::Lending;
pub use title::{BadTitleId, Fault, Package, Place, Source, Standing, TITLES, Title, TitleId, TitleIndex};
pub use titles::{Brought, BroughtTitle, ProtectCounts, ProtectMode, RewrappedTitles, TitleCounts, TitleFilter};
pub use token::{IssuedToken, SKEW_SECONDS_MAX, TOKEN_TEXT_BYTES, Token, TokenFault, TokenId};
