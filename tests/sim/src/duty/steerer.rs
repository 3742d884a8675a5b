//! Drives moves as the leader of the control group, in the order of `node-server`'s `moves.rs`: moves in progress go a step further, then new ones are planned by
//! the newest map. Nothing is remembered from round to round.

use super::{Barrier, Got, Scene, Want};
use proto::control::ControlCommand;
use std::collections::BTreeSet;
use types::{MovePhase, PlacementGroup};

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// Barriers passed.
    Passing,
    /// Moves taken a step further.
    Advancing,
    /// A plan.
    Planning,
    /// It begun.
    Beginning,
}

/// The driver of a process.
#[derive(Default)]
pub(super) struct Steerer {
    stage: Stage,
}

impl Steerer {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => {
                let asked: Vec<Barrier> = behind_barriers(scene).flat_map(|group| to_ask(group, scene)).collect();
                if asked.is_empty() {
                    return self.advance(&BTreeSet::new(), scene);
                }
                self.want(Stage::Passing, Want::Barriers(asked))
            }
            (Stage::Passing, Got::Passed(passed)) => self.advance(&passed, scene),
            (Stage::Advancing, _) => self.want(Stage::Planning, Want::Plan),
            (Stage::Planning, Got::Planned(commands)) if !commands.is_empty() => {
                self.want(Stage::Beginning, Want::Record(commands))
            }
            _ => Want::Rest,
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn advance(&mut self, passed: &BTreeSet<Barrier>, scene: &Scene<'_>) -> Want {
        let over = behind_barriers(scene).filter(|group| has_passed(group, passed, scene));
        let over = over.map(|group| ControlCommand::PassBarrier { pg: group.id, epoch: group.epoch });
        let synced = moving(scene, |phase| matches!(phase, MovePhase::Synced { .. }));
        let synced = synced.map(|group| ControlCommand::CommitMove { pg: group.id, epoch: group.epoch });
        let commands: Vec<ControlCommand> = over.chain(synced).collect();
        if commands.is_empty() {
            return self.want(Stage::Planning, Want::Plan);
        }
        self.want(Stage::Advancing, Want::Record(commands))
    }
}

fn moving<'a>(scene: &Scene<'a>, at: impl Fn(MovePhase) -> bool + 'a) -> impl Iterator<Item = &'a PlacementGroup> {
    let of = move |group: &&PlacementGroup| group.moving.as_ref().is_some_and(|moving| at(moving.phase));
    scene.map.groups.iter().filter(of)
}

fn behind_barriers<'a>(scene: &Scene<'a>) -> impl Iterator<Item = &'a PlacementGroup> {
    moving(scene, |phase| phase == MovePhase::Barrier)
}

/// The members that are up.
fn to_ask(group: &PlacementGroup, scene: &Scene<'_>) -> Vec<Barrier> {
    let nodes = group.members.iter().map(|member| member.node).filter(|node| scene.map.is_up(*node));
    nodes.map(|node| (node, group.id, group.epoch)).collect()
}

/// Whether every member has passed the barrier, or must have lost its lease.
fn has_passed(group: &PlacementGroup, passed: &BTreeSet<Barrier>, scene: &Scene<'_>) -> bool {
    group.members.iter().all(|member| match scene.map.is_up(member.node) {
        true => passed.contains(&(member.node, group.id, group.epoch)),
        false => scene.silent.contains(&member.node),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::ChunkStore;
    use types::{Member, Move, NodeEntry, NodeId, NodeState, PgEpoch, PgId, PlacementMap, SetDigest};

    fn map(phase: MovePhase) -> PlacementMap {
        let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), []);
        let member = |id| Member { node: NodeId(id), disk: 0 };
        let mut group = PlacementGroup::settled(PgId(0), PgEpoch(2), [1, 2, 3].map(member).into());
        group.moving = Some(Move { at: 0, to: member(4), phase });
        let mut map =
            PlacementMap { nodes: (1..=4).map(node).collect(), groups: vec![group], ..PlacementMap::default() };
        map.nodes[2].state = NodeState::Down;
        map
    }

    fn first(map: &PlacementMap, deaf: u64, silent: &[u64]) -> Want {
        let chunks = ChunkStore::default();
        let silent = silent.iter().map(|node| NodeId(*node)).collect();
        let scene = Scene { silent, ..Scene::of(NodeId(1), map, &chunks) };
        let mut steerer = Steerer::default();
        match steerer.step(Got::Begin, &scene) {
            Want::Barriers(asked) => {
                let answered = asked.into_iter().filter(|(node, ..)| node.0 != deaf).collect();
                steerer.step(Got::Passed(answered), &scene)
            }
            other => other,
        }
    }

    #[test]
    fn a_barrier_is_passed_by_all_members_or_by_the_end_of_their_leases_and_only_what_is_synced_is_committed() {
        let (pg, epoch) = (PgId(0), PgEpoch(2));
        let barrier = map(MovePhase::Barrier);
        assert_eq!(first(&barrier, 0, &[]), Want::Plan, "one is down and may still have a lease");
        assert_eq!(first(&barrier, 0, &[3]), Want::Record(vec![ControlCommand::PassBarrier { pg, epoch }]));
        assert_eq!(first(&barrier, 2, &[3]), Want::Plan, "one has not answered");
        assert_eq!(first(&map(MovePhase::Copying), 0, &[3]), Want::Plan);
        let synced = MovePhase::Synced { chunks: 1, digest: SetDigest(7) };
        assert_eq!(first(&map(synced), 0, &[]), Want::Record(vec![ControlCommand::CommitMove { pg, epoch }]));
    }
}
