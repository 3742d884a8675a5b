//! Load for a Sago cluster, and what it costs the servers.
//!
//! ```text
//! suite ── workload::s3 ──> s3::S3Client ──> gateway
//!   │   └─ workload::mount ────────────────> kernel ──> mount
//!   ├───── workload::local ────────────────> the same disk, without Sago: the measure of all ratios
//!   ├───── workload::{licences, protect}      no cluster: what one thread issues, and what protecting a book costs
//!   └───── usage: CPU, bytes written and memory of the server processes, from /proc
//! ```
//! The client is cheap on purpose: bodies and their SHA-256 are made once, connections are kept, one thread drives them all, so that
//! on a machine of two cores the figures are the servers'. [`s3`] is shared with the tests.
#![forbid(unsafe_code)]

pub mod latency;
pub mod report;
pub mod s3;
pub mod suite;
pub mod target;
pub mod usage;
pub mod workload;
