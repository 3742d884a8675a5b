//! The network between the processes of a cluster, with everything that can be wrong with it.
//!
//! ```text
//! node 1 ─────► relay of node 2 ─────► node 2        the relay listens at the address that the placement map tells of node 2;
//! client ─────►                                      node 2 itself listens elsewhere (`listen` in its node.toml)
//! ```
//! Nodes speak QUIC over UDP, each through *one* socket for what it calls and what it answers. So one relay in front of each node is
//! enough to know both ends of every datagram: who sent it tells its source address, whom it is for the relay it came to. Rules stand for
//! directed links (1→2 apart from 2→1) and act on datagrams, below everything that the product does: loss and damage meet QUIC, not a mock
//! of it. Against TAP devices in network namespaces this needs neither root nor a bridge, and differs in nothing that these processes can
//! see but ARP, and the largest datagram, which on a loopback address stays as large.
//!
//! Delays are per datagram, so jitter alone already puts them out of order. It does not model bandwidth.

mod hub;
mod rules;

pub use rules::{End, Link};

use hub::Hub;
use rules::Rules;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A relayed node.
#[derive(Clone, Copy, Debug)]
pub struct Relayed {
    /// Where everybody takes it to be.
    pub public: SocketAddr,
    /// Where it listens, and sends from.
    pub own: SocketAddr,
}

/// What a network has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Datagrams handed on, duplicates included.
    pub sent: u64,
    /// Datagrams that a cut or a loss swallowed.
    pub dropped: u64,
    /// Datagrams that were changed.
    pub damaged: u64,
}

impl Carried {
    /// Datagrams that were handed to it, and doubles.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.sent + self.dropped
    }
}

/// A running network. Dropping it ends the relays.
#[derive(Debug)]
pub struct Network {
    rules: Arc<Mutex<Rules>>,
    nodes: usize,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Starts a relay in front of each node, all links in order. `seed` decides what is lost and damaged.
    ///
    /// # Errors
    /// An address cannot be taken.
    pub fn start(nodes: &[Relayed], seed: u64) -> anyhow::Result<Self> {
        let rules = Arc::new(Mutex::new(Rules::new(seed)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let hub = runtime.block_on(Hub::bind(nodes, rules.clone()))?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                let relays = hub.run();
                let _ = stopped.await;
                drop(relays);
            });
        };
        let thread = std::thread::Builder::new().name("network".into()).spawn(run)?;
        Ok(Self { rules, nodes: nodes.len(), stop: Some(stop), thread: Some(thread) })
    }

    /// Makes the link from one end to the other like this.
    pub fn set(&self, from: End, to: End, link: Link) {
        self.rules().set(from, to, link);
    }

    /// Makes all links between nodes like this, and those of clients if `clients`.
    pub fn set_all(&self, link: Link, clients: bool) {
        let mut rules = self.rules();
        for (from, to) in self.pairs(clients) {
            rules.set(from, to, link);
        }
    }

    /// Cuts a node off from the other nodes, both ways; clients still reach it, unless `clients`.
    pub fn isolate(&self, node: usize, clients: bool) {
        let mut rules = self.rules();
        let own = End::Node(node);
        for (from, to) in self.pairs(clients).into_iter().filter(|(from, to)| *from == own || *to == own) {
            rules.set(from, to, Link::CUT);
        }
    }

    /// Cuts the link from one node to another, in this direction only.
    pub fn cut(&self, from: usize, to: usize) {
        self.set(End::Node(from), End::Node(to), Link::CUT);
    }

    /// All links are in order again.
    pub fn mend(&self) {
        self.rules().mend();
    }

    /// What it has carried so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.rules().carried
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pairs(&self, clients: bool) -> Vec<(End, End)> {
        let ends = (0..self.nodes).map(End::Node).chain(clients.then_some(End::Clients));
        let ends: Vec<End> = ends.collect();
        let all = ends.iter().flat_map(|from| ends.iter().map(|to| (*from, *to)));
        all.filter(|(from, to)| from != to).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
