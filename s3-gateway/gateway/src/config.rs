//! Settings of the gateway, checked before it listens.

use gateway_core::{ConfigError, StoreConfig};
use std::net::SocketAddr;
use std::time::Duration;

/// How the gateway behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Where it listens; port 0 takes a free one, see [`crate::Gateway::local_addr`].
    pub listen: SocketAddr,
    /// Where the pages of [`crate::metrics`] and health are; `None`: nowhere, and nothing is recorded.
    pub admin: Option<SocketAddr>,
    /// The region that requests must be signed for.
    pub region: String,
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long the head of a request may take, and how long a connection may lie idle between requests.
    pub head_timeout: Duration,
    /// How long a body may pause while it is read.
    pub body_timeout: Duration,
    /// How long a connection may make no progress otherwise, for example because the client does not take its download.
    pub stall_timeout: Duration,
    /// How long requests in progress may go on after shutdown has begun.
    pub drain: Duration,
    /// Largest XML document taken. 10,000 parts with their checksums are about 3 MiB.
    pub xml_bytes_max: usize,
    /// Largest chunk of a body whose chunks are signed: it is held in memory until its signature has been checked.
    pub signed_chunk_bytes_max: usize,
    /// Bytes of such chunks held by all requests together; more are answered "slow down".
    pub signed_bytes_max: usize,
    /// What lies behind the wire.
    pub store: StoreConfig,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            region: "us-east-1".to_owned(),
            connections_max: 4096,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(75),
            drain: Duration::from_secs(10),
            xml_bytes_max: 4 << 20,
            signed_chunk_bytes_max: 8 << 20,
            signed_bytes_max: 64 << 20,
            store: StoreConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`ConfigError`] for the first one outside.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |holds: bool, setting, range| holds.then_some(()).ok_or(ConfigError { setting, range });
        let times = Duration::from_millis(100)..=Duration::from_secs(3600);
        check(!self.region.is_empty() && self.region.len() <= 64, "region", "1..=64 bytes")?;
        check((1..=1 << 20).contains(&self.connections_max), "connections_max", "1..=1048576")?;
        check(times.contains(&self.head_timeout), "head_timeout", "100 ms..=1 h")?;
        check(times.contains(&self.body_timeout), "body_timeout", "100 ms..=1 h")?;
        check(times.contains(&self.stall_timeout), "stall_timeout", "100 ms..=1 h")?;
        check(self.drain <= Duration::from_secs(3600), "drain", "at most 1 h")?;
        check((64 << 10..=64 << 20).contains(&self.xml_bytes_max), "xml_bytes_max", "64 KiB..=64 MiB")?;
        let chunk = 64 << 10..=64 << 20;
        check(chunk.contains(&self.signed_chunk_bytes_max), "signed_chunk_bytes_max", "64 KiB..=64 MiB")?;
        let signed = self.signed_chunk_bytes_max..=1 << 40;
        check(signed.contains(&self.signed_bytes_max), "signed_bytes_max", "signed_chunk_bytes_max..=1 TiB")?;
        self.store.validate()
    }
}
