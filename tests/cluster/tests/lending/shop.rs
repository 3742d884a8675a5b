//! A store that speaks HTTP with gateways, and its readers.

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::Cluster;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};

/// The protected bucket.
pub const BUCKET: &str = "library";
/// Between two attempts at what failed.
const PAUSE: Duration = Duration::from_millis(200);

/// A reader with a licence.
pub struct Reader {
    /// His licence.
    pub licence: String,
    number: usize,
}

impl Reader {
    /// His secret.
    #[must_use]
    pub fn passphrase(&self) -> String {
        format!("비밀스러운 문장 {:08x}", self.number.wrapping_mul(0x9e37_79b9))
    }

    /// What the store tells of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.passphrase().as_bytes()).into()
    }
}

/// The store.
pub struct Shop {
    http: Client,
    gateways: Vec<String>,
    access_key: String,
    secret_key: String,
}

impl Shop {
    /// Gives the cluster's user what he needs, and makes the bucket.
    ///
    /// # Errors
    /// The cluster refuses.
    pub fn open(cluster: &Cluster, gateways: Vec<String>) -> anyhow::Result<Self> {
        let target = cluster.target();
        cluster.sago(&["drm", "right", "grant", "demo", "lend"])?;
        cluster.sago(&["bucket", "create", BUCKET, "--owner", "demo", "--drm", "lcp"])?;
        // Only the first call in a process has an effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().pool_max_idle_per_host(512).timeout(Duration::from_secs(120)).build()?;
        let (access_key, secret_key) = (target.access_key.clone(), target.secret_key.clone());
        Ok(Shop { http, gateways, access_key, secret_key })
    }

    /// The id of the one title.
    ///
    /// # Errors
    /// There is none, or it cannot be lent.
    pub fn title(&self, cluster: &Cluster) -> anyhow::Result<String> {
        let shown = cluster.sago(&["drm", "title", "show", &format!("{BUCKET}/book.epub"), "--json"])?;
        let shown: Value = serde_json::from_str(&shown)?;
        ensure!(shown["standing"] == "ready", "not ready: {shown}");
        Ok(shown["title"].as_str().context("an id")?.to_owned())
    }

    /// Sells the title to a reader. Made again until it succeeds: the key of the request sees to it that this is one licence.
    ///
    /// # Errors
    /// It is refused, or fails for longer than `patience`.
    pub async fn issue(&self, title: &str, number: usize, patience: Duration) -> anyhow::Result<Reader> {
        let mut reader = Reader { licence: String::new(), number };
        let body = json!({
            "provider": "https://store.example",
            "user": { "id": format!("reader-{number}"), "email": format!("{number}@store.example"), "encrypted": ["email"] },
            "encryption": { "user_key": { "text_hint": "the number", "hex_value": hex(&reader.hash()) } },
            "rights": { "print": 10, "copy": 1000 },
        });
        let (began, mut pace) = (Instant::now(), tokio::time::interval(PAUSE));
        loop {
            pace.tick().await;
            let url = format!("{}/lcp/contents/{title}/license", self.gateways[number % self.gateways.len()]);
            let request = self.http.post(url).basic_auth(&self.access_key, Some(&self.secret_key));
            let request = request.header("idempotency-key", format!("sale-{number}")).json(&body);
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    let licence: Value = answer.json().await?;
                    reader.licence = licence["id"].as_str().context("an id")?.to_owned();
                    return Ok(reader);
                }
                Ok(answer) if answer.status().is_client_error() => bail!("{}", told(answer).await),
                failed if began.elapsed() > patience => bail!("no licence in time: {failed:?}"),
                _ => {}
            }
        }
    }

    /// Downloads the book of a licence. What breaks off is gone on with at the next gateway, from where it broke off.
    ///
    /// # Errors
    /// It is refused, or fails for longer than `patience`.
    pub async fn download(&self, reader: &Reader, number: usize, patience: Duration) -> anyhow::Result<Vec<u8>> {
        let (mut file, mut etag, mut at) = (Vec::new(), None::<String>, number);
        let (began, mut pace) = (Instant::now(), tokio::time::interval(PAUSE));
        loop {
            pace.tick().await;
            let gateway = &self.gateways[at % self.gateways.len()];
            let url = format!("{gateway}/download/{BUCKET}/book.epub?license={}", reader.licence);
            let mut request = self.http.get(url).basic_auth(&self.access_key, Some(&self.secret_key));
            if let Some(etag) = &etag {
                request = request.header("range", format!("bytes={}-", file.len())).header("if-range", etag);
            }
            match self.take(request.send().await, &mut file, &mut etag).await {
                Ok(true) => return Ok(file),
                Err(error) if began.elapsed() > patience => return Err(error),
                Err(error) if error.is::<Refused>() => return Err(error),
                Ok(false) | Err(_) => {}
            }
            at += 1;
        }
    }

    /// Whether all of it has come.
    async fn take(
        &self,
        answer: reqwest::Result<Response>,
        file: &mut Vec<u8>,
        etag: &mut Option<String>,
    ) -> anyhow::Result<bool> {
        let mut answer = answer?;
        match answer.status() {
            StatusCode::OK => file.clear(),
            StatusCode::PARTIAL_CONTENT => {}
            status if status.is_client_error() => return Err(Refused(told(answer).await).into()),
            status => bail!("{status}"),
        }
        *etag = answer.headers().get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let all = file.len() as u64 + answer.content_length().context("a length")?;
        while let Some(piece) = answer.chunk().await? {
            file.extend_from_slice(&piece);
        }
        Ok(file.len() as u64 == all)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
struct Refused(String);

async fn told(answer: Response) -> String {
    let status = answer.status();
    format!("{status}: {}", answer.text().await.unwrap_or_default())
}

/// In lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As documents have it.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
