//! `sago drm`: keys for protected books, certificates for development, and the reader's side of a book.
//!
//! Nothing here asks a cluster.

mod ca_dev;
mod extract;
mod key;
mod resources;
#[cfg(test)]
mod tests;
mod trust;
mod verify;

use crate::cli::DrmCommand;
use crate::exit::Done;
use crate::output::Output;
use std::time::{SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// Carries out `sago drm`.
///
/// # Errors
/// [`crate::exit::Failure`].
pub fn run(command: DrmCommand, output: Output) -> Done {
    match command {
        DrmCommand::CaDev(args) => ca_dev::make(&args, now(), output),
        DrmCommand::Key(command) => key::run(&command, now(), output),
        DrmCommand::Verify(args) => verify::verify(&args, now(), output),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, since.subsec_nanos())
}
