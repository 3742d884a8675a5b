//! The control group says who shall vote when nodes come and go.

use crate::server::MetaServer;
use placement::{VoterNode, plan_voters};
use proto::control::ControlCommand;
use proto::log::LogCommand;
use std::time::Duration;
use tokio::time::timeout;
use types::{GroupId, PlacementMap};

/// Groups whose members change at the same time: each may send a whole state to a new voter.
const CHANGES_AT_ONCE: usize = 2;
/// How long one command may take; what is not answered is planned again in the next round.
const COMMAND_MAX: Duration = Duration::from_secs(2);

impl MetaServer {
    /// Plans who shall vote, given what may become of the nodes' votes, and has the control group take note of it. For the leader of
    /// the control group, with the newest map. Repeating it does no harm.
    pub async fn place_voters(&self, map: &PlacementMap, nodes: &[VoterNode]) {
        let plan = plan_voters(nodes, &map.raft_groups, CHANGES_AT_ONCE);
        for (group, node) in &plan.stuck {
            tracing::debug!(%group, %node, "no node can take this vote");
        }
        for (group, wanted) in plan.changes {
            tracing::info!(%group, ?wanted, "voters are placed anew");
            let command = LogCommand::Control(ControlCommand::PlaceVoters { group, wanted });
            let _ = timeout(COMMAND_MAX, self.propose(GroupId::CONTROL, command)).await;
        }
    }
}
