//! What must hold of the whole state, for tests and simulation.
//!
//! Everything is read into memory and every relation that the rows keep twice is computed again: link counts from names, directory
//! counters from their entries, references from pieces, usage from inodes, hints from inodes. What holds of a few rows alone stands in
//! functions of its own, which [`crate::audit`] shares: it holds the same relations over a state that does not fit into memory.

pub(crate) mod content;
pub(crate) mod record;
mod rest;
mod snapshot;
pub(crate) mod tree;

use crate::kv::{KvError, KvRead};
use snapshot::Snapshot;
use types::GroupId;

/// What was found to be wrong.
#[derive(Default)]
pub(crate) struct Broken(pub(crate) Vec<String>);

impl Broken {
    /// Notes `what` unless `holds`.
    pub(crate) fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// Reads the whole state of a group and names everything that contradicts itself; nothing if all is well.
///
/// # Errors
/// A row cannot be read.
pub fn check(kv: &dyn KvRead, group: GroupId) -> Result<Vec<String>, KvError> {
    if group == GroupId::CONTROL {
        return crate::control::check(kv);
    }
    let snapshot = Snapshot::read(kv)?;
    let mut broken = Broken::default();
    tree::check(&snapshot, &mut broken);
    content::check(&snapshot, &mut broken);
    rest::check(&snapshot, group, &mut broken);
    record::check(&snapshot, &mut broken);
    Ok(broken.0)
}
