//! Where copies should be: planned and driven by whoever leads the control group.
//!
//! ```text
//! round: the map as this leader has applied it
//!   moves in progress   Barrier: every member asked, or its lease over --> PassBarrier      Synced --> CommitMove
//!   meta_server::next_steps (plan, check) --> AbortMove, BeginMove
//! ```
//! Nothing is remembered between rounds but what stands in the map, so a new leader goes on where the old one was. Copying is the business of
//! the node that a move brings in.

use crate::dispatch::Dispatch;
use crate::heartbeat::LEASE_OVER;
use crate::metrics;
use crate::move_host::chunk_call;
use crate::peers::Peers;
use meta_server::NextSteps;
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::control::{ControlCommand, ControlReply, ControlRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use types::{GroupId, MovePhase, NodeId, PgEpoch, PgId, PlacementGroup, PlacementMap};

/// Pause between rounds.
const ROUND: Duration = Duration::from_millis(500);
/// How long a step may take to be recorded before it is looked at again.
const RECORD_MAX: Duration = Duration::from_secs(5);

/// Drives moves for ever, whenever this node leads the control group.
pub(crate) async fn drive(dispatch: Arc<Dispatch>, peers: Peers) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if !dispatch.meta.leads_with_all(GroupId::CONTROL) {
            dispatch.mandate.end();
            metrics::clear_placement();
            continue;
        }
        if let Some(map) = dispatch.meta.map() {
            // Before any barrier is passed for lack of a lease: who comes back after that must first know this map.
            dispatch.mandate.decide_by(map.version);
            advance(&dispatch, &peers, &Arc::new(map)).await;
        }
        // The newest map again: what was just committed makes room.
        if let Some(map) = dispatch.meta.map() {
            for (disk, state) in dispatch.disk_verdicts(&map) {
                tracing::warn!(%disk, ?state, "state of a disk");
                record(&dispatch, ControlCommand::SetDiskState { disk, state }).await;
            }
            begin(&dispatch, &map).await;
        }
    }
}

/// Takes moves in progress a step further, all at the same time: one whose member hangs must not hold up the others.
async fn advance(dispatch: &Arc<Dispatch>, peers: &Peers, map: &Arc<PlacementMap>) {
    let mut steps = JoinSet::new();
    for group in map.groups.iter().filter(|group| group.moving.is_some()) {
        let (dispatch, peers, map, group) = (dispatch.clone(), peers.clone(), map.clone(), group.clone());
        steps.spawn(async move { step(&dispatch, &peers, &map, &group).await });
    }
    // As many as the limit on moves allows. Dropped with the driver.
    while steps.join_next().await.is_some() {}
}

async fn step(dispatch: &Dispatch, peers: &Peers, map: &PlacementMap, group: &PlacementGroup) {
    let (pg, epoch) = (group.id, group.epoch);
    match group.moving.as_ref().map(|moving| moving.phase) {
        Some(MovePhase::Barrier) if passed(dispatch, peers, map, group).await => {
            record(dispatch, ControlCommand::PassBarrier { pg, epoch }).await;
        }
        Some(MovePhase::Barrier | MovePhase::Copying) | None => {}
        Some(MovePhase::Synced { chunks, .. }) => {
            tracing::info!(%pg, %epoch, chunks, "a move is done");
            record(dispatch, ControlCommand::CommitMove { pg, epoch }).await;
        }
    }
}

/// Whether no member can take a put of the epoch before the move any more.
async fn passed(dispatch: &Dispatch, peers: &Peers, map: &PlacementMap, group: &PlacementGroup) -> bool {
    for member in &group.members {
        if !passed_on(dispatch, peers, map, member.node, group.id, group.epoch).await {
            return false;
        }
    }
    true
}

async fn passed_on(
    dispatch: &Dispatch,
    peers: &Peers,
    map: &PlacementMap,
    node: NodeId,
    pg: PgId,
    epoch: PgEpoch,
) -> bool {
    if !map.is_up(node) {
        return dispatch.silence(node) >= LEASE_OVER;
    }
    let answer = chunk_call(dispatch, peers, node, ChunkRequest::Barrier { pg, epoch }).await;
    matches!(answer, Some(Ok(ChunkReply::Passed)))
}

/// Plans, and begins what the plan says.
async fn begin(dispatch: &Dispatch, map: &PlacementMap) {
    let NextSteps { commands, report } = meta_server::next_steps(map);
    metrics::record_placement(&report);
    if !commands.is_empty() {
        let (steps, blocked) = (commands.len(), report.blocked.len());
        tracing::info!(steps, blocked, running = report.running, "copies move");
    }
    for command in commands {
        record(dispatch, command).await;
    }
}

async fn record(dispatch: &Dispatch, command: ControlCommand) {
    let request = ControlRequest::Command(command.clone());
    match timeout(RECORD_MAX, dispatch.meta.control(request)).await {
        Ok(Ok(ControlReply::Applied(Err(refusal)))) => tracing::info!(?command, %refusal, "a step was refused"),
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(?command, %error, "a step is not recorded yet"),
        Err(_) => tracing::debug!(?command, "a step was not recorded in time"),
    }
}
