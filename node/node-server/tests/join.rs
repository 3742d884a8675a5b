//! A machine with a token becomes a node, once.

mod support;

use proto::control::{ControlCommand, ControlOutcome};
use proto::join::{JoinAnswer, JoinError};
use proto::node::{NodeReply, NodeRequest};
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::time::Duration;
use support::{Site, until};
use transport::{Endpoint, NodeKey, Role, TransportConfig, TransportError};
use types::{NodeId, NodeMode, NodeState};

const OLD: [u64; 3] = [1, 2, 3];
const DONE: Result<ControlOutcome, proto::control::ControlRefusal> = Ok(ControlOutcome::Done);

fn request() -> Vec<u8> {
    NodeKey::generate().and_then(|key| key.request()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn c02_a_token_lets_one_machine_in_once_and_while_its_time_lasts() {
    let site = Site::new(3);
    let (one, two, three) = tokio::join!(site.start(1, true), site.start(2, true), site.start(3, true));
    let operator = site.endpoint(&Role::Operator("kim".into()));
    let invitation = site.invitation(4, Duration::from_secs(600));
    let name = invitation.id;
    let joiner = site.joiner(name);
    assert_eq!(site.knock(&joiner, 1, &request()).await, Err(JoinError::Void), "nobody was invited");
    // A client invites nobody, and speaks for nobody who was invited.
    let client = site.endpoint(&Role::Client("tool".into()));
    let claim = ControlCommand::ClaimInvitation { id: name, request: request(), proof: [0; 32] };
    for command in [ControlCommand::Invite { invitation: invitation.clone() }, claim] {
        let refused = site.call(&client, 1, Request::Control(proto::control::ControlRequest::Command(command))).await;
        assert_eq!(refused, Err(TransportError::Rejected(Rejection::Forbidden)));
    }
    assert_eq!(site.control(&operator, &OLD, ControlCommand::Invite { invitation }).await, DONE);

    // Two machines with the same token, by different nodes, at the same time.
    let (first, second) = (request(), request());
    let answers = tokio::join!(site.knock(&joiner, 2, &first), site.knock(&joiner, 3, &second));
    let (mine, other) = match answers {
        (Ok(JoinAnswer::Waiting), Err(JoinError::Used)) => (first, second),
        (Err(JoinError::Used), Ok(JoinAnswer::Waiting)) => (second, first),
        answers => panic!("{answers:?}"),
    };
    assert_eq!(site.knock(&joiner, 1, &mine).await, Ok(JoinAnswer::Waiting), "asking again is waiting");
    let cert = site.ca.certify(&Role::Node(NodeId(4)), &mine).expect("certified");
    let admit = ControlCommand::AdmitNode { id: name, request: mine.clone(), cert: cert.clone() };
    assert_eq!(site.control(&operator, &OLD, admit).await, DONE);
    match site.knock(&joiner, 2, &mine).await {
        Ok(JoinAnswer::Admitted { node, cert: given, map }) => {
            let entry = map.node(NodeId(4)).expect("node 4");
            assert_eq!((node, given, entry.state, entry.mode), (NodeId(4), cert, NodeState::Down, NodeMode::Active));
        }
        answer => panic!("{answer:?}"),
    }
    for replay in [other, request()] {
        assert_eq!(site.knock(&joiner, 3, &replay).await, Err(JoinError::Used));
    }

    // One whose time is over, though the certificate would still be good.
    let short = site.invitation(5, Duration::from_secs(2));
    let late = site.joiner(short.id);
    assert_eq!(site.control(&operator, &OLD, ControlCommand::Invite { invitation: short.clone() }).await, DONE);
    let over = Duration::from_nanos(short.expires.0 as u64);
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    until("its time is over", async || now() > over).await;
    assert_eq!(site.knock(&late, 1, &request()).await, Err(JoinError::Void));
    // And one that was taken back.
    let third = site.invitation(6, Duration::from_secs(600));
    let (id, taken_back) = (third.id, site.joiner(third.id));
    assert_eq!(site.control(&operator, &OLD, ControlCommand::Invite { invitation: third }).await, DONE);
    assert_eq!(site.control(&operator, &OLD, ControlCommand::RevokeInvitation { id }).await, DONE);
    assert_eq!(site.knock(&taken_back, 1, &request()).await, Err(JoinError::Void));
    for node in [one, two, three] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joined_takes_copies_and_votes_and_one_that_was_removed_is_not_heard() {
    let mut site = Site::new(3);
    // All moves at once: that they take their time is shown elsewhere.
    (site.map.options.moves_max, site.map.options.moves_per_node_max) = (256, 64);
    site.map.options.moves_per_disk_max = 64;
    let mut nodes = Vec::new();
    for id in OLD {
        nodes.push(site.start(id, true).await);
    }
    let operator = site.endpoint(&Role::Operator("kim".into()));
    nodes.push(site.join(&operator, &OLD, 4).await);
    let four = NodeId(4);
    let holds = async || {
        let map = site.map_of(&operator, 4).await?;
        let copies = map.groups.iter().filter(|group| group.members.iter().any(|member| member.node == four));
        let votes = map.raft_groups.iter().filter(|group| group.voters.contains(&four));
        Some((map.is_up(four), copies.count() > 30, votes.count() > 2))
    };
    until("it takes its share", async || holds().await == Some((true, true, true))).await;

    let drain = ControlCommand::SetNodeMode { node: four, mode: NodeMode::Draining };
    assert_eq!(site.control(&operator, &OLD, drain).await, DONE);
    let remove = ControlCommand::SetNodeMode { node: four, mode: NodeMode::Removed };
    until("it has nothing any more", async || site.control(&operator, &OLD, remove.clone()).await == DONE).await;
    let credentials = site.config(4, false).credentials;
    let removed = Endpoint::client(&credentials, TransportConfig::default()).expect("an endpoint");
    let ping = |endpoint: &Endpoint, at| {
        let (site, endpoint) = (&site, endpoint.clone());
        async move { site.call(&endpoint, at, Request::Node(NodeRequest::Ping)).await }
    };
    for at in OLD {
        let refused = async || ping(&removed, at).await == Err(TransportError::Rejected(Rejection::Removed));
        until("it is not heard", refused).await;
        assert_eq!(ping(&operator, at).await, Ok(Reply::Node(NodeReply::Pong)));
    }
    // Nor does it come back under its name.
    let again = ControlCommand::Invite { invitation: site.invitation(4, Duration::from_secs(600)) };
    assert_eq!(site.control(&operator, &OLD, again).await, Err(proto::control::ControlRefusal::NodeExists));
    for node in nodes {
        node.stop().await;
    }
}
