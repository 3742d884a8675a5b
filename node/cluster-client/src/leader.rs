//! Calls to a Raft group: to its leader if that is known, to its voters in turn while it is not.
//!
//! ```text
//!            +-- cached or hinted leader that is not known to be down
//!  target <--+-- else the next voter that is not known to be down
//!            +-- else the next voter
//!  answer            -> done; the target leads
//!  NotLeader(other)  -> ask that one at once
//!  NotLeader, not here, not sent, no answer -> the next voter; a pause after each round
//!  Busy              -> the same target after a growing pause
//! ```
//! A node that stops answering is left as soon as the transport takes it for down, not at the end of the attempt's time.

use crate::CallError;
use crate::map::MapCache;
use crate::peer::Nodes;
use crate::retry::{Budget, BusyPause};
use bytes::Bytes;
use parking_lot::Mutex;
use proto::rpc::{GroupError, Rejection};
use proto::{Reply, Request};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use transport::{Class, Peer, PeerHealth, TransportError};
use types::{GroupId, NodeId};

/// First time given to one attempt; doubled when a node that lives does not answer in it.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
const ATTEMPT_MAX: Duration = Duration::from_secs(4);
/// Time for a node that is thought to be down, tried because all are.
const ATTEMPT_DOWN: Duration = Duration::from_millis(300);
/// How often it is looked whether the node that is waited for still lives.
const LIVENESS_CHECK: Duration = Duration::from_millis(50);
/// Hints followed before a pause: nodes may name each other in circles during an election.
const HINTS_MAX: u32 = 4;

pub(crate) struct Leaders {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) map: Arc<MapCache>,
    pub(crate) budget: Budget,
    known: Mutex<HashMap<GroupId, NodeId>>,
    turn: AtomicUsize,
}

/// What a group answered.
pub(crate) struct Answered<T> {
    pub(crate) reply: T,
    /// An earlier attempt may have reached the group as well.
    pub(crate) repeated: bool,
}

/// One call on its way through the voters.
struct Search {
    group: GroupId,
    hint: Option<NodeId>,
    hints: u32,
    /// Attempts since the last pause.
    asked: usize,
    attempt: Duration,
    /// A command may have been executed.
    unknown: bool,
}

impl Leaders {
    pub(crate) fn new(nodes: Arc<Nodes>, map: Arc<MapCache>) -> Self {
        let turn = AtomicUsize::new(rand::random_range(0..1024));
        Leaders { nodes, map, budget: Budget::new(), known: Mutex::default(), turn }
    }

    /// Calls a group until it answers. `take` picks the group's answer out of a reply of the right kind.
    ///
    /// The same request may reach the group more than once: it must be idempotent or carry a request id.
    pub(crate) async fn call<T>(
        &self,
        group: GroupId,
        request: &Request,
        until: Instant,
        take: fn(Reply) -> Option<Result<T, GroupError>>,
    ) -> Result<Answered<T>, CallError> {
        self.budget.earn();
        let mut search = Search { group, hint: None, hints: 0, asked: 0, attempt: ATTEMPT_MIN, unknown: false };
        let mut busy = BusyPause::new();
        loop {
            let now = Instant::now();
            if now >= until {
                return Err(if search.unknown { CallError::Unknown } else { CallError::Unavailable });
            }
            let Some(peer) = self.target(&mut search) else {
                self.pause(&mut search, until).await;
                continue;
            };
            let time = search.attempt.min(until - now);
            match attempt(&peer, request, time).await {
                Ok(reply) => match take(reply) {
                    Some(Ok(reply)) => {
                        self.known.lock().insert(group, peer.node());
                        return Ok(Answered { reply, repeated: search.unknown });
                    }
                    Some(Err(GroupError::NotLeader { leader })) => {
                        self.forget(group, peer.node());
                        let alive = |leader: &NodeId| !self.nodes.is_down(self.map.get().as_deref(), *leader);
                        search.follow(leader.filter(|leader| *leader != peer.node()).filter(alive));
                    }
                    Some(Err(GroupError::NotHere)) => self.forget(group, peer.node()),
                    // A leader that has not heard of the level yet hears of it before long: whoever calls knows that the cluster is there.
                    Some(Err(GroupError::Busy | GroupError::Level { .. })) => {
                        search.hint = Some(peer.node());
                        sleep_until((Instant::now() + busy.next()).min(until)).await;
                    }
                    Some(Err(GroupError::Unknown)) => search.unknown = true,
                    Some(Err(GroupError::TooLarge)) => return Err(CallError::TooLarge),
                    None => return Err(CallError::Rejected("an answer of another kind".into())),
                },
                Err(TransportError::Rejected(Rejection::Busy)) => {
                    search.hint = Some(peer.node());
                    sleep_until((Instant::now() + busy.next()).min(until)).await;
                }
                Err(TransportError::Rejected(rejection)) => return Err(CallError::Rejected(rejection.to_string())),
                Err(error) => self.failed(&mut search, &peer, &error),
            }
            if search.hint.is_none() && search.asked >= self.voters(group).len() {
                self.pause(&mut search, until).await;
            }
        }
    }

