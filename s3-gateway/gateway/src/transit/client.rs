//! Requests to an engine, and what its answers mean.

use super::options::{BadTransitOption, TransitOptions};
use super::token::{Token, TokenError};
use super::wire::{self, Answer, Ciphertext, Decrypt, Decrypted, Encrypt, Encrypted, Errors, Key, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway_core::{KEY_BYTES, KeyError, SecretKey};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Certificate, Response, Url, redirect};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Bytes of an answer. That about a key has thirty for each of its versions.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Requests at once: an engine shares its machine with others.
const REQUESTS_MAX: usize = 32;
/// Longest time between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Bytes of a file of authorities.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Why an engine did not do what it was asked. Several may have waited for it.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    Unavailable(Cause),
    NoSuchKek,
    Damaged,
    Refused(String),
}

impl Failed {
    /// For whoever asked for that key-encryption key.
    pub(super) fn of(self, kek: &str) -> KeyError {
        match self {
            Failed::Unavailable(cause) => KeyError::Unavailable(Box::new(cause)),
            Failed::NoSuchKek => KeyError::NoSuchKek { kek: kek.to_owned() },
            Failed::Damaged => KeyError::Damaged,
            Failed::Refused(why) => KeyError::Refused(why),
        }
    }
}

/// Why it cannot be reached.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("no answer")]
    Http(#[source] Arc<reqwest::Error>),
    #[error("there is no token to show")]
    Token(#[source] Arc<TokenError>),
    #[error("it answers with status {status}{}", .said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Status { status: u16, said: Option<String> },
    #[error("it sends on to another place; name the one that answers itself")]
    Redirect,
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    Long,
    #[error("its answer is none of a Transit engine")]
    Answer,
}

impl Cause {
    /// Whether it may be otherwise in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Cause::Http(_) | Cause::Token(_) | Cause::Status { .. } => true,
            Cause::Redirect | Cause::Long | Cause::Answer => false,
        }
    }
}

/// A status and what came with it.
struct Received {
    status: StatusCode,
    body: Zeroizing<Vec<u8>>,
    /// What it says of a refusal, without anything secret.
    said: Option<String>,
}

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    name: String,
    namespace: Option<HeaderValue>,
    token_file: PathBuf,
    attempts: u32,
    backoff: Duration,
    requests: Semaphore,
}

