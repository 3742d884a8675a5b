//! Commands and queries against fake nodes that fail over, redirect, lose answers and die.

mod support;

use cluster_client::{CallError, Client, Cluster};
use proto::control::{ControlAnswer, ControlQuery};
use proto::meta::{Answer, Command, Outcome, Query};
use std::sync::Arc;
use std::time::Duration;
use support::{Fakes, Faults, GROUP, command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use types::{BucketId, FeatureLevel, NodeId};

const SECOND: Duration = Duration::from_secs(1);
/// From the death of a leader to the first answer of the next one.
const WRITE_GAP_MAX: Duration = Duration::from_secs(3);
/// How long the fakes are without a leader.
const ELECTION: Duration = Duration::from_millis(1500);

/// The fakes elect nobody; this is how long a real group takes.
async fn election(begun: Instant) {
    let _ = timeout_at(begun + ELECTION, std::future::pending::<()>()).await;
}

async fn run(client: &Client, bucket: u64) {
    assert_eq!(client.command(GROUP, command(bucket)).await, Ok(Ok(Outcome::Done)));
}

fn usage() -> Query {
    Query::Usage { bucket: BucketId(1) }
}

/// Every command applied was received and counted once.
fn assert_applied(fakes: &Fakes, buckets: u64) {
    let world = fakes.world.lock();
    let mut applied: Vec<_> = world.applied.values().cloned().collect();
    applied.sort_by_key(|command| format!("{command:?}"));
    let mut expected: Vec<_> = (0..buckets).map(command).collect();
    expected.sort_by_key(|command| format!("{command:?}"));
    assert_eq!(applied, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_queries_and_status_reach_whom_they_should() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    run(&client, 0).await;
    let Ok(Ok(Answer::Usage(usage))) = client.query(GROUP, usage()).await else { panic!("usage") };
    assert_eq!(usage.files, 1);
    let users = client.control_query(ControlQuery::Users).await;
    assert_eq!(users, Ok(ControlAnswer::Users(vec!["alice".into()])));
    assert_eq!(client.node_status(NodeId(2)).await.map(|status| status.node), Ok(NodeId(2)));
    assert_eq!(client.node_status(NodeId(9)).await, Err(CallError::Unavailable));
    assert_eq!(client.map().expect("map").nodes.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_has_not_gone_to_is_not_asked_for() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    fakes.world.lock().map.level = FeatureLevel::RESTS;
    let client = fakes.client().await;
    let put = || Command::PutRecords { bucket: BucketId(1), changes: Vec::new() };
    let early = CallError::Level { needs: FeatureLevel::RECORDS, at: FeatureLevel::RESTS };
    assert_eq!(client.command(GROUP, put()).await, Err(early.clone()));
    let query = Query::Records { bucket: BucketId(1), keys: Vec::new() };
    assert_eq!(client.query(GROUP, query).await, Err(early));
    assert!(fakes.world.lock().applied.is_empty());
    {
        let map = &mut fakes.world.lock().map;
        (map.level, map.version) = (FeatureLevel::RECORDS, map.version + 1);
    }
    // Its map is older, and looked at once more.
    assert_eq!(client.command(GROUP, put()).await, Ok(Ok(Outcome::Done)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_followed_at_once() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    for leader in [3, 2, 1, 2] {
        fakes.lead(Some(leader));
        let start = Instant::now();
        run(&client, leader).await;
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_left_within_the_write_gap() {
    let mut fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    run(&client, 0).await;
    fakes.lead(None);
    fakes.world.lock().hint = Some(NodeId(1));
    fakes.kill(1);
    let died = Instant::now();
    let mut calls = JoinSet::new();
    for bucket in 1..50 {
        let client = client.clone();
        calls.spawn(async move { run(&client, bucket).await });
    }
    election(died).await;
    fakes.world.lock().hint = None;
    fakes.lead(Some(2));
    calls.join_all().await;
    assert!(died.elapsed() < WRITE_GAP_MAX, "{:?}", died.elapsed());
    assert_applied(&fakes, 50);
    // The dead node is not in the way any more.
    let start = Instant::now();
    run(&client, 0).await;
    assert!(start.elapsed() < SECOND / 2, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_is_left_within_the_write_gap() {
    let mut fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    run(&client, 0).await;
    fakes.freeze(1);
    let froze = Instant::now();
    let query = tokio::spawn({
        let client = client.clone();
        async move { client.query(GROUP, usage()).await }
    });
    let call = tokio::spawn({
        let client = client.clone();
        async move { run(&client, 1).await }
    });
    election(froze).await;
    fakes.lead(Some(3));
    call.await.expect("command");
    query.await.expect("query").expect("answer").expect("usage");
    assert!(froze.elapsed() < WRITE_GAP_MAX, "{:?}", froze.elapsed());
    // What the frozen node still had in its socket is refused when it thaws: it does not lead any more.
    fakes.thaw(1);
    run(&client, 2).await;
    assert_applied(&fakes, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again_under_the_same_number() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    fakes.faults(1, Faults { lose_answers: 1, unknown_answers: 2, ..Faults::default() });
    run(&client, 0).await;
    let world = fakes.world.lock();
    assert_eq!(world.received.values().copied().collect::<Vec<_>>(), [4]);
    drop(world);
    assert_applied(&fakes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_grow_by_one_and_a_thousand_commands_share_them() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    let mut calls = JoinSet::new();
    for bucket in 0..1000 {
        let client = client.clone();
        calls.spawn(async move { run(&client, bucket).await });
    }
    calls.join_all().await;
    assert_applied(&fakes, 1000);
    let session = client.session().expect("session");
    let world = fakes.world.lock();
    assert!(world.received.keys().copied().eq((1..=1000).map(|seq| (session, seq))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_tells_what_may_have_happened() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client_with(|config| config.deadline = SECOND / 2).await;
    // Nobody leads: certainly not done.
    fakes.lead(None);
    let start = Instant::now();
    assert_eq!(client.command(GROUP, command(1)).await, Err(CallError::Unavailable));
    assert_eq!(client.query(GROUP, usage()).await, Err(CallError::Unavailable));
    assert!(start.elapsed() < 3 * SECOND);
    // Done, but the client is not told.
    fakes.lead(Some(1));
    fakes.faults(1, Faults { lose_answers: 1000, ..Faults::default() });
    assert_eq!(client.command(GROUP, command(0)).await, Err(CallError::Unknown));
    assert_applied(&fakes, 1);
    fakes.faults(1, Faults::default());
    run(&client, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_is_replaced() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    let first = client.session().expect("session");
    fakes.world.lock().ended.push(first);
    run(&client, 0).await;
    let second = client.session().expect("session");
    assert_ne!(first, second);
    client.close().await;
    assert_eq!(client.session(), None);
    assert_eq!(fakes.world.lock().ended, [first, second]);
    run(&client, 1).await;
    assert_applied(&fakes, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_is_noticed_at_renewal() {
    let fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client_with(|config| config.session_renew = Duration::from_millis(20)).await;
    let first = client.session().expect("session");
    fakes.world.lock().ended.push(first);
    let start = Instant::now();
    while client.session().is_none_or(|session| session == first) {
        assert!(start.elapsed() < 10 * SECOND);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_come_before_the_cluster() {
    let mut fakes = Fakes::start(3, &[[1, 2, 3]]);
    let config = fakes.config();
    (1..=3).for_each(|id| fakes.kill(id));
    let client = Client::connect(config);
    let call = tokio::spawn({
        let client: Arc<Client> = client.clone();
        async move { run(&client, 0).await }
    });
    (1..=3).for_each(|id| fakes.run(NodeId(id)));
    call.await.expect("call");
    assert_applied(&fakes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_cluster_is_found_again() {
    let mut fakes = Fakes::start(3, &[[1, 2, 3]]);
    let client = fakes.client().await;
    run(&client, 0).await;
    (1..=3).for_each(|id| fakes.kill(id));
    (1..=3).for_each(|id| fakes.run(NodeId(id)));
    let start = Instant::now();
    run(&client, 1).await;
    assert!(start.elapsed() < WRITE_GAP_MAX, "{:?}", start.elapsed());
    assert_applied(&fakes, 2);
}