    fn failed(&self, search: &mut Search, peer: &Peer, error: &TransportError) {
        tracing::debug!(node = %peer.node(), group = %search.group, %error, "attempt failed");
        self.forget(search.group, peer.node());
        search.unknown |= *error != TransportError::NotSent;
        if *error == TransportError::Deadline {
            search.attempt = (2 * search.attempt).min(ATTEMPT_MAX);
        }
    }

    /// Whom to ask next; `None` while no voter is known.
    fn target(&self, search: &mut Search) -> Option<Peer> {
        let map = self.map.get();
        let map = map.as_deref();
        let usable = |node: &NodeId| !self.nodes.is_down(map, *node);
        let cached = || self.known.lock().get(&search.group).copied();
        let chosen = search.hint.take().or_else(cached).filter(usable).or_else(|| {
            let voters = self.voters(search.group);
            let turn = || self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(voters.len()).map(|i| voters[i]);
            (0..voters.len()).find_map(|_| turn().filter(usable)).or_else(turn)
        });
        search.asked += 1;
        self.nodes.peer(map, chosen?)
    }

    /// The voters of a group, or all nodes as long as they are not known.
    fn voters(&self, group: GroupId) -> Vec<NodeId> {
        let map = self.map.get();
        match map.as_deref().map(|map| map.voters(group)) {
            Some(voters) if !voters.is_empty() => voters.to_vec(),
            _ => self.nodes.all(map.as_deref()),
        }
    }

    fn forget(&self, group: GroupId, node: NodeId) {
        let mut known = self.known.lock();
        if known.get(&group) == Some(&node) {
            known.remove(&group);
        }
    }

    async fn pause(&self, search: &mut Search, until: Instant) {
        (search.asked, search.hints) = (0, 0);
        sleep_until((Instant::now() + self.budget.pause()).min(until)).await;
    }
}

impl Search {
    fn follow(&mut self, leader: Option<NodeId>) {
        if self.hints < HINTS_MAX {
            self.hints += 1;
            self.hint = leader;
        }
    }
}

/// One call to one node, given up when its time is over or when the node is found not to answer at all.
async fn attempt(peer: &Peer, request: &Request, time: Duration) -> Result<Reply, TransportError> {
    let down = peer.health() == PeerHealth::Down;
    let time = if down { time.min(ATTEMPT_DOWN) } else { time };
    tokio::select! {
        biased;
        reply = peer.call(Class::Small, request, Bytes::new(), time) => reply.map(|(reply, _)| reply),
        () = found_down(peer), if !down => Err(TransportError::Lost),
    }
}

/// Comes to an end when the peer is taken for down.
pub(crate) async fn found_down(peer: &Peer) {
    loop {
        sleep(LIVENESS_CHECK).await;
        if peer.health() == PeerHealth::Down {
            return;
        }
    }
}
