//! A gateway of a shop, and requests to it as they go over the wire.

use super::shop::Shop;
use gateway::{Gateway, GatewayConfig, LcpParts};
use gateway_core::Right;
use proto::control::AccessKey;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The body as a document.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and the last part of the type of a problem.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status, "{document}");
        let kind = document["type"].as_str().expect("a type");
        let base = "http://readium.org/license-status-document/error/";
        (self.status, kind.strip_prefix(base).unwrap_or(kind).to_owned())
    }
}

/// A gateway that lends.
pub struct Served {
    /// Where it listens.
    pub addr: SocketAddr,
    /// A user with the right to lend.
    pub staff: AccessKey,
    /// One without.
    pub nobody: AccessKey,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Shop {
    /// Opens a gateway of this shop.
    ///
    /// # Panics
    /// It cannot listen.
    pub async fn serve(&self) -> Served {
        let (staff, nobody) = (self.cluster.add_user("store"), self.cluster.add_user("nobody"));
        self.store.ensure_system_bucket().await.expect("memory");
        self.store.grant(&staff.user, &Right::Lend).await.expect("memory");
        self.serve_for(staff, nobody).await
    }

    /// Opens one for users that are there.
    ///
    /// # Panics
    /// It cannot listen.
    pub async fn serve_for(&self, staff: AccessKey, nobody: AccessKey) -> Served {
        let config = self.lending.config().clone();
        let parts = LcpParts { keys: self.keys.clone(), signers: self.signers.clone(), config };
        let bound = Gateway::bind_with(self.network.clone(), GatewayConfig::default(), Some(parts)).await;
        let gateway = bound.expect("a free port");
        let addr = gateway.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async move {
            drop(stopped.await);
        }));
        Served { addr, staff, nobody, stop: Some(stop), running }
    }
}

impl Served {
    /// Asks as an app does, which has no key.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn app(&self, request: &str) -> Answer {
        self.send(request, &[], b"").await
    }

    /// Asks as the store does, with a document if it is not empty.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn staff(&self, request: &str, body: &str) -> Answer {
        let authorization = basic(&self.staff);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        self.send(request, &headers, body.as_bytes()).await
    }

    /// Sends a request: method and target, headers, body.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn send(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut text = format!("{request} HTTP/1.1\r\nHost: s.example\r\nConnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let mut stream = TcpStream::connect(self.addr).await.expect("it listens");
        stream.write_all(&[text.as_bytes(), body].concat()).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        parse(&answer)
    }

    /// Ends it in good order.
    ///
    /// # Panics
    /// It has panicked.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.running).await.expect("it does not panic");
    }
}

/// The header by which a user of the cluster says who he is.
#[must_use]
pub fn basic(key: &AccessKey) -> String {
    use base64::Engine as _;
    let text = format!("{}:{}", key.access_key, key.secret_key);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&answer[..end]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: answer[end + 4..].to_vec() }
}
