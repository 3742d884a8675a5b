//! Where the copies of chunks are said to be, and which epochs of placement groups are over.

use super::{Judge, Rule, Violation};
use crate::event::Millis;
use std::collections::{BTreeMap, BTreeSet};
use types::{ChunkId, Member, NodeId, PgEpoch, PgId, PlacementGroup, REPLICAS};

/// A chunk as its writer sent it out.
struct Written {
    epoch: PgEpoch,
    takers: Vec<NodeId>,
    at: Millis,
    /// Its writer will never commit it.
    given_up: bool,
    /// Once it is committed: the nodes of which the writer said that they have it, but for those that took it off since.
    said: Option<BTreeSet<NodeId>>,
    /// All members had it when it was committed.
    whole: bool,
}

/// Copies and epochs.
#[derive(Default)]
pub(super) struct Copies {
    written: BTreeMap<ChunkId, Written>,
    /// No member takes a put of an older epoch any more.
    barriers: BTreeMap<PgId, PgEpoch>,
    /// The newest move of a group: the disk it brings in, and the epoch it began with.
    moves: BTreeMap<PgId, (Member, PgEpoch)>,
    /// Who took a put of an older epoch after that, being no member any more.
    late: BTreeMap<ChunkId, NodeId>,
}

impl Copies {
    /// The commit of a chunk is lost.
    pub(super) fn unsays(&mut self, chunk: ChunkId) {
        if let Some(written) = self.written.get_mut(&chunk) {
            (written.said, written.whole) = (None, false);
        }
    }
}

impl Judge {
    /// A writer sends a chunk to these, the members first, under an epoch.
    pub(super) fn sends_out(&mut self, chunk: ChunkId, epoch: PgEpoch, takers: &[Member], at: Millis) {
        let takers = takers.iter().map(|taker| taker.node).collect();
        let written = Written { epoch, takers, at, given_up: false, said: None, whole: false };
        self.copies.written.insert(chunk, written);
    }

    /// A writer will never commit a chunk.
    pub fn gives_up(&mut self, chunk: ChunkId) {
        if let Some(written) = self.copies.written.get_mut(&chunk) {
            written.given_up = true;
        }
    }

    /// A chunk is committed; the bits are those of members that its writer had no answer from.
    pub(super) fn says(&mut self, chunk: ChunkId, missing: u8) {
        if let Some(written) = self.copies.written.get_mut(&chunk) {
            let members = written.takers.iter().take(REPLICAS).enumerate();
            let said = members.filter(|(at, _)| missing >> at & 1 == 0).map(|(_, node)| *node);
            written.said = Some(said.collect());
            written.whole = missing.trailing_zeros() as usize >= REPLICAS;
        }
    }

    /// The nodes of which the writer of a committed chunk said that they have it, but for those that took it off since.
    #[must_use]
    pub fn holders(&self, chunk: ChunkId) -> Option<&BTreeSet<NodeId>> {
        self.copies.written.get(&chunk)?.said.as_ref()
    }

    /// Whether a chunk that is not committed may yet be, by a writer that began to write it at that moment or later.
    #[must_use]
    pub fn may_commit(&self, chunk: ChunkId, since: Millis) -> bool {
        self.copies.written.get(&chunk).is_none_or(|written| !written.given_up && written.at >= since)
    }

    /// A group has changed. A recovery raises the epoch of a move that goes on: what was put since that began was sent to the newcomer, and is noted if it missed it.
    pub fn moves(&mut self, was: &PlacementGroup, is: &PlacementGroup) {
        let Some(moving) = &is.moving else { return };
        let recovered = is.epoch.0 > was.epoch.0 + 1;
        let goes_on = was.epoch == is.epoch || recovered;
        let known = self.copies.moves.get(&is.id).is_some_and(|(to, _)| *to == moving.to);
        if !(known && goes_on) {
            self.copies.moves.insert(is.id, (moving.to, is.epoch));
        }
    }

    /// Committed chunks that all members of their group were sent before its last move began, and had.
    pub fn settled_before_move(&self, pg: PgId) -> impl Iterator<Item = ChunkId> + '_ {
        let epoch = self.copies.moves.get(&pg).map_or(PgEpoch(0), |(_, epoch)| *epoch);
        let whole = self.copies.written.iter().filter(move |(_, written)| written.whole && written.epoch < epoch);
        whole.map(|(chunk, _)| *chunk)
    }

    /// A node has taken a chunk off its disk, as it may.
    pub fn lets_go(&mut self, chunk: ChunkId, node: NodeId) {
        if let Some(said) = self.copies.written.get_mut(&chunk).and_then(|written| written.said.as_mut()) {
            said.remove(&node);
        }
    }

    /// The barrier of a group's epoch is passed.
    pub fn passes(&mut self, pg: PgId, epoch: PgEpoch) {
        let known = self.copies.barriers.entry(pg).or_default();
        *known = (*known).max(epoch);
    }

    /// A node takes a put of an epoch. If a later one has a barrier that is passed, no member would, and of those that have left since the last one at most: a
    /// writer that hears of one copy alone cannot commit.
    ///
    /// # Errors
    /// A member does, or a second one.
    pub fn takes(
        &mut self,
        node: NodeId,
        chunk: ChunkId,
        epoch: PgEpoch,
        group: &PlacementGroup,
    ) -> Result<(), Violation> {
        let passed = self.copies.barriers.get(&group.id).copied().unwrap_or_default();
        if epoch >= passed {
            return Ok(());
        }
        let member = group.members.iter().any(|member| member.node == node);
        if member || *self.copies.late.entry(chunk).or_insert(node) != node {
            let text = format!("{node} takes a put of {chunk} of {epoch}, and {passed} of {} is passed", group.id);
            return Err(Violation::new(Rule::Move, text));
        }
        Ok(())
    }

    /// Whether metadata refers to a chunk now.
    #[must_use]
    pub fn refers_to(&self, chunk: ChunkId) -> bool {
        self.models.last().is_some_and(|model| model.refers_to(chunk))
    }
}
