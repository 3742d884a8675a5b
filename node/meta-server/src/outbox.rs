//! Messages of all groups to one node leave in one batch.

use crate::network::Network;
use proto::raft_wire::RaftBatch;
use raft_core::RaftMessage;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{GroupId, NodeId};

/// Bytes of messages in one batch, unless a single one is larger.
const BATCH_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Outbox {
    network: Arc<dyn Network>,
    batches: BTreeMap<NodeId, (usize, RaftBatch)>,
}

impl Outbox {
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        Outbox { network, batches: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, group: GroupId, message: RaftMessage) {
        let to = message.to.node();
        let bytes = message.encode();
        let (size, batch) = self.batches.entry(to).or_insert_with(|| (0, RaftBatch { messages: Vec::new() }));
        if *size > 0 && *size + bytes.len() > BATCH_BYTES_MAX {
            let full = std::mem::replace(batch, RaftBatch { messages: Vec::new() });
            *size = 0;
            self.network.send(to, full);
        }
        *size += bytes.len();
        batch.messages.push((group, bytes));
    }

    pub(crate) fn flush(&mut self) {
        for (to, (_, batch)) in std::mem::take(&mut self.batches) {
            if !batch.messages.is_empty() {
                self.network.send(to, batch);
            }
        }
    }
}
