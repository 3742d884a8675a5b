//! The replicated state machines: the namespace of a metadata group, and the control group.
//!
//! Pure: rows in, rows out. Time, ids and random bytes come in the commands; nothing here reads a clock, draws a random number or
//! depends on the order of a hash map, so every replica that applies the same log entries holds the same rows.
//!
//! ```text
//!  LogBatch -> apply -> for each command: session (answered before?) -> Txn over an Overlay of the rows
//!                         -> posix | object | upload | ... -> changes written, or a refusal and nothing written
//!                       then a bounded sweep of finished uploads
//!  Query    -> query -> rows
//! ```
//!
//! No command, however malformed, makes it panic: what is wrong with one is a [`Refusal`], identical on every replica. A row
//! that contradicts another is a [`KvError`]: the replica stops. The rows are a format, docs/formats/rows.md.

#![forbid(unsafe_code)]

pub mod audit;
pub mod invariants;
pub mod kv;
pub mod memory;

mod any_row;
mod breaker;
mod bucket;
mod chunk;
mod command;
mod content;
mod control;
mod dentry;
mod epoch;
mod garbage;
mod group;
mod inode;
mod key;
mod list;
mod listing;
mod namespace;
mod object;
mod overlay;
mod piece;
mod posix;
mod query;
mod record;
mod recover;
mod row;
mod session;
#[cfg(test)]
mod testing;
mod trash;
mod txn;
mod upload;
mod xattr;

pub use control::control_query;
pub use query::query;
pub use recover::{group_time, recover};

use kv::{Kv, KvError};
use proto::control::{ControlOutcome, ControlRefusal};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Outcome, Refusal};
use types::GroupId;

/// What a command of a log entry came to. A refusal is a result like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Of a command of a metadata group.
    Meta(Result<Outcome, Refusal>),
    /// Of a command of the control group.
    Control(Result<ControlOutcome, ControlRefusal>),
}

/// Applies one log entry: its commands in order, one result for each.
///
/// The changes go into `kv` as they come; the caller makes them durable together with the entry's index, all or none.
/// Group 0 takes `LogCommand::Control`, every other group `LogCommand::Meta`; the wrong kind is refused. `LogCommand::Recover` is for both.
///
/// # Errors
/// The store failed or contradicts itself. `kv` may hold half a command: the caller drops it and stops the replica.
pub fn apply(kv: &mut dyn Kv, group: GroupId, batch: &LogBatch) -> Result<Vec<Applied>, KvError> {
    let now = group::advance_time(kv, batch.time)?;
    let mut results = Vec::with_capacity(batch.commands.len());
    for command in &batch.commands {
        results.push(match command {
            LogCommand::Meta(..) if group == GroupId::CONTROL => Applied::Meta(Err(Refusal::Invalid)),
            LogCommand::Meta(id, command) => Applied::Meta(command::apply(kv, group, now, *id, command)?),
            LogCommand::Control(command) if group == GroupId::CONTROL => {
                Applied::Control(control::apply(kv, now, command)?)
            }
            LogCommand::Control(_) => Applied::Control(Err(ControlRefusal::NotBootstrapped)),
            LogCommand::Recover(recovery) => {
                recover(kv, group, recovery)?;
                match group {
                    GroupId::CONTROL => Applied::Control(Ok(ControlOutcome::Done)),
                    _ => Applied::Meta(Ok(Outcome::Done)),
                }
            }
        });
    }
    if group != GroupId::CONTROL {
        command::sweep(kv, group, now)?;
    }
    Ok(results)
}
