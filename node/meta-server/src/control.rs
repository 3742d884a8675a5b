//! From the placement map to the commands that move copies, by way of the planner and of the check that every plan has to pass.

use placement::{Limits, PlannedMove};
use proto::control::ControlCommand;
use types::PlacementMap;

pub use placement::{Blocked, Obstacle, Reason, Report};

/// What should be done next, and how things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextSteps {
    /// Commands for the control group, in order: moves to give up, then moves to begin.
    pub commands: Vec<ControlCommand>,
    /// How the groups stand, and what could not be helped and why.
    pub report: Report,
}

/// Plans the next moves under the limits that stand in the map. A plan that breaks a rule is a mistake of the planner: it is logged, and nothing is done.
#[must_use]
pub fn next_steps(map: &PlacementMap) -> NextSteps {
    let limits = Limits::from(&map.options);
    let (plan, report) = placement::plan(map, &limits);
    let faults = placement::check_plan(map, &plan, &limits);
    if !faults.is_empty() {
        tracing::error!(?faults, "a plan breaks the rules and is not carried out");
        return NextSteps { commands: Vec::new(), report };
    }
    let aborts = plan.aborts.iter().map(|(pg, epoch)| ControlCommand::AbortMove { pg: *pg, epoch: *epoch });
    let begins = plan.moves.iter().map(|planned| {
        let PlannedMove { pg, epoch, from, to, .. } = *planned;
        ControlCommand::BeginMove { pg, epoch, from, to }
    });
    NextSteps { commands: aborts.chain(begins).collect(), report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Member, NodeEntry, NodeId, NodeMode, PgEpoch, PgId, PlacementGroup};

    #[test]
    fn a_draining_node_becomes_commands_that_move_its_copies() {
        let disk = |id: u64| types::DiskId([id as u8; 16]);
        let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), [disk(id)]);
        let member = |id: u64| Member { node: NodeId(id), disk: 0 };
        let group = PlacementGroup::settled(PgId(0), PgEpoch(3), [1, 2, 3].map(member).into());
        let mut map = PlacementMap {
            nodes: (1..=4).map(node).collect(),
            groups: vec![group],
            slots: vec![0],
            ..PlacementMap::default()
        };
        map.nodes[1].mode = NodeMode::Draining;
        let steps = next_steps(&map);
        let begin = ControlCommand::BeginMove { pg: PgId(0), epoch: PgEpoch(3), from: member(2), to: member(4) };
        assert_eq!((steps.commands, steps.report.blocked), (vec![begin], Vec::new()));
    }
}
