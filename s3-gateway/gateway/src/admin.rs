//! Pages for operators and their programs, on an address of their own: `/health`, `/metrics`. Not authenticated, read only.
//!
//! `/health` asks the control group, and so tells a load balancer whether this gateway reaches the cluster at present.

use crate::metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gateway_core::Store;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long the cluster may take. Load balancers ask every few seconds and wait for one or two.
const HEALTH_MAX: Duration = Duration::from_millis(1500);

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, store: Store) {
    let pages = Router::new().route("/health", get(health)).route("/metrics", get(figures)).with_state(store);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "the admin pages are gone");
    }
}

async fn health(State(store): State<Store>) -> Response {
    match tokio::time::timeout(HEALTH_MAX, store.reaches_cluster()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n").into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the cluster does not answer\n").into_response(),
    }
}

async fn figures() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render()).into_response()
}
