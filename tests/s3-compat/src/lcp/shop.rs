//! The store of books.

use super::authority::{Authority, Provisions};
use super::clock::{TestClock, at};
use super::keys::MemoryKeys;
use super::lossy::Lossy;
use bytes::Bytes;
use cluster_client::Cluster as _;
use drm::PassphraseHash;
use gateway_core::lcp::{LcpConfig, Lending, Package, Place, Standing, TITLES, Title, TitleId, TitleIndex};
use gateway_core::{KeyService as _, SecretKey, Store, StoreConfig};
use harness::memory_cluster::MemoryCluster;
use proto::meta::{Command, Outcome};
use proto::record::{Expected, IndexEntry, RecordChange, RecordContent, RecordKey};
use std::sync::Arc;
use std::time::Duration;

/// What the reader types.
pub const PASSPHRASE: &str = "비밀 123 of the canary";
/// The content key of all titles here.
pub const CONTENT_KEY: [u8; 32] = *b"content key of the canary, 32 by";

/// What stores send for [`PASSPHRASE`].
#[must_use]
pub fn passphrase() -> PassphraseHash {
    PassphraseHash::of(PASSPHRASE)
}

/// Nothing is remembered: what one gateway does another sees at once, and a bucket is marked without waiting.
pub(super) fn store_config() -> StoreConfig {
    StoreConfig { cache_fresh: Duration::ZERO, cache_stale: Duration::ZERO, ..StoreConfig::default() }
}

/// A store of books over a cluster in memory.
pub struct Shop {
    /// What is tested.
    pub lending: Lending,
    /// Objects of the same cluster.
    pub store: Store,
    /// The cluster.
    pub cluster: Arc<MemoryCluster>,
    /// The same, as the gateway reaches it.
    pub network: Arc<Lossy>,
    /// The time; 2026-05-01T10:00:00Z at first.
    pub clock: TestClock,
    /// Who wraps content keys.
    pub keys: Arc<MemoryKeys>,
    /// Whom readers trust.
    pub authority: Authority,
    /// Who signs: at first a provider whose certificate is of 2026 and 2027.
    pub signers: Arc<Provisions>,
}

impl Shop {
    /// Opens one that behaves as the defaults say, but for what `change` changes of them.
    ///
    /// # Panics
    /// The settings are out of their ranges.
    #[must_use]
    pub fn open(change: impl FnOnce(&mut LcpConfig)) -> Self {
        let cluster = MemoryCluster::new(2);
        let network = Lossy::new(cluster.clone());
        let clock = TestClock::new(at("2026-05-01T10:00:00Z"));
        let (keys, authority) = (Arc::new(MemoryKeys::new()), Authority::new());
        let signers = Arc::new(Provisions::new(authority.provider(2026..2028)));
        let mut config = LcpConfig::new("https://s.example", "https://store.example", "https://store.example/hint");
        config.clock = clock.clock();
        change(&mut config);
        let store = Store::new(network.clone(), store_config()).expect("valid settings").with_keys(keys.clone());
        let lending = Lending::new(store.clone(), keys.clone(), signers.clone(), config).expect("valid settings");
        Shop { lending, store, cluster, network, clock, keys, authority, signers }
    }

    /// The same store of books as another gateway sees it: it shares nothing but the cluster, the key service and the provider.
    ///
    /// # Panics
    /// As [`Shop::open`].
    #[must_use]
    pub fn other_gateway(&self) -> Lending {
        let store =
            Store::new(self.network.clone(), store_config()).expect("valid settings").with_keys(self.keys.clone());
        let config = self.lending.config().clone();
        Lending::new(store, self.keys.clone(), self.signers.clone(), config).expect("valid settings")
    }

    /// Takes a title in that the store has encrypted itself, and whose package lies elsewhere.
    ///
    /// # Panics
    /// The cluster does not take it.
    pub async fn add_title(&self, id: &str) -> TitleId {
        let id: TitleId = id.parse().expect("an id");
        let key = SecretKey::new(CONTENT_KEY);
        let title = Title {
            content_key: self.keys.wrap(&id.key_context(), &key).await.expect("memory"),
            alt_id: None,
            name: Some("책 하나".to_owned()),
            source: None,
            standing: Standing::Ready,
            packages: vec![self.package(&id, 1)],
            created: self.clock.now(),
            updated: self.clock.now(),
            id: id.clone(),
        };
        self.put_title(&title).await;
        id
    }

    /// A package elsewhere, of that version.
    #[must_use]
    pub fn package(&self, id: &TitleId, version: u32) -> Package {
        Package {
            version,
            place: Place::There { href: format!("https://cdn.example/{id}/{version}.epub") },
            len: 1_000_000 + u64::from(version),
            sha256: [version as u8; 32],
            media_type: "application/epub+zip".to_owned(),
            made: self.clock.now(),
            source_etag: None,
            replaced: None,
        }
    }

    /// Gives a title a newer package.
    ///
    /// # Panics
    /// There is no such title, or the cluster does not take it.
    pub async fn add_version(&self, id: &TitleId) {
        let mut title = self.lending.title(id).await.expect("a title").value;
        let version = title.package().map_or(0, |package| package.version) + 1;
        title.packages.push(self.package(id, version));
        title.updated = self.clock.now();
        self.put_title(&title).await;
    }

    /// Puts a title as it is, in place of what there is of its id. Of the indexes it stands in that of other ids alone.
    ///
    /// # Panics
    /// The cluster does not take it.
    pub async fn put_title(&self, title: &Title) {
        let value = [vec![1], postcard::to_stdvec(title).expect("plain data")].concat();
        let alt = |alt_id: &String| IndexEntry { index: TitleIndex::Alt.index(), entry: Title::alt_entry(alt_id) };
        let entries = title.alt_id.iter().map(alt).collect();
        self.change_title(&title.id, Some(RecordContent { value: value.into(), entries })).await;
    }

    /// Removes a title, and leaves its licences.
    ///
    /// # Panics
    /// The cluster does not do it.
    pub async fn remove_title(&self, id: &TitleId) {
        self.change_title(id, None).await;
    }

    async fn change_title(&self, id: &TitleId, content: Option<RecordContent>) {
        let bucket = self.store.ensure_system_bucket().await.expect("memory");
        let key = RecordKey { space: TITLES, key: Bytes::copy_from_slice(id.as_str().as_bytes()) };
        let change = RecordChange { key, expected: Expected::Any, content };
        let ensured = self.cluster.command(bucket.group, Command::EnsureBucket { bucket: bucket.id }).await;
        assert!(matches!(ensured, Ok(Ok(_))), "{ensured:?}");
        let put = Command::PutRecords { bucket: bucket.id, changes: vec![change] };
        let done = self.cluster.command(bucket.group, put).await.expect("memory");
        assert!(matches!(done, Ok(Outcome::Records(_))), "{done:?}");
    }

    /// Whether some bytes stand anywhere in the cluster: in the content of an object, in a key or a value of its metadata.
    #[must_use]
    pub fn is_kept(&self, bytes: &[u8]) -> bool {
        let everything = self.cluster.everything();
        everything.iter().any(|row| row.windows(bytes.len()).any(|window| window == bytes))
    }
}
