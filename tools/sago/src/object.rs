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
pub use progress::bar;
pub use put::{put, put_bytes};
pub use remove::rm;
pub use stat::stat;

pub use path::ObjectPath;
use std::os::fd::AsFd;
use tokio::fs::File;

/// Standard input or output as a file that can be waited for.
fn standard(stream: &impl AsFd) -> std::io::Result<File> {
    Ok(File::from_std(stream.as_fd().try_clone_to_owned()?.into()))
}
