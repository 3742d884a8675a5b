//! A storage node: one replica of the metadata group and a store of chunks, over a disk that outlives its processes.

use crate::disk::{Crash, Disk};
use crate::event::{Life, Millis, Reply};
use crate::random::Random;
use crate::replica::{Bug, Replica, Start};
use bytes::Bytes;
use chunk_core::read::Piece;
use proto::chunk::ChunkError;
use std::collections::BTreeMap;
use types::{ChunkId, NodeId};

/// A node.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its process, while it runs.
    pub replica: Option<Replica>,
    /// The disk of its replica.
    pub disk: Disk,
    /// Counts its processes.
    pub life: Life,
    /// Flushed chunks.
    pub chunks: BTreeMap<ChunkId, Bytes>,
    /// When the log's last queued write will be flushed: they are flushed one after the other.
    pub log_busy_until: Millis,
    /// Flushes are slow until then.
    pub slow_until: Millis,
    /// The process stands still until then.
    pub paused_until: Millis,
    /// The power went: the next start trusts its promises only after it has caught up.
    distrust: bool,
}

impl Node {
    /// A node with empty disks, not running.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Node {
            id,
            replica: None,
            disk: Disk::default(),
            life: Life(0),
            chunks: BTreeMap::new(),
            log_busy_until: 0,
            slow_until: 0,
            paused_until: 0,
            distrust: false,
        }
    }

    /// Starts its process from what is on the disk.
    pub fn start(&mut self, voters: &[NodeId], seed: u64, bug: Option<Bug>) {
        self.life = Life(self.life.0 + 1);
        let distrust = std::mem::take(&mut self.distrust);
        let start = Start { node: self.id, voters, seed: seed ^ (self.id.0 << 32) ^ self.life.0, distrust, bug };
        self.replica = Some(Replica::start(&start, &self.disk));
    }

    /// Ends its process.
    pub fn crash(&mut self, crash: Crash, random: &mut Random) {
        if let Some(replica) = self.replica.take() {
            replica.crash(crash, &mut self.disk, random);
        }
        self.life = Life(self.life.0 + 1);
        (self.log_busy_until, self.paused_until) = (0, 0);
        self.distrust |= crash == Crash::Power;
    }

    /// How long a flush takes now.
    pub fn flush_time(&self, now: Millis, random: &mut Random) -> Millis {
        let slow = if now < self.slow_until { random.between(50, 400) } else { 0 };
        random.between(1, 6) + slow
    }

    /// What the chunk store says to a read: the bytes it has, right or not; the reader checks.
    #[must_use]
    pub fn read(&self, chunk: ChunkId) -> Reply {
        match self.chunks.get(&chunk) {
            None => Reply::Refused(ChunkError::NotFound),
            Some(data) => {
                let chunk_len = data.len() as u32;
                Reply::Piece(Piece { first_leaf: 0, chunk_len, leaves: Vec::new(), data: data.clone() })
            }
        }
    }

    /// Changes a byte of a chunk; false if it has none of that id.
    pub fn rot(&mut self, chunk: ChunkId, random: &mut Random) -> bool {
        let Some(data) = self.chunks.get_mut(&chunk) else { return false };
        let mut rotten = data.to_vec();
        let place = random.below(rotten.len() as u64) as usize;
        rotten[place] ^= 1 << random.below(8);
        *data = rotten.into();
        true
    }
}
