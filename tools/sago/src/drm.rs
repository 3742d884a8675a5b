//! `sago drm`: books that go out wrapped. Keys and certificates, the reader's side of a book, and what stores do by HTTP, done by hand.

mod ca_dev;
mod desk;
mod extract;
mod key;
mod licence;
mod passphrase;
mod report;
mod resources;
mod right;
mod rotate;
#[cfg(test)]
mod tests;
mod title;
mod trust;
mod verify;

use crate::cli::{CaDevArgs, DrmCommand};
use crate::exit::Done;
use crate::output::Output;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// Carries out `sago drm`.
///
/// # Errors
/// [`crate::exit::Failure`].
pub async fn run(command: DrmCommand, output: Output) -> Done {
    match command {
        DrmCommand::CaDev(args) => ca_dev::make(&args, now(), output),
        DrmCommand::Title(command) => title::run(command, output).await,
        DrmCommand::Licence(command) => licence::run(command, now(), output).await,
        DrmCommand::Status { licence, client } => licence::status(licence, &client, output).await,
        DrmCommand::Revoke { licence, client } => licence::revoke(licence, &client, now(), output).await,
        DrmCommand::Token(args) => licence::token(&args, output).await,
        DrmCommand::Report(args) => report::run(&args, output).await,
        DrmCommand::Right(command) => right::run(command, output).await,
        DrmCommand::Key(command) => key::run(&command, now(), output).await,
        DrmCommand::Verify(args) => verify::verify(&args, now(), output),
    }
}

/// Makes what `sago drm ca-dev` makes, for a demo.
///
/// # Errors
/// [`crate::exit::Failure`].
pub fn make_authority(args: &CaDevArgs) -> Done {
    ca_dev::made(args, now()).map(drop)
}

/// Makes what `sago drm key new` makes, for a demo.
///
/// # Errors
/// [`crate::exit::Failure`].
pub fn make_key(file: &Path) -> Done {
    key::new(file, None, now()).map(drop)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, since.subsec_nanos())
}
