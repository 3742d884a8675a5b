//! The sockets: one relay for each node, and behind it one socket for each peer that has sent something to it.

use super::Relayed;
use super::rules::{End, Rules};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Peers of one relay that are remembered: three nodes, and every client that was ever started.
const PEERS_MAX: usize = 1024;

/// Relays that do not run yet.
pub(super) struct Hub {
    nodes: Arc<Vec<Relayed>>,
    sockets: Vec<UdpSocket>,
    rules: Arc<Mutex<Rules>>,
}

impl Hub {
    pub(super) async fn bind(nodes: &[Relayed], rules: Arc<Mutex<Rules>>) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for node in nodes {
            sockets.push(ready(node.public).await?);
        }
        Ok(Self { nodes: Arc::new(nodes.to_vec()), sockets, rules })
    }

    /// Runs until what it returns is dropped.
    pub(super) fn run(self) -> JoinSet<()> {
        let mut relays = JoinSet::new();
        for (node, socket) in self.sockets.into_iter().enumerate() {
            let (nodes, rules) = (self.nodes.clone(), self.rules.clone());
            relays.spawn(relay(node, nodes, Arc::new(socket), rules));
        }
        relays
    }
}

/// A socket that is known to be writable, so that the first datagram is not refused.
async fn ready(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).await?;
    socket.writable().await?;
    Ok(socket)
}

/// Hands on what comes for one node; each peer gets a socket of its own, so that the answers find back.
async fn relay(node: usize, nodes: Arc<Vec<Relayed>>, public: Arc<UdpSocket>, rules: Arc<Mutex<Rules>>) {
    let mut peers: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error is about an earlier datagram whose receiver is gone.
        let Ok((len, source)) = public.recv_from(&mut buffer).await else { continue };
        let from = nodes.iter().position(|node| node.own == source).map_or(End::Clients, End::Node);
        let peer = match peers.get(&source) {
            Some(peer) => peer.clone(),
            None if peers.len() >= PEERS_MAX => continue,
            None => {
                let Ok(peer) = ready((Ipv4Addr::LOCALHOST, 0).into()).await else { continue };
                let peer = Arc::new(peer);
                peers.insert(source, peer.clone());
                let back = Way { from: End::Node(node), to: from, rules: rules.clone() };
                answers.spawn(answer(back, peer.clone(), public.clone(), source));
                peer
            }
        };
        let way = Way { from, to: End::Node(node), rules: rules.clone() };
        way.send(&buffer[..len], &peer, nodes[node].own);
    }
}

/// Hands back what a node sends to one peer.
async fn answer(way: Way, peer: Arc<UdpSocket>, public: Arc<UdpSocket>, source: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((len, _)) = peer.recv_from(&mut buffer).await else { continue };
        way.send(&buffer[..len], &public, source);
    }
}

/// One direction of a link.
struct Way {
    from: End,
    to: End,
    rules: Arc<Mutex<Rules>>,
}

impl Way {
    /// Sends what the link lets pass, at once or later. What a full socket does not take is lost, as on any network.
    fn send(&self, bytes: &[u8], by: &Arc<UdpSocket>, to: SocketAddr) {
        let passed = self.rules.lock().unwrap_or_else(PoisonError::into_inner).pass(self.from, self.to, bytes);
        for due in passed {
            if due.delay.is_zero() {
                let _ = by.try_send_to(&due.bytes, to);
                continue;
            }
            let by = by.clone();
            tokio::spawn(async move {
                // wait-ok: the delay is the fault
                tokio::time::sleep(due.delay).await;
                let _ = by.try_send_to(&due.bytes, to);
            });
        }
    }
}
