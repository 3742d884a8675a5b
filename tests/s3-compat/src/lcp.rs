//! A store of books over a cluster in memory: what tests of titles, licences and downloads begin with.
//!
//! ```text
//! Shop ── clock that tests set ── keys in memory ── an authority and a provider of its own
//!   └── MemoryCluster, whose answers can be lost after it has done what it was told
//! ```

mod authority;
mod clock;
mod http;
mod keys;
mod lossy;
mod shop;

pub use authority::{Authority, Provider, Provisions};
pub use clock::{TestClock, at};
pub use http::{Answer, Served, basic};
pub use keys::MemoryKeys;
pub use lossy::Lossy;
pub use shop::{CONTENT_KEY, PASSPHRASE, Shop, passphrase};
