//! The face for readers and stores of books: HTTP routes over [`gateway_core::lcp`].
//!
//! ```text
//! request   books     is it one of these: the first segment of its path, and not signed for S3
//!           route     method and path in the tables; who may
//!           staff     private routes: Basic authentication by an access key whose user has the right
//!           call      path, query, bounded body
//!           (routes)  one file for each of the reference servers' parts, and for ours
//! answer    reply     JSON, documents; problem: every error, in one place
//! ```
//! | prefix | whose |
//! | --- | --- |
//! | `/lcp` | the licence server of the first generation, and what is only ours |
//! | `/lsd` | its status server |
//! | `/v2` | the server of the second generation |
//! | `/download` | ours |
//!
//! Source: LCP 1.0 and LSD 1.0 for what readers see; the reference servers' behaviour for the rest. `docs/LCP.md` has the table.

mod audit;
mod books;
mod call;
mod contents;
mod download;
mod fields;
mod licence_server;
mod openapi;
mod paging;
mod partial;
mod problem;
mod publications;
mod reply;
mod route;
mod second;
mod show;
mod staff;
mod status_server;

pub(crate) use books::Books;
pub use books::LcpParts;
