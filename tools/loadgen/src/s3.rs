//! A small S3 client: path-style addresses, SigV4 in the header, no retries of its own, so that every outcome is seen.
//!
//! What it does not do: more XML than a listing needs, streaming signatures, TLS to hosts with private roots.

mod client;
mod error;
mod sign;
mod xml;

pub use client::{Drained, Listing, Payload, S3Client};
pub use error::S3Error;
pub use sign::{Credentials, Signed, Signer, encode_path, encode_query};
