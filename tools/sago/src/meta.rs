//! `sago meta`: the metadata of a cluster as files, and the way back.
//!
//! ```text
//!  export   a stopped node: fsck of its metadata ───┐
//!           a running one:  a snapshot of each group ┴─▶ audit ─▶ DIR/group-N.meta
//!  import   every file checked whole ─▶ plan ─▶ META.import: states, logs ─▶ audit ─▶ renamed to META
//! ```
//! A state that is restored is older than what the cluster has done: it is told so as after `sago recover`, see `meta_core::recover`.

mod build;
mod export;
mod import;
mod running;
#[cfg(test)]
mod tests;

use crate::cli::MetaCommand;
use crate::exit::Done;
use crate::output::Output;
use std::path::{Path, PathBuf};
use types::GroupId;

/// Carries out `sago meta`.
///
/// # Errors
/// [`crate::exit::Failure`].
pub async fn run(command: MetaCommand, output: Output) -> Done {
    match command {
        MetaCommand::Export(args) => Box::pin(export::export(&args, output)).await,
        MetaCommand::Import(args) => import::import(&args, output),
    }
}

/// The file of a group.
fn file_of(folder: &Path, group: GroupId) -> PathBuf {
    folder.join(format!("group-{}.meta", group.0))
}

/// The group of a file, by its name.
fn group_of(name: &str) -> Option<GroupId> {
    let number: u32 = name.strip_prefix("group-")?.strip_suffix(".meta")?.parse().ok()?;
    (number < GroupId::LIMIT).then_some(GroupId(number))
}
