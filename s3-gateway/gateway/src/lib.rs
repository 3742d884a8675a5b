//! The S3 face: HTTP, the S3 wire, authentication.
//!
//! ```text
//! connection   server     one task each: counted, timed, drained at the end
//! request      screen     what the S3 library would let pass is refused
//!              body       timed; aws-chunked framing is checked and cut small (framing)
//!              (s3s)      signature, routing, XML
//!              auth       who is it
//!              operations parse, call one function of gateway-core, map the error (s3_error)
//! answer       service    request id, details of errors, 206 and 304
//! ```
//! The S3 library `s3s` logs every refused request as an error; callers set its level to `off` and rely on the gateway's
//! own log and metrics.

#![forbid(unsafe_code)]

mod admin;
mod auth;
mod body;
mod config;
mod convert;
mod framing;
mod lcp;
pub mod metrics;
mod operations;
mod request;
mod s3_error;
mod screen;
mod server;
mod service;
mod stall;
pub mod transit;

pub use config::GatewayConfig;
pub use gateway_core::{Cluster, ConfigError, StoreConfig};
pub use lcp::LcpParts;
pub use server::{Gateway, GatewayError, serve};
