//! What a node has asked others for the sake of one of its duties, until all have answered or it has waited long enough.

use crate::duty::{Barrier, Got};
use crate::message::{Reply, Request};
use proto::control::ControlReply;
use std::collections::BTreeMap;
use types::{ChunkId, NodeId, Timestamp};

/// Who was asked, and for what.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A leader, or this node's own replica: one answer is all.
    One,
    /// Whom this node takes for the leader of a group, with a question that may be sent on to one whom that one names.
    Leader(Box<Request>),
    /// A node, to delete these.
    Delete(NodeId, Vec<ChunkId>),
    /// A voter, for the time.
    Clock,
    /// A node, to pass a barrier.
    Barrier(Barrier),
    /// A node, for a page of its listing.
    Listing(NodeId),
    /// A node, for what it has of some chunks.
    Stat(NodeId),
    /// A node, to fetch a chunk.
    Copy(NodeId, ChunkId),
}

/// An errand.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Calls not yet answered, by number.
    pub pending: BTreeMap<u64, Asked>,
    /// The number of the first: the errand's name.
    pub first: u64,
    got: Got,
    voters: usize,
}

impl Errand {
    /// Nobody was asked yet. Clocks are those of so many voters.
    #[must_use]
    pub fn new(first: u64, got: Got, voters: usize) -> Self {
        Errand { pending: BTreeMap::new(), first, got, voters }
    }

    /// Takes an answer in.
    pub fn take(&mut self, asked: Asked, reply: Reply) {
        match (asked, reply) {
            (Asked::Delete(node, chunks), Reply::Deleted) => {
                if let Got::Deleted(done) = &mut self.got {
                    done.push((node, chunks));
                }
            }
            (Asked::Clock, Reply::Clock(time)) => self.clock(time),
            (Asked::Barrier(barrier), Reply::Passed) => {
                if let Got::Passed(passed) = &mut self.got {
                    passed.insert(barrier);
                }
            }
            (Asked::Listing(node), Reply::Listed(rows)) => {
                if let Got::Listed(listed) = &mut self.got {
                    listed.insert(node, rows);
                }
            }
            (Asked::Stat(node), Reply::Stats(stats)) => {
                if let Got::Stats(all) = &mut self.got {
                    all.insert(node, stats);
                }
            }
            (Asked::Copy(node, chunk), Reply::Stored) => {
                if let Got::Copied(copied) = &mut self.got {
                    copied.insert((node, chunk));
                }
            }
            (Asked::One | Asked::Leader(_), Reply::Control(ControlReply::Applied(Ok(_)))) => self.got = Got::Recorded,
            (Asked::One | Asked::Leader(_), Reply::Control(ControlReply::Answer(answer))) => {
                self.got = Got::Control(answer)
            }
            (Asked::One, Reply::Members(members)) => self.got = Got::Members(members),
            (Asked::One, Reply::Applied(_, Ok(outcome))) => self.got = Got::Outcome(outcome),
            (Asked::One | Asked::Leader(_), Reply::Answer(_, answer)) => {
                if let Ok(answer) = *answer {
                    self.got = Got::Answer(answer);
                }
            }
            _ => {}
        }
    }

    fn clock(&mut self, time: Timestamp) {
        if let Got::Clocks(clocks, _) = &mut self.got {
            clocks.push(time);
        }
    }

    /// Whether clocks are asked for.
    #[must_use]
    pub fn asks_clocks(&self) -> bool {
        matches!(self.got, Got::Clocks(..))
    }

    /// What has come of it.
    #[must_use]
    pub fn end(self) -> Got {
        match self.got {
            Got::Clocks(clocks, _) => Got::Clocks(clocks, self.voters),
            got => got,
        }
    }
}
