//! A store of books over a cluster in memory: what tests of titles, licences and downloads begin with.
//!
//! ```text
//! Shop ── clock that tests set ── keys in memory ── an authority and a provider of its own
//!   └── MemoryCluster, whose answers can be lost after it has done what it was told
//! ```

mod authority;
mod books;
mod clock;
mod gate;
mod http;
mod keys;
mod library;
mod lossy;
mod shop;

pub use authority::{Authority, Provider, Provisions};
pub use books::{Entries, comic, comic_entries, epub, epub_entries, epub_with, hostile, noise, pdf, picture, zip};
pub use clock::{TestClock, at};
pub use gate::Gate;
pub use http::{Answer, Served, basic};
pub use keys::MemoryKeys;
pub use library::{BUCKET, Library};
pub use lossy::Lossy;
pub use shop::{CONTENT_KEY, PASSPHRASE, Shop, passphrase};
