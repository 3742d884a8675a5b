//! Pages for operators and their programs: `/health`, `/status`, `/metrics`. Not authenticated, read only.

use crate::health::health;
use crate::metrics;
use crate::status::Status;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use proto::meta::GarbageStatus;
use proto::node::{DiskStatus, Fullness, GroupStatus, OrphanStatus, ScrubStatus};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use types::{GroupId, NodeState, PlacementMap};

/// The answer of `/status`.
#[derive(Serialize)]
struct Page {
    node: u64,
    incarnation: u64,
    version: String,
    groups: Vec<GroupStatus>,
    disks: Vec<DiskPage>,
    /// Chunks of which no member has an intact copy; the first few.
    lost: Vec<String>,
    lost_count: u64,
    /// Of the groups this node leads.
    garbage: Vec<(GroupId, GarbageStatus)>,
    orphans: OrphanStatus,
    map: MapSummary,
}

/// As [`DiskStatus`], with the id as people write it.
#[derive(Serialize)]
struct DiskPage {
    disk: String,
    path: String,
    chunks: u64,
    bytes: u64,
    free: u64,
    total: u64,
    fenced: bool,
    garbage: u64,
    quarantined: u64,
    scrub: ScrubStatus,
    fullness: Fullness,
}

#[derive(Serialize)]
struct MapSummary {
    version: u64,
    slots: usize,
    placement_groups: usize,
    raft_groups: usize,
    nodes: Vec<NodeSummary>,
}

#[derive(Serialize)]
struct NodeSummary {
    id: u64,
    addr: String,
    domain: String,
    incarnation: u64,
    up: bool,
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>) {
    let pages = Router::new()
        .route("/health", get(health_page))
        .route("/status", get(status_page))
        .route("/metrics", get(metrics_page))
        .with_state(status);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "the admin pages are gone");
    }
}

/// Where the pages are to be.
pub(crate) async fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

async fn health_page(State(status): State<Arc<Status>>) -> Response {
    let health = health(&status);
    let code = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health)).into_response()
}

async fn status_page(State(status): State<Arc<Status>>) -> Response {
    let own = status.node();
    let page = Page {
        node: own.node.0,
        incarnation: own.incarnation.0,
        version: own.version,
        groups: own.groups,
        disks: own.disks.into_iter().map(disk_page).collect(),
        lost: own.lost.iter().map(ToString::to_string).collect(),
        lost_count: own.lost_count,
        garbage: own.garbage,
        orphans: own.orphans,
        map: summary(&status.peers.map()),
    };
    Json(page).into_response()
}

async fn metrics_page(State(status): State<Arc<Status>>) -> Response {
    let text = metrics::render(&status.node());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn disk_page(status: DiskStatus) -> DiskPage {
    let DiskStatus { disk, path, chunks, bytes, free, total, fenced, garbage, quarantined, scrub, fullness } = status;
    let disk = disk.to_string();
    DiskPage { disk, path, chunks, bytes, free, total, fenced, garbage, quarantined, scrub, fullness }
}

fn summary(map: &PlacementMap) -> MapSummary {
    let node = |entry: &types::NodeEntry| NodeSummary {
        id: entry.id.0,
        addr: entry.addr.clone(),
        domain: entry.domain.clone(),
        incarnation: entry.incarnation.0,
        up: entry.state == NodeState::Up,
    };
    MapSummary {
        version: map.version,
        slots: map.slots.len(),
        placement_groups: map.groups.len(),
        raft_groups: map.raft_groups.len(),
        nodes: map.nodes.iter().map(node).collect(),
    }
}
