//! How each link is, and what that means for a datagram.

use super::Carried;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A node, by its index.
    Node(usize),
    /// Gateways, mounts and tools, all together.
    Clients,
}

/// How a link is in one direction. Chances are in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Nothing passes.
    pub cut: bool,
    /// Every datagram comes so much later.
    pub delay: Duration,
    /// And up to so much more, each its own.
    pub jitter: Duration,
    /// Datagrams that are lost.
    pub loss: u8,
    /// Datagrams that come twice.
    pub duplicate: u8,
    /// Datagrams in which one bit is changed.
    pub corrupt: u8,
}

impl Link {
    /// Nothing passes.
    pub const CUT: Link =
        Link { cut: true, delay: Duration::ZERO, jitter: Duration::ZERO, loss: 0, duplicate: 0, corrupt: 0 };
}

/// All links; one that was never set is in order.
#[derive(Debug)]
pub(super) struct Rules {
    links: BTreeMap<(End, End), Link>,
    rng: StdRng,
    pub(super) carried: Carried,
}

/// A datagram on its way: when it is due, and what it carries by then.
pub(super) struct Due {
    pub(super) delay: Duration,
    pub(super) bytes: Vec<u8>,
}

impl Rules {
    pub(super) fn new(seed: u64) -> Self {
        Self { links: BTreeMap::new(), rng: StdRng::seed_from_u64(seed), carried: Carried::default() }
    }

    pub(super) fn set(&mut self, from: End, to: End, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(super) fn mend(&mut self) {
        self.links.clear();
    }

    /// What becomes of a datagram: nothing, itself, or several of it.
    pub(super) fn pass(&mut self, from: End, to: End, bytes: &[u8]) -> Vec<Due> {
        let link = self.links.get(&(from, to)).copied().unwrap_or_default();
        if link.cut || self.happens(link.loss) {
            self.carried.dropped += 1;
            return Vec::new();
        }
        let copies = if self.happens(link.duplicate) { 2 } else { 1 };
        self.carried.sent += copies;
        (0..copies).map(|_| self.one(link, bytes)).collect()
    }

    fn one(&mut self, link: Link, bytes: &[u8]) -> Due {
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() && self.happens(link.corrupt) {
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << self.rng.random_range(0..8);
            self.carried.damaged += 1;
        }
        let jitter = link.jitter.mul_f64(self.rng.random::<f64>());
        Due { delay: link.delay + jitter, bytes }
    }

    fn happens(&mut self, percent: u8) -> bool {
        percent > 0 && self.rng.random_range(0..100) < percent
    }
}
