//! Which requests are about books, and how each is answered.

use super::call::Call;
use super::problem::Problem;
use super::reply::Reply;
use super::route::{self, Access, Found};
use super::staff;
use crate::config::GatewayConfig;
use crate::metrics;
use bytes::Bytes;
use gateway_core::lcp::{LcpConfig, Lending, Signers};
use gateway_core::{ConfigError, KeyService, Store};
use http::header::{ALLOW, AUTHORIZATION, SERVER};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use hyper::body::{Body as _, Incoming};
use s3s::Body;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// First segments of paths that are about books.
const PREFIXES: [&str; 4] = ["lcp", "lsd", "v2", "download"];

/// How often titles are counted: that reads the keys of all of them.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// What a gateway needs to lend books.
pub struct LcpParts {
    /// Wraps content keys.
    pub keys: Arc<dyn KeyService>,
    /// Signs licences.
    pub signers: Arc<dyn Signers>,
    /// How it behaves.
    pub config: LcpConfig,
}

/// What the routes share.
pub(crate) struct Books {
    pub(crate) lending: Lending,
    pub(crate) store: Store,
    pub(crate) body_timeout: Duration,
    /// The description of the routes, once somebody has asked for it.
    pub(crate) openapi: OnceLock<Bytes>,
}

impl Books {
    pub(crate) fn new(store: &Store, config: &GatewayConfig, mut parts: LcpParts) -> Result<Self, ConfigError> {
        parts.config.on_protection = parts.config.on_protection.and(metrics::protection);
        let lending = Lending::new(store.clone(), parts.keys, parts.signers, parts.config)?;
        Ok(Books { lending, store: store.clone(), body_timeout: config.body_timeout, openapi: OnceLock::new() })
    }

    /// What goes on beside requests, until `stop` is ready: titles are protected, records of downloads are written. The latter to the last one.
    pub(crate) async fn work(&self, stop: impl Future<Output = ()> + Send + Clone) {
        tokio::join!(self.lending.work(stop.clone()), self.lending.write_downloads(stop));
    }

    /// Tells now and then how many titles stand where.
    pub(crate) async fn count(&self) {
        loop {
            match self.lending.title_counts().await {
                Ok(counts) => metrics::titles(&counts),
                Err(error) => tracing::debug!(%error, "titles were not counted"),
            }
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    /// Whether a request is for these routes. One that is signed for S3 never is, so that a bucket may be called as a prefix is.
    pub(crate) fn takes(parts: &Parts) -> bool {
        let path = parts.uri.path().trim_start_matches('/');
        let first = path.split('/').next().unwrap_or_default();
        PREFIXES.contains(&first) && !is_signed(parts)
    }

    /// Answers a request.
    pub(crate) async fn call(&self, parts: Parts, body: Incoming, peer: Option<SocketAddr>) -> Response<Body> {
        let began = Instant::now();
        let received = body.size_hint().exact().unwrap_or(0);
        let found = route::find(&parts.method, parts.uri.path());
        let operation = found.name();
        let mut answer = match self.answer(found, parts, body, peer).await {
            Ok(answer) => answer,
            Err(problem) => problem.into_response(),
        };
        answer.headers_mut().insert(SERVER, HeaderValue::from_static("Sago"));
        let status = answer.status();
        let sent = answer.body().size_hint().exact().unwrap_or(0);
        metrics::done(&metrics::Done { operation, status, took: began.elapsed(), received, sent });
        tracing::debug!(
            op = operation,
            status = status.as_u16(),
            micros = began.elapsed().as_micros() as u64,
            "answered"
        );
        answer
    }

    async fn answer(
        &self,
        found: Found,
        parts: Parts,
        body: Incoming,
        peer: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let (route, names) = match found {
            Found::Route(route, names) => (route, names),
            Found::Method(allowed) => return Ok(not_allowed(&allowed)),
            Found::Nothing => return Err(Problem::no_route()),
        };
        let who = match &route.access {
            Access::Public => None,
            Access::Staff(right) => Some(staff::authenticate(&self.store, &parts.headers, right).await?),
        };
        let is_head = parts.method == Method::HEAD;
        let call = Call::new(parts, names, body, peer, who, self.body_timeout)?;
        let answer: Reply = (route.handler)(self, call).await?;
        Ok(if is_head { answer.without_body() } else { answer.into_response() })
    }
}

fn not_allowed(allowed: &str) -> Response<Body> {
    let mut answer = Problem::method().into_response();
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

fn is_signed(parts: &Parts) -> bool {
    let by_header = parts.headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS"));
    let query = parts.uri.query().unwrap_or_default();
    let by_query = |pair: &str| pair.starts_with("X-Amz-") || pair.starts_with("AWSAccessKeyId=");
    by_header || query.split('&').any(by_query)
}
