//! A Transit engine for tests: small, and real where it counts. Keys have versions, what is encrypted is bound to its associated data, tokens are checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub(super) const TOKEN: &str = "hvs.good";

/// What happens to a request instead of what should.
pub(super) enum Fault {
    /// A status, and what it says.
    Status(u16, String),
    /// An answer of success that holds this.
    Body(Vec<u8>),
    /// The token is refused, and this happens meanwhile.
    Denied(Box<dyn FnOnce() + Send>),
    /// The connection ends without an answer.
    Close,
    /// No answer comes.
    Silence,
}

#[derive(Default)]
pub(super) struct State {
    versions: Vec<[u8; 32]>,
    pub(super) oldest: u32,
    pub(super) kind: &'static str,
    pub(super) ignores_context: bool,
    /// For the next requests, in their order.
    pub(super) faults: VecDeque<Fault>,
    /// Paths that were asked for, with the namespace before them.
    pub(super) seen: Vec<String>,
}

impl State {
    pub(super) fn rotate(&mut self) {
        self.versions.push(rand::random());
    }

    fn latest(&self) -> u32 {
        self.versions.len() as u32
    }

    fn cipher(&self, version: u32) -> LessSafeKey {
        let key = self.versions[version as usize - 1];
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a key"))
    }

    fn associated(&self, asked: &Value) -> Aad<Vec<u8>> {
        let data = asked["associated_data"].as_str().filter(|_| !self.ignores_context).unwrap_or_default();
        Aad::from(STANDARD.decode(data).expect("base64"))
    }

    fn encrypt(&self, asked: &Value) -> (u16, Value) {
        let mut plain = STANDARD.decode(asked["plaintext"].as_str().expect("a text")).expect("base64");
        let nonce: [u8; 12] = rand::random();
        let version = self.latest();
        let sealed = self.cipher(version).seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            self.associated(asked),
            &mut plain,
        );
        sealed.expect("encrypted");
        let text = format!("vault:v{version}:{}", STANDARD.encode([&nonce[..], &plain].concat()));
        (200, json!({ "request_id": "1", "data": { "ciphertext": text, "key_version": version } }))
    }

    fn decrypt(&self, asked: &Value) -> (u16, Value) {
        let text = asked["ciphertext"].as_str().expect("a text");
        let (version, data) = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')).expect("a ciphertext");
        let version: u32 = version.parse().expect("a number");
        if version > self.latest() {
            return refuse(400, "invalid ciphertext: version is too new");
        }
        if version < self.oldest {
            return refuse(400, "ciphertext or signature version is disallowed by policy (too old)");
        }
        let data = STANDARD.decode(data).expect("base64");
        let (nonce, sealed) = data.split_at(12);
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).expect("a nonce"), sealed.to_vec());
        match self.cipher(version).open_in_place(nonce, self.associated(asked), &mut sealed) {
            Ok(plain) => (200, json!({ "data": { "plaintext": STANDARD.encode(plain) } })),
            Err(_) => refuse(400, "cipher: message authentication failed"),
        }
    }

    fn answer(&self, method: &Method, path: &str, token: Option<&str>, body: &[u8]) -> (u16, Value) {
        if token != Some(TOKEN) {
            return refuse(403, &format!("permission denied for {}", token.unwrap_or_default()));
        }
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method.as_str(), path) {
            ("POST", "/v1/transit/encrypt/books") => self.encrypt(&asked),
            ("POST", "/v1/transit/decrypt/books") => self.decrypt(&asked),
            ("GET", "/v1/transit/keys/books") => (
                200,
                json!({ "data": { "latest_version": self.latest(), "type": self.kind, "derived": false, "keys": { "1": 1 } } }),
            ),
            ("POST", _) => refuse(400, "encryption key not found"),
            _ => refuse(404, "no handler for route"),
        }
    }
}

fn refuse(status: u16, why: &str) -> (u16, Value) {
    (status, json!({ "errors": [why] }))
}

/// The engine at its address. It ends with the test's runtime.
pub(super) struct Engine {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<Mutex<State>>,
}

impl Engine {
    pub(super) async fn start() -> Self {
        Engine::with(|stream| Box::pin(async { Some(stream) })).await
    }

    /// `accept` makes of a connection what requests come over.
    pub(super) async fn with<S>(accept: impl Fn(TcpStream) -> BoxFuture<'static, Option<S>> + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut first = State { kind: "aes256-gcm96", ..State::default() };
        first.rotate();
        let state = Arc::new(Mutex::new(first));
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (stream, state) = (accept(stream), served.clone());
                tokio::spawn(async move {
                    let Some(stream) = stream.await else { return };
                    let service = service_fn(move |request| serve(state.clone(), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Engine { address, state }
    }

    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().faults.extend(faults);
    }

    /// How often a path that ends so was asked for.
    pub(super) fn count(&self, end: &str) -> usize {
        self.state.lock().seen.iter().filter(|path| path.ends_with(end)).count()
    }
}

async fn serve(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let fault = {
        let mut state = state.lock();
        state.seen.push(format!("{}{}", header("x-vault-namespace").unwrap_or_default(), head.uri.path()));
        state.faults.pop_front()
    };
    let (status, body) = match fault {
        None => {
            let (status, body) = state.lock().answer(&head.method, head.uri.path(), header("x-vault-token"), &body);
            (status, body.to_string().into_bytes())
        }
        Some(Fault::Status(status, why)) => (status, refuse(status, &why).1.to_string().into_bytes()),
        Some(Fault::Body(body)) => (200, body),
        Some(Fault::Denied(meanwhile)) => {
            meanwhile();
            (403, refuse(403, "permission denied").1.to_string().into_bytes())
        }
        Some(Fault::Close) => return Err(std::io::Error::other("closed")),
        Some(Fault::Silence) => std::future::pending().await,
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if response.status().is_redirection() {
        response.headers_mut().insert("location", "http://127.0.0.1:1/".parse().expect("a header"));
    }
    Ok(response)
}
