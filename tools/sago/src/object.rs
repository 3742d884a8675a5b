//! `sago put|get|ls|rm|stat`: files of a bucket, in the name of its owner, straight to the nodes.

mod get;
mod list;
mod path;
mod progress;
mod put;
mod remove;
mod stat;

pub use get::get;
pub use list::ls;
pub use put::{put, put_bytes};
pub use remove::rm;
pub use stat::stat;
