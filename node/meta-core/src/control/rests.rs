//! Rests: a node is away for a while, and nobody makes its copies anew.

use super::{Change, Step};
use crate::key::Table;
use crate::key::control::RestKey;
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt};
use proto::control::{ControlAnswer, ControlOutcome, ControlRefusal, REST_SECONDS_MAX};
use types::{FeatureLevel, NodeId, NodeMode, Timestamp};

impl Change<'_> {
    /// Lets a node be away from now on, or ends that. Rests of other nodes that are over are forgotten.
    pub(super) fn rest_node(&mut self, node: NodeId, seconds: u32) -> Step<ControlOutcome> {
        let map = self.map()?;
        // Whoever proposed it has looked too. Here it keeps a row that programs before cannot read out of their stores.
        if map.level < FeatureLevel::RESTS {
            return Err(ControlRefusal::Level { needs: FeatureLevel::RESTS, at: map.level }.into());
        }
        let entry = map.node(node).ok_or(ControlRefusal::NoSuchNode)?;
        if entry.mode == NodeMode::Removed {
            return Err(ControlRefusal::Gone.into());
        }
        if seconds > REST_SECONDS_MAX {
            return Err(ControlRefusal::Setting.into());
        }
        for (key, value) in super::table(&self.rows, Table::Rest)? {
            let (of, until) = rest(&key, &value)?;
            if until <= self.now || of == node {
                self.remove(&RestKey(of));
            }
        }
        if seconds > 0 {
            let until = self.now.0.saturating_add(i64::from(seconds) * Timestamp::SECOND);
            self.write(&RestKey(node), &Timestamp(until));
        }
        Ok(ControlOutcome::Done)
    }
}

/// A row: whose rest, and until when.
fn rest(key: &[u8], value: &[u8]) -> Result<(NodeId, Timestamp), KvError> {
    let RestKey(node) = RestKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?;
    Ok((node, row::decode::<RestKey>(key, value)?))
}

/// All of them, by node.
pub(super) fn all(kv: &dyn KvRead) -> Result<ControlAnswer, KvError> {
    let rows = super::table(kv, Table::Rest)?;
    let rests = rows.iter().map(|(key, value)| rest(key, value));
    Ok(ControlAnswer::Rests(rests.collect::<Result<_, KvError>>()?))
}
