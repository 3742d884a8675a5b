//! The atlas of what is damaged: whoever breaks copies never touches the last good one of a chunk, so that any loss is a mistake.
//!
//! A copy counts if it is on a member that stays one and lives, is not broken as far as the atlas knows, and is there, or was said to be there by the
//! writer: a writer that says too much loses what it has.

use super::World;
use crate::chunks::Flush;
use crate::event::Millis;
use crate::node::Node;
use crate::random::Random;
use std::collections::BTreeMap;
use types::{ChunkId, Member, NodeId, PlacementGroup, PlacementMap};

/// A writer that has not committed what it wrote by then never will.
const COMMIT_MAX: Millis = 16_000;

/// Whether a good copy of a chunk that no member of a group has is where nobody looks for it now: on a node that the map takes for lost or that is no
/// member any more; or on a member, by a map that is newer than the one the group is of. Such a chunk is away and not lost: what has it will give it.
pub(super) fn is_elsewhere(
    nodes: &BTreeMap<NodeId, Node>,
    map: &PlacementMap,
    chunk: ChunkId,
    group: &PlacementGroup,
) -> bool {
    let stale = map.group(group.id) != Some(group);
    let looked_for = |node: &Node| {
        let member = group.members.iter().find(|member| member.node == node.id);
        member.is_some_and(|member| !map.is_lost(*member)) && !node.troubles.dead
    };
    let good = |node: &&Node| !node.gone && node.chunks.has_good(chunk);
    nodes.values().filter(good).any(|node| stale || !looked_for(node))
}

impl World<'_> {
    /// Rots one copy of a committed chunk, and sometimes a second one of the same: whoever makes copies again then finds a bad one first
    /// as often as a good one.
    pub(super) fn rot(&mut self, id: NodeId, random: &mut Random) -> bool {
        // Half of the time one that was just committed: what a writer claimed too early may not be there yet.
        let recent = random.chance(500);
        let there = |chunk: &ChunkId| self.nodes[&id].chunks.has(*chunk) && self.may_damage(*chunk, id);
        let chunks: Vec<ChunkId> = self.judge.committed().iter().map(|chunk| chunk.id).filter(there).collect();
        let some = &chunks[if recent { chunks.len().saturating_sub(3) } else { 0 }..];
        let Some(chunk) = random.pick(some).copied() else { return false };
        let made = self.rot_copy(chunk, id, random);
        if made && random.chance(400) {
            let members = self.map.group_of(chunk.slot()).map_or(&[][..], |group| &group.members[..]);
            let others: Vec<NodeId> = members.iter().map(|member| member.node).filter(|node| *node != id).collect();
            let other = random.pick(&others).copied();
            if let Some(other) = other.filter(|other| self.may_damage(chunk, *other)) {
                self.rot_copy(chunk, other, random);
            }
        }
        made
    }

    fn rot_copy(&mut self, chunk: ChunkId, id: NodeId, random: &mut Random) -> bool {
        let made = self.nodes.get_mut(&id).expect("a node").chunks.rot(chunk, random);
        if made {
            self.damages(chunk, id);
        }
        made
    }

    /// A copy is broken from now on.
    pub(super) fn damages(&mut self, chunk: ChunkId, id: NodeId) {
        self.damaged.insert((chunk, id));
        self.ever_damaged.insert(chunk);
    }

    /// Whether a node's copy of a chunk may be damaged. Never one that does not belong there: it may be the last when its members are out, and
    /// nobody looks at it any more. And never a third, wherever the others are: they may be members again before a scrub has found them.
    fn may_damage(&self, chunk: ChunkId, id: NodeId) -> bool {
        let Some(group) = self.map.group_of(chunk.slot()) else { return false };
        let broken = self.damaged.range((chunk, NodeId(0))..=(chunk, NodeId(u64::MAX)));
        let broken = broken.filter(|(_, at)| *at != id).count();
        broken < 2 && group.takers().any(|taker| taker.node == id) && self.is_good_elsewhere(chunk, &[id])
    }

    /// Whether a good copy of a chunk is left without those of some nodes.
    pub(super) fn is_good_elsewhere(&self, chunk: ChunkId, than: &[NodeId]) -> bool {
        let Some(group) = self.map.group_of(chunk.slot()) else { return false };
        let leaves = group.moving.as_ref().map(|moving| usize::from(moving.at));
        let said = self.judge.holders(chunk);
        let counts = |(at, member): (usize, &Member)| {
            let node = &self.nodes[&member.node];
            let lives = !than.contains(&member.node) && Some(at) != leaves && !node.gone && !node.troubles.dead;
            let there = || said.is_some_and(|said| said.contains(&node.id)) || node.chunks.has_good(chunk);
            lives && !self.damaged.contains(&(chunk, node.id)) && there()
        };
        group.members.iter().enumerate().any(counts)
    }

    /// Whether everything on some nodes may be lost: there is another good copy of all that is referred to or may yet be.
    pub(super) fn may_lose(&self, ids: &[NodeId]) -> bool {
        let referenced = self.judge.referenced();
        let mut chunks = ids.iter().flat_map(|id| self.nodes[id].chunks.list(None, usize::MAX));
        chunks.all(|chunk| {
            let needed = match self.judge.holders(chunk) {
                Some(_) => referenced.contains(&chunk),
                None => self.judge.may_commit(chunk, self.now.saturating_sub(COMMIT_MAX)),
            };
            !needed || self.is_good_elsewhere(chunk, ids)
        })
    }

    /// What becomes of a chunk whose flush ends now.
    pub(super) fn flush_of(&mut self, id: NodeId, chunk: ChunkId, lies: bool) -> Flush {
        let committed = self.judge.holders(chunk).is_some();
        if lies {
            // What is committed may be copied here to be taken off elsewhere: then it must not be the last.
            return if !committed || self.may_damage(chunk, id) { Flush::Lied } else { Flush::Honest };
        }
        let troubles = &self.nodes[&id].troubles;
        let (loses, misdirects) = (troubles.loses_next, troubles.misdirects_next);
        if !(loses || misdirects) || !self.may_damage(chunk, id) {
            return Flush::Honest;
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        if loses {
            node.troubles.loses_next = false;
            return Flush::Lost;
        }
        let dice = node.random.next();
        match node.chunks.any(dice).filter(|victim| *victim != chunk) {
            Some(victim) if self.may_damage(victim, id) => {
                self.nodes.get_mut(&id).expect("a node").troubles.misdirects_next = false;
                Flush::Misdirected(victim)
            }
            _ => Flush::Honest,
        }
    }
}
