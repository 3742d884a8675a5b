//! Chunks that the metadata wants on this node, and chunks that lie here: as far as one node's folder can tell.
//!
//! What the metadata of a node wants was acknowledged only once it lay here, or with a note that it does not. So what is wanted, not noted as
//! missing, and not here, was lost here; unless it moved away or was deleted since, and the metadata is older than that: after a power cut the states
//! lag behind their logs. Then it is a warning, and the node has to run to know. A node without a replica of the control group has no map but the
//! first one, and nothing is compared.

use super::groups::Groups;
use chunk_store::{CheckedDisk, Held};
use meta_core::audit::{StoredChunk, chunk, chunks};
use meta_core::kv::KvError;
use serde::Serialize;
use types::{ChunkId, Findings, GroupId, NodeId, PlacementMap};

const RUN: &str =
    "start the node and look again once it has caught up: it may have moved away or been deleted meanwhile";
const DRAIN: &str = "the other members have it; drain the disk (`sago placement disk ID drain`), so that its copies are made anew from theirs";

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Homes {
    /// Chunks that the metadata on this node wants here.
    pub(super) wanted: u64,
    /// Of these such that are known to be missing here; they are brought once the node runs.
    pub(super) noted: u64,
    /// Of these such that are not here.
    pub(super) missing: u64,
    /// Chunks here whose group is on this node and has never heard of them: of writers that are under way, or orphans.
    pub(super) unknown: u64,
    /// Chunks here that nothing refers to any more.
    pub(super) garbage: u64,
    /// Chunks here that do not belong on this disk by the map.
    pub(super) leftovers: u64,
}

/// Compares the metadata on this node with its disks.
pub(super) fn check(
    node: NodeId,
    map: &PlacementMap,
    groups: &Groups,
    disks: &[Option<CheckedDisk>],
    findings: &mut Findings,
) -> Homes {
    let mut look = Look { node, map, disks, findings, homes: Homes::default(), current: false };
    for (group, state) in groups.states().iter().filter(|(group, _)| **group != GroupId::CONTROL) {
        if state.audited.damaged > 0 {
            continue;
        }
        look.current = groups.are_current(*group);
        let looked = chunks(&state.rows, |chunk| {
            look.wanted(&chunk);
            Ok(())
        });
        if let Err(error) = looked {
            look.findings.damage("state-unreadable", group, super::chain(&error), "see the state of this group");
        }
    }
    let mut homes = look.homes;
    for (number, disk) in disks.iter().enumerate() {
        if let Some(disk) = disk {
            disk.each_live(|chunk| lying(node, map, groups, number, chunk, &mut homes));
        }
    }
    let noted = [
        (
            "chunk-unknown",
            homes.unknown,
            "chunks that their group has never heard of: of writers under way, or orphans",
        ),
        ("chunk-garbage", homes.garbage, "chunks that nothing refers to any more"),
        ("chunk-leftover", homes.leftovers, "chunks that have moved away by the map"),
    ];
    for (code, count, what) in noted.into_iter().filter(|(_, count, _)| *count > 0) {
        findings.note(code, node, format!("{count} {what}"), "nothing: the node and the collector see to them");
    }
    homes
}

struct Look<'a> {
    node: NodeId,
    map: &'a PlacementMap,
    disks: &'a [Option<CheckedDisk>],
    findings: &'a mut Findings,
    homes: Homes,
    /// What the group at hand says is as new as what was done here.
    current: bool,
}

impl Look<'_> {
    /// A chunk that a group knows.
    fn wanted(&mut self, chunk: &StoredChunk) {
        if !chunk.needed {
            return;
        }
        let Some(group) = self.map.group_of(chunk.id.parts().slot) else {
            let what = "its slot is not in use by the map on this node";
            self.findings.warning("chunk-homeless", chunk.id, what, "start the node: it gets the newest map");
            return;
        };
        let node = self.node;
        let here = group.members.iter().enumerate().filter(|(_, member)| member.node == node);
        for (at, member) in here {
            self.homes.wanted += 1;
            if chunk.missing & (1 << at) != 0 {
                self.homes.noted += 1;
                continue;
            }
            let disk = self.disks.get(usize::from(member.disk)).and_then(Option::as_ref);
            let Some(disk) = disk else { continue };
            self.held(chunk, disk.held(chunk.id));
        }
    }

    fn held(&mut self, chunk: &StoredChunk, held: Held) {
        match held {
            Held::Live(len, root) if (len, root) == (chunk.len, chunk.root) => {}
            Held::Live(..) => {
                let what = "another length or hash lies here than the metadata knows";
                self.findings.damage("chunk-differs", chunk.id, what, DRAIN);
            }
            Held::Deleted => {
                // The leader of the group has it deleted as soon as most members know that it may be; this one may not have known.
                let what = "the metadata here refers to it, and it was deleted";
                self.findings.warning("chunk-deleted", chunk.id, what, RUN);
            }
            Held::Nothing => {
                self.homes.missing += 1;
                // Another disk of this node may have it: a copy that is moving between them.
                if !self.disks.iter().flatten().any(|disk| matches!(disk.held(chunk.id), Held::Live(..))) {
                    let what = "the metadata refers to it, and it is not here";
                    match self.current {
                        true => self.findings.damage("chunk-missing", chunk.id, what, DRAIN),
                        false => self.findings.warning("chunk-missing", chunk.id, what, RUN),
                    }
                }
            }
            // The damaged copy was told; without an index nothing can be told.
            Held::Quarantined | Held::Unknown => {}
        }
    }
}

/// A chunk that lies on a disk.
fn lying(node: NodeId, map: &PlacementMap, groups: &Groups, disk: usize, id: ChunkId, homes: &mut Homes) {
    let parts = id.parts();
    if let Some(group) = map.group_of(parts.slot)
        && !group.takers().any(|taker| taker.node == node && usize::from(taker.disk) == disk)
    {
        homes.leftovers += 1;
    }
    let state = groups.states().get(&parts.group).filter(|state| state.audited.damaged == 0);
    let known: Option<Result<_, KvError>> = state.map(|state| chunk(&state.rows, id));
    match known {
        Some(Ok(None)) => homes.unknown += 1,
        Some(Ok(Some(known))) if !known.needed => homes.garbage += 1,
        Some(_) | None => {}
    }
}
