//! A count as it is kept.

use super::super::records::Record;
use bytes::Bytes;
use proto::record::{IndexEntry, RecordSpace};
use serde::{Deserialize, Serialize};

/// The space of counters.
const COUNTERS: RecordSpace = RecordSpace(4);
/// Gateways whose shares are told apart. Those of the first are put together when there are more: one that still counts is then counted more than it sent.
const SHARES_MAX: usize = 32;

/// What the gateways have sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Counter {
    key: Vec<u8>,
    /// Of gateways that are not told apart any more.
    pub(super) rest: u64,
    /// Gateway and bytes, in the order in which they came.
    shares: Vec<(u64, u64)>,
}

impl Counter {
    pub(in super::super) fn new(key: &Bytes) -> Self {
        Counter { key: key.to_vec(), ..Counter::default() }
    }

    /// The bytes of one gateway, and of all others.
    pub(in super::super) fn split(&self, instance: u64) -> (u64, u64) {
        self.shares.iter().fold((0, self.rest), |(own, others), (gateway, bytes)| {
            if *gateway == instance {
                (own.saturating_add(*bytes), others)
            } else {
                (own, others.saturating_add(*bytes))
            }
        })
    }

    /// With another total of one gateway.
    pub(in super::super) fn with(mut self, instance: u64, bytes: u64) -> Self {
        match self.shares.iter_mut().find(|(gateway, _)| *gateway == instance) {
            Some(share) => share.1 = bytes,
            None => self.shares.push((instance, bytes)),
        }
        while self.shares.len() > SHARES_MAX {
            self.rest = self.rest.saturating_add(self.shares.remove(0).1);
        }
        self
    }
}

impl Record for Counter {
    const SPACE: RecordSpace = COUNTERS;
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        Bytes::copy_from_slice(&self.key)
    }

    fn entries(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}
