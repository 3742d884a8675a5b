//! Names and units of what the gateway counts.

use drm::status::EventKind;
use gateway_core::lcp::{ProtectionEvent, TitleCounts};
use http::StatusCode;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

/// One recorder a process, however many gateways tests start in it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to record. Only the first call in a process has an effect.
pub(crate) fn install() {
    RECORDER.get_or_init(|| match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!(%error, "another recorder is installed: /metrics stays empty");
            None
        }
    });
}

/// Works off what has gathered in histograms. Call it every few seconds.
pub(crate) fn upkeep() {
    if let Some(Some(handle)) = RECORDER.get() {
        handle.run_upkeep();
    }
}

/// The page that Prometheus reads.
pub(crate) fn render() -> String {
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

/// Requests, by `op` and `status`.
pub const REQUESTS: &str = "sago_s3_requests_total";
/// Seconds from the head of a request to the head of its answer, by `op`.
pub const SECONDS: &str = "sago_s3_request_seconds";
/// Bytes of bodies received, as declared by requests that succeeded, by `op`.
pub const RECEIVED: &str = "sago_s3_received_bytes_total";
/// Bytes of bodies sent, as declared by answers, by `op`.
pub const SENT: &str = "sago_s3_sent_bytes_total";
/// Titles, by `standing`; each is counted up to a hundred thousand.
pub const TITLES: &str = "sago_lcp_titles";
/// Packages made here, by `kind`.
pub const PACKAGES: &str = "sago_lcp_packages_total";
/// Bytes of them.
pub const PACKAGE_BYTES: &str = "sago_lcp_package_bytes_total";
/// Seconds that a package took, by `kind`.
pub const PACKAGE_SECONDS: &str = "sago_lcp_package_seconds";
/// Titles that were found here not to be protectable, by `fault`.
pub const PACKAGE_FAILURES: &str = "sago_lcp_package_failures_total";
/// Protections that were begun here and came to no end, by `cause`: put-off, source-changed, lost.
pub const PACKAGE_RETRIES: &str = "sago_lcp_package_retries_total";
/// Licences issued; `again`: the request was made before, and its licence given once more.
pub const LICENCES: &str = "sago_lcp_licences_total";
/// What happened to licences, by `event`: register, renew, return, revoke, cancel.
pub const LICENCE_EVENTS: &str = "sago_lcp_licence_events_total";
/// Devices that registered above the number that the store thinks usual.
pub const OVER_SOFT: &str = "sago_lcp_registrations_over_soft_total";
/// Connections open.
pub const CONNECTIONS: &str = "sago_s3_connections";

pub(crate) struct Done<'a> {
    pub(crate) operation: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

pub(crate) fn done(done: &Done<'_>) {
    let operation = done.operation.to_owned();
    counter!(REQUESTS, "op" => operation.clone(), "status" => done.status.as_u16().to_string()).increment(1);
    histogram!(SECONDS, "op" => operation.clone()).record(done.took.as_secs_f64());
    if done.status.is_success() {
        counter!(RECEIVED, "op" => operation.clone()).increment(done.received);
        counter!(SENT, "op" => operation).increment(done.sent);
    }
}

pub(crate) fn titles(counts: &TitleCounts) {
    let TitleCounts { queued, protecting, ready, failed, gone } = *counts;
    let all = [("queued", queued), ("protecting", protecting), ("ready", ready), ("failed", failed), ("gone", gone)];
    for (standing, count) in all {
        gauge!(TITLES, "standing" => standing).set(count as f64);
    }
}

pub(crate) fn protection(event: &ProtectionEvent) {
    let retry = |cause: &'static str| counter!(PACKAGE_RETRIES, "cause" => cause).increment(1);
    match event {
        ProtectionEvent::Protected { kind, package_bytes, took, .. } => {
            let kind = kind.extension().trim_start_matches('.');
            counter!(PACKAGES, "kind" => kind).increment(1);
            counter!(PACKAGE_BYTES).increment(*package_bytes);
            histogram!(PACKAGE_SECONDS, "kind" => kind).record(took.as_secs_f64());
        }
        ProtectionEvent::Failed { fault } => counter!(PACKAGE_FAILURES, "fault" => fault.name()).increment(1),
        ProtectionEvent::PutOff => retry("put-off"),
        ProtectionEvent::SourceChanged => retry("source-changed"),
        ProtectionEvent::Lost => retry("lost"),
    }
}

pub(crate) fn licence_issued(is_repeated: bool) {
    counter!(LICENCES, "again" => if is_repeated { "yes" } else { "no" }).increment(1);
}

pub(crate) fn licence_event(event: Option<EventKind>) {
    if let Some(event) = event {
        counter!(LICENCE_EVENTS, "event" => event.name()).increment(1);
    }
}

pub(crate) fn over_soft() {
    counter!(OVER_SOFT).increment(1);
}

/// Counts a connection as long as it lives.
pub(crate) struct Connection;

impl Connection {
    pub(crate) fn open() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Connection
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}
