//! Which calls a certificate's role allows. Raft streams are for nodes only as well; `server` sees to that.

use crate::identity::PeerIdentity;
use proto::Request;
use proto::chunk::ChunkRequest;
use proto::node::NodeRequest;

/// Whether `peer` may make this call.
pub(crate) fn allows(peer: &PeerIdentity, request: &Request) -> bool {
    if peer.invitation().is_some() {
        return matches!(request, Request::Node(NodeRequest::Join { .. }));
    }
    match request {
        Request::Node(NodeRequest::Join { .. }) => false,
        Request::Snapshot(_)
        | Request::Node(NodeRequest::Members { .. })
        | Request::Chunk(ChunkRequest::Delete { .. } | ChunkRequest::Barrier { .. } | ChunkRequest::List { .. }) => {
            peer.is_node()
        }
        Request::Node(NodeRequest::Heartbeat { node, .. }) => peer.node() == Some(*node),
        Request::Node(NodeRequest::Ping | NodeRequest::Status | NodeRequest::Scrub | NodeRequest::Clock)
        | Request::Chunk(
            ChunkRequest::Put { .. }
            | ChunkRequest::Get { .. }
            | ChunkRequest::Stat { .. }
            | ChunkRequest::Replicate { .. }
            | ChunkRequest::Report { .. },
        )
        | Request::Meta(_)
        | Request::Control(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use proto::control::{ControlQuery, ControlRequest};
    use types::{Incarnation, InvitationId, NodeId};

    #[test]
    fn heartbeats_are_for_the_node_itself_and_deletes_for_any_node() {
        let client = PeerIdentity { role: Role::Client("tool".into()) };
        let node = PeerIdentity { role: Role::Node(NodeId(1)) };
        let beat = |id| {
            let (node, incarnation) = (NodeId(id), Incarnation(1));
            Request::Node(NodeRequest::Heartbeat { node, incarnation, ailing: Vec::new() })
        };
        assert!(allows(&node, &beat(1)));
        assert!(!allows(&node, &beat(2)));
        assert!(!allows(&client, &beat(1)));
        let members = Request::Node(NodeRequest::Members { group: types::GroupId(1) });
        assert!(allows(&node, &members) && !allows(&client, &members));
        let delete = Request::Chunk(ChunkRequest::Delete { chunks: Vec::new() });
        assert!(allows(&node, &delete));
        assert!(!allows(&client, &delete));
        assert!(allows(&client, &Request::Node(NodeRequest::Ping)));
    }

    #[test]
    fn who_was_invited_may_say_so_and_nothing_else_and_nobody_else_may_say_it() {
        let join = Request::Node(NodeRequest::Join { request: Vec::new(), proof: [0; 32] });
        let joiner = PeerIdentity { role: Role::Joiner(InvitationId([1; 16])) };
        assert!(allows(&joiner, &join));
        let map = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
        for request in [Request::Node(NodeRequest::Ping), Request::Node(NodeRequest::Status), map] {
            assert!(!allows(&joiner, &request), "{request:?}");
        }
        for role in [Role::Node(NodeId(1)), Role::Client("tool".into()), Role::Operator("kim".into())] {
            assert!(!allows(&PeerIdentity { role }, &join));
        }
    }
}
