//! The admin pages of a node: `/metrics` for Prometheus, `/health` for load balancers, `/status` for people and scripts.

use crate::handler::NodeHandler;
use crate::map::KnownMap;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use types::{GroupId, NodeState};

/// The recorder is one for the process, however many nodes it holds.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

fn recorder() -> PrometheusHandle {
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Another recorder may stand already, put there by whoever embeds the node; then the page is empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    };
    RECORDER.get_or_init(install).clone()
}

#[derive(Clone)]
struct Pages {
    handler: Arc<NodeHandler>,
    map: Arc<KnownMap>,
    metrics: PrometheusHandle,
}

/// Serves the pages until dropped.
pub(crate) async fn serve(listener: TcpListener, handler: Arc<NodeHandler>, map: Arc<KnownMap>) {
    let pages = Pages { handler, map, metrics: recorder() };
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/health", get(health))
        .route("/status", get(status))
        .with_state(pages);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin pages have ended");
    }
}

/// Sets up the recorder before anything is counted.
pub(crate) fn install_recorder() {
    recorder();
}

async fn metrics_page(State(pages): State<Pages>) -> String {
    for group in pages.handler.meta.statuses() {
        let label = group.group.0.to_string();
        metrics::gauge!("sago_raft_term", "group" => label.clone()).set(group.term.0 as f64);
        metrics::gauge!("sago_raft_applied_index", "group" => label.clone()).set(group.applied.0 as f64);
        metrics::gauge!("sago_raft_leads", "group" => label).set(f64::from(group.role == "leader"));
    }
    for disk in pages.handler.chunks.statuses() {
        let label = disk.disk.to_string();
        metrics::gauge!("sago_disk_free_bytes", "disk" => label.clone()).set(disk.free as f64);
        metrics::gauge!("sago_disk_chunk_bytes", "disk" => label.clone()).set(disk.bytes as f64);
        metrics::gauge!("sago_disk_fenced", "disk" => label).set(f64::from(disk.fenced));
    }
    pages.metrics.run_upkeep();
    pages.metrics.render()
}

/// 200 only if this node can do its work: every group here has a leader and no disk is fenced.
async fn health(State(pages): State<Pages>) -> impl IntoResponse {
    let status = pages.handler.status();
    let leaderless: Vec<u32> =
        status.groups.iter().filter(|group| group.leader.is_none()).map(|group| group.group.0).collect();
    let fenced: Vec<String> =
        status.disks.iter().filter(|disk| disk.fenced).map(|disk| disk.path.clone()).collect();
    let healthy = leaderless.is_empty() && fenced.is_empty();
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "healthy": healthy, "groups_without_leader": leaderless, "fenced_disks": fenced })))
}

async fn status(State(pages): State<Pages>) -> Json<Value> {
    let map = pages.map.get();
    let nodes: Vec<Value> = map
        .nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id.0,
                "addr": node.addr,
                "domain": node.domain,
                "up": node.state == NodeState::Up,
                "incarnation": node.incarnation.0,
            })
        })
        .collect();
    Json(json!({
        "node": pages.handler.status(),
        "map": { "version": map.version, "placement_groups": map.groups.len(), "slots": map.slots.len(), "nodes": nodes },
        "control_leader": pages.handler.meta.leader_of(GroupId::CONTROL).map(|node| node.0),
    }))
}