impl Client {
    pub(super) fn new(options: &TransitOptions) -> Result<Self, BadTransitOption> {
        options.check()?;
        // For reqwest. Only the first call in a process has an effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent("sago")
            .timeout(options.timeout)
            .connect_timeout(options.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &options.ca_file {
            http = http.tls_certs_only(authorities(path)?);
        }
        let namespace = options.namespace.as_deref().map(HeaderValue::from_str).transpose();
        Ok(Client {
            http: http.build().map_err(BadTransitOption::Client)?,
            base: options.base()?,
            name: options.key.clone(),
            namespace: namespace.map_err(|_| BadTransitOption::Namespace)?,
            token_file: options.token_file.clone(),
            attempts: options.attempts,
            backoff: options.backoff,
            requests: Semaphore::new(REQUESTS_MAX),
        })
    }

    /// Name of the engine's key.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Name of a version of the key, as wrapped keys have it.
    pub(super) fn kek(&self, version: u32) -> String {
        format!("{}:v{version}", self.name)
    }

    /// The version in such a name, if it is this key's.
    pub(super) fn version_of_kek(&self, kek: &str) -> Option<u32> {
        wire::version(kek.strip_prefix(&self.name)?.strip_prefix(":v")?)
    }

    pub(super) async fn encrypt(&self, context: &[u8], key: &SecretKey) -> Result<Ciphertext, Failed> {
        let mut plain = Zeroizing::new([0u8; KEY_BYTES.div_ceil(3) * 4]);
        let encoded = STANDARD.encode_slice(key.expose(), plain.as_mut_slice());
        let plaintext = encoded.ok().and_then(|_| std::str::from_utf8(plain.as_slice()).ok()).ok_or(Failed::Damaged)?;
        let body = body(&Encrypt { plaintext, associated_data: &STANDARD.encode(context) })?;
        let received = self.ask(Method::POST, "encrypt", Some(body), Some(plaintext)).await?;
        if received.status != StatusCode::OK {
            return Err(refusal(received));
        }
        let answer: Answer<Encrypted> = parse(&received.body)?;
        answer.data.ciphertext().ok_or(Failed::Unavailable(Cause::Answer))
    }

    pub(super) async fn decrypt(&self, context: &[u8], ciphertext: &Ciphertext) -> Result<SecretKey, Failed> {
        let associated_data = STANDARD.encode(context);
        let body = body(&Decrypt { ciphertext: ciphertext.as_str(), associated_data: &associated_data })?;
        let received = self.ask(Method::POST, "decrypt", Some(body), None).await?;
        if received.status != StatusCode::OK {
            return Err(refusal(received));
        }
        let answer: Answer<Decrypted<'_>> = parse(&received.body)?;
        answer.data.key().ok_or(Failed::Unavailable(Cause::Answer))
    }

    pub(super) async fn key(&self) -> Result<Key, Failed> {
        let received = self.ask(Method::GET, "keys", None, None).await?;
        if received.status != StatusCode::OK {
            return Err(refusal(received));
        }
        let answer: Answer<Key> = parse(&received.body)?;
        Ok(answer.data)
    }

    /// Asks until there is an answer that will not change: one of success, or a refusal.
    async fn ask(
        &self,
        method: Method,
        verb: &str,
        body: Option<Bytes>,
        secret: Option<&str>,
    ) -> Result<Received, Failed> {
        let url = format!("{}/{verb}/{}", self.base, self.name);
        let _permit = self.requests.acquire().await;
        let mut token_was_refused = None;
        for attempt in 1.. {
            let cause = match self.try_once(method.clone(), &url, body.clone(), secret, &mut token_was_refused).await {
                Ok(received) => return Ok(received),
                Err(Tried::OtherToken) => continue,
                Err(Tried::Failed(cause)) => cause,
            };
            if attempt >= self.attempts || !cause.may_pass() {
                return Err(Failed::Unavailable(cause));
            }
            tracing::debug!(verb, attempt, %cause, "the key service is asked again");
            tokio::time::sleep(self.pause(attempt)).await;
        }
        Err(Failed::Unavailable(Cause::Answer))
    }

    async fn try_once(
        &self,
        method: Method,
        url: &str,
        body: Option<Bytes>,
        secret: Option<&str>,
        token_was_refused: &mut Option<Token>,
    ) -> Result<Received, Tried> {
        let token = self.token().await?;
        let mut request = self.http.request(method, url).header("x-vault-token", token.header());
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(body) = body {
            request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(unreached)?;
        let (status, body) = (response.status(), read(response).await?);
        if status == StatusCode::FORBIDDEN && token_was_refused.is_none() && self.token().await? != token {
            // The file has changed since it was read for this attempt.
            *token_was_refused = Some(token);
            return Err(Tried::OtherToken);
        }
        let is_secret = |said: &str| token.is_in(said) || secret.is_some_and(|secret| said.contains(secret));
        let said =
            if status.is_success() { None } else { Errors::parse(&body).reason().filter(|said| !is_secret(said)) };
        // An engine whose quota is used up, or a replica that has not caught up, says so.
        let passing = [StatusCode::TOO_MANY_REQUESTS, StatusCode::PRECONDITION_FAILED].contains(&status);
        if status.is_redirection() {
            Err(Cause::Redirect.into())
        } else if status.is_server_error() || passing {
            Err(Cause::Status { status: status.as_u16(), said }.into())
        } else {
            Ok(Received { status, body, said })
        }
    }

    async fn token(&self) -> Result<Token, Cause> {
        let path = self.token_file.clone();
        let loaded = tokio::task::spawn_blocking(move || Token::load(&path)).await;
        // It ends otherwise only with the process.
        let loaded = loaded.map_err(|_| Cause::Answer)?;
        loaded.map_err(|error| Cause::Token(Arc::new(error)))
    }

    /// Longer each time, and not the same for all.
    fn pause(&self, attempt: u32) -> Duration {
        let longest = self.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(BACKOFF_MAX);
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// Why there is no answer yet.
enum Tried {
    Failed(Cause),
    /// The token was refused, and there is another one now.
    OtherToken,
}

impl From<Cause> for Tried {
    fn from(cause: Cause) -> Self {
        Tried::Failed(cause)
    }
}

fn unreached(error: reqwest::Error) -> Cause {
    Cause::Http(Arc::new(error))
}

/// Reads an answer, which is wiped, up to what one may have.
async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Cause> {
    let declared = response.content_length().unwrap_or(0);
    if declared > ANSWER_BYTES_MAX as u64 {
        return Err(Cause::Long);
    }
    let mut body = Zeroizing::new(Vec::with_capacity(usize::try_from(declared).unwrap_or(0)));
    while let Some(piece) = response.chunk().await.map_err(unreached)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Cause::Long);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The body of a request, which is wiped when it was sent.
fn body(request: &impl Serialize) -> Result<Bytes, Failed> {
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(2 << 10));
    serde_json::to_writer(&mut *body, request).map_err(|_| Failed::Damaged)?;
    Ok(Bytes::from_owner(body))
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failed> {
    serde_json::from_slice(body).map_err(|_| Failed::Unavailable(Cause::Answer))
}

/// What an answer other than a good one means.
fn refusal(received: Received) -> Failed {
    let kind = match received.status {
        StatusCode::NOT_FOUND => Refusal::NoKey,
        StatusCode::BAD_REQUEST => Errors::parse(&received.body).kind(),
        _ => Refusal::Other,
    };
    let status = received.status.as_u16();
    match (kind, received.said) {
        (Refusal::NoKey, _) => Failed::NoSuchKek,
        (Refusal::Damaged, _) => Failed::Damaged,
        (Refusal::Other, Some(said)) => Failed::Refused(format!("{said} (status {status})")),
        (Refusal::Other, None) => Failed::Refused(format!("status {status}")),
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, BadTransitOption> {
    let failed = |source| BadTransitOption::CaFile { path: path.to_owned(), source };
    let mut pem = Vec::new();
    File::open(path).map_err(failed)?.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(failed)?;
    let found = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| BadTransitOption::NoCa(path.to_owned()))
}
