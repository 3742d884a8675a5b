//! Has the Raft groups of a node follow the map, in the order of `node-server`'s `membership.rs`: a leader reports who votes; a replica that the map does
//! not want, or whose group has taken in a newer one of its node, asks whether it was let go; and the leader of the control group says who shall vote.

use super::{Got, Here, Scene, Want};
use proto::control::ControlCommand;
use std::collections::VecDeque;
use types::{GroupId, NodeId};

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// The control group told who votes.
    Reporting,
    /// Who belongs to the group of this replica, by the first of these that knows.
    Asking(Here, VecDeque<NodeId>),
    /// A replica let go.
    Leaving,
    /// Who shall vote.
    Placing,
    /// That recorded.
    Recording,
}

/// The follower of a process.
#[derive(Default)]
pub(super) struct Follower {
    /// Replicas that are still to be looked at in this round.
    replicas: VecDeque<Here>,
    stage: Stage,
}

impl Follower {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => {
                self.replicas = scene.here.iter().cloned().collect();
                self.next(scene)
            }
            (Stage::Asking(here, _), Got::Members(members)) => {
                if members.contains(&here.replica) {
                    return self.next(scene);
                }
                self.want(Stage::Leaving, Want::Leave(here.group, here.replica))
            }
            (Stage::Asking(here, voters), _) => self.ask(here, voters, scene),
            (Stage::Placing, Got::Planned(commands)) if !commands.is_empty() => {
                self.want(Stage::Recording, Want::Record(commands))
            }
            (Stage::Placing | Stage::Recording, _) => Want::Rest,
            _ => self.next(scene),
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn next(&mut self, scene: &Scene<'_>) -> Want {
        while let Some(here) = self.replicas.pop_front() {
            if here.leads {
                let mut recorded = scene.map.voters(here.group).to_vec();
                recorded.sort_unstable();
                if !recorded.is_empty() && here.voters != recorded {
                    let Here { group, at, voters, .. } = here;
                    return self.want(Stage::Reporting, Want::Tell(ControlCommand::RecordVoters { group, at, voters }));
                }
            } else if here.doubted || !scene.map.concerns(here.group, scene.node) {
                let voters =
                    scene.map.voters(here.group).iter().copied().filter(|voter| *voter != scene.node).collect();
                return self.ask(here, voters, scene);
            }
        }
        let steers = scene.here.iter().any(|here| here.group == GroupId::CONTROL && here.leads);
        if steers { self.want(Stage::Placing, Want::PlaceVoters) } else { Want::Rest }
    }

    fn ask(&mut self, here: Here, mut voters: VecDeque<NodeId>, scene: &Scene<'_>) -> Want {
        let Some(voter) = voters.pop_front() else { return self.next(scene) };
        let want = Want::Members(voter, here.group);
        self.want(Stage::Asking(here, voters), want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::ChunkStore;
    use types::{GroupPlacement, LogIndex, PlacementMap, ReplicaId};

    fn round(here: Here, members: &[ReplicaId]) -> Vec<Want> {
        let placed = GroupPlacement::founding(GroupId(1), [1, 2, 3].map(NodeId).into());
        let map = PlacementMap { raft_groups: vec![placed], ..PlacementMap::default() };
        let chunks = ChunkStore::default();
        let scene = Scene { here: vec![here], ..Scene::of(NodeId(4), &map, &chunks) };
        let (mut follower, mut got, mut wants) = (Follower::default(), Got::Begin, Vec::new());
        loop {
            let want = follower.step(got, &scene);
            got = match &want {
                Want::Members(NodeId(2), _) => Got::Members(members.to_vec()),
                Want::Rest => return wants,
                _ => Got::Nothing,
            };
            wants.push(want);
        }
    }

    #[test]
    fn only_a_replica_that_its_group_does_not_name_is_let_go_and_a_leader_reports() {
        let (group, replica) = (GroupId(1), ReplicaId::founding(NodeId(4)));
        let here = Here { group, replica, leads: false, doubted: false, voters: Vec::new(), at: LogIndex(7) };
        let asked = [1, 2].map(|voter| Want::Members(NodeId(voter), group));
        let wants = round(here.clone(), &[ReplicaId::founding(NodeId(1))]);
        assert_eq!(wants, [&asked[..], &[Want::Leave(group, replica)]].concat());
        assert_eq!(round(here.clone(), &[replica]), asked);
        let voters = [1, 2, 4].map(NodeId).to_vec();
        let leader = Here { leads: true, voters: voters.clone(), ..here };
        let report = ControlCommand::RecordVoters { group, at: LogIndex(7), voters };
        assert_eq!(round(leader, &[]), [Want::Tell(report)]);
    }
}
