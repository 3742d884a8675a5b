//! A shop whose books lie in a running cluster: the operator's commands, the store's requests, the reader's downloads.

use anyhow::{Context, ensure};
use harness::{Cluster, Credentials, Payload, S3Client, S3Error};
use proto::control::AccessKey;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// The bucket of the books.
const BUCKET: &str = "library";
/// The user who sells them.
const SELLER: &str = "seller";
/// What reminds all readers of their passphrases.
pub const HINT: &str = "늘 쓰던 것";

/// An answer of a gateway, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The code.
    pub status: u16,
    /// Its headers, names in lower case; those that are no text are left out.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A licence as the shop was given it.
#[derive(Clone, Debug)]
pub struct Loan {
    /// Its id.
    pub id: String,
    /// The document.
    pub document: String,
}

/// The shop.
pub struct Bookshop<'a> {
    cluster: &'a Cluster,
    runtime: Runtime,
    http: Client,
    s3: S3Client,
    key: AccessKey,
}

impl<'a> Bookshop<'a> {
    /// A user who may lend, and a protected bucket of his.
    ///
    /// # Errors
    /// A command fails.
    pub fn open(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let key: AccessKey = serde_json::from_str(&cluster.sago(&["user", "create", SELLER, "--json"])?)?;
        cluster.operate(&["drm", "right", "grant", SELLER, "lend"])?;
        cluster.sago(&["bucket", "create", BUCKET, "--owner", SELLER, "--drm", "lcp"])?;
        let target = cluster.target();
        let credentials = Credentials {
            access_key: key.access_key.clone(),
            secret_key: key.secret_key.clone(),
            region: target.region.clone(),
        };
        // First: it chooses who does TLS in this process.
        let s3 = S3Client::new(&target.endpoint, credentials)?;
        let http = Client::builder().no_proxy().http1_only().build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Bookshop { cluster, runtime, http, s3, key })
    }

    /// Stores a book.
    ///
    /// # Errors
    /// It is refused.
    pub fn store(&self, key: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let stored = self.runtime.block_on(self.s3.put(BUCKET, key, &Payload::new(bytes)));
        stored.map(drop).with_context(|| format!("PUT {key}"))
    }

    /// Whether a plain book is given out by S3, to its owner.
    ///
    /// # Errors
    /// There is no answer.
    pub fn is_plain_readable(&self, key: &str) -> anyhow::Result<bool> {
        match self.runtime.block_on(self.s3.get(BUCKET, key)) {
            Ok(_) => Ok(true),
            Err(S3Error::Refused { status: 403, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Has all books protected and waits for it; the ids of their titles by their keys.
    ///
    /// # Errors
    /// One cannot be protected.
    pub fn protect(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.cluster.sago(&["drm", "title", "protect", BUCKET, "--wait"])?;
        let all = self.cluster.sago(&["drm", "title", "list", "--bucket", BUCKET, "--json"])?;
        let mut titles = BTreeMap::new();
        for title in serde_json::from_str::<Vec<Value>>(&all)? {
            ensure!(title["standing"] == "ready", "{title}");
            let source = title["source"].as_str().context("a source")?;
            let key = source.strip_prefix(BUCKET).and_then(|key| key.strip_prefix('/')).context("a key")?;
            titles.insert(key.to_owned(), title["title"].as_str().context("an id")?.to_owned());
        }
        Ok(titles)
    }

    /// What `sago drm title show` says.
    ///
    /// # Errors
    /// There is no such title.
    pub fn title(&self, title: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.cluster.sago(&["drm", "title", "show", title, "--json"])?)?)
    }

    /// Licenses a title to a reader, as the first licence server does it: until `end`, if it is lent.
    ///
    /// # Errors
    /// The licence is refused.
    pub fn license(&self, title: &str, reader: &str, hash: &str, end: Option<&str>) -> anyhow::Result<Loan> {
        let partial = json!({
            "provider": "https://store.example",
            "user": { "id": reader, "name": format!("독자 {reader}"), "encrypted": ["name"] },
            "rights": end.map_or(json!({}), |end| json!({ "end": end })),
            "encryption": { "user_key": { "text_hint": HINT, "hex_value": hash } },
        });
        let request = self.staff(Method::POST, &format!("/lcp/contents/{title}/license"));
        let answer = self.send(request.json(&partial))?;
        ensure!(answer.status == StatusCode::CREATED, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        let document = String::from_utf8(answer.body)?;
        let read: Value = serde_json::from_str(&document)?;
        Ok(Loan { id: read["id"].as_str().context("an id")?.to_owned(), document })
    }

    /// An address at which whoever has it downloads the book of a licence for a while.
    ///
    /// # Errors
    /// It is refused.
    pub fn address(&self, loan: &Loan) -> anyhow::Result<String> {
        let answer = self.send(self.staff(Method::POST, &format!("/lcp/licenses/{}/token", loan.id)))?;
        ensure!(answer.status == StatusCode::CREATED, "{}", answer.status);
        let token: Value = serde_json::from_slice(&answer.body)?;
        token["url"].as_str().map(str::to_owned).context("no address")
    }

    /// The same address of another gateway.
    ///
    /// # Errors
    /// It is none of the demo's.
    pub fn at(&self, address: &str, endpoint: &str) -> anyhow::Result<String> {
        let path = address.strip_prefix(&self.cluster.target().endpoint);
        Ok(format!("{endpoint}{}", path.with_context(|| format!("{address} is not the demo's"))?))
    }

    /// Asks for an address as anybody does.
    ///
    /// # Errors
    /// There is no answer, or it is cut short.
    pub fn ask(&self, method: Method, address: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let request = self.http.request(method, address);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    }

    /// All that is there.
    ///
    /// # Errors
    /// It is refused.
    pub fn download(&self, address: &str) -> anyhow::Result<Answer> {
        let answer = self.ask(Method::GET, address, &[])?;
        ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(answer)
    }

    /// Begins to download and hangs up after so many bytes; with the tag of what was begun.
    ///
    /// # Errors
    /// It is refused, or shorter.
    pub fn begin(&self, address: &str, bytes: usize) -> anyhow::Result<(Vec<u8>, String)> {
        self.runtime.block_on(async {
            let mut response = self.http.get(address).send().await?.error_for_status()?;
            let tag = response.headers().get("etag").context("no tag")?.to_str()?.to_owned();
            let mut begun = Vec::new();
            while begun.len() < bytes {
                begun.extend(response.chunk().await?.context("it ended before")?);
            }
            begun.truncate(bytes);
            Ok((begun, tag))
        })
    }

    /// A file of what the demo signs and encrypts with: `root.pem`, `crl.pem`.
    #[must_use]
    pub fn authority(&self, name: &str) -> PathBuf {
        self.cluster.folder().join("cluster/drm").join(name)
    }

    fn staff(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.cluster.target().endpoint));
        request.basic_auth(&self.key.access_key, Some(&self.key.secret_key))
    }

    fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        self.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let text = response.headers().iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
            let headers = text.map(|(name, value)| (name.as_str().to_owned(), value.to_owned())).collect();
            Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
        })
    }
}
