//! A shop with a marked bucket, and workers whose doings a test waits for.

use super::shop::{Shop, store_config};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use gateway_core::lcp::{LcpConfig, Lending, Place, ProtectionEvent, ProtectionEvents, Title};
use gateway_core::{
    Caller, Content, GetRequest, ListRequest, Metadata, Precondition, Protection, PutRequest, SYSTEM_BUCKET,
    SYSTEM_USER, Store, SystemHeader, Upload, UploadListRequest,
};
use proto::control::AccessKey;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The marked bucket.
pub const BUCKET: &str = "books";
/// Nothing that a worker does in a test takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shop with a marked bucket.
pub struct Library {
    /// What it is part of.
    pub shop: Shop,
    /// Who owns the bucket.
    pub owner: Caller,
    /// A key of his.
    pub key: AccessKey,
    /// The same cluster, past the network and its gates.
    direct: Store,
    events: mpsc::UnboundedReceiver<ProtectionEvent>,
}

/// Workers that run until they are stopped.
pub struct Workers {
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Workers {
    /// Lets them end in good order.
    ///
    /// # Panics
    /// One has panicked.
    pub async fn stop(self) {
        drop(self.stop);
        self.running.await.expect("workers do not panic");
    }

    /// Ends them where they are.
    pub async fn kill(self) {
        self.running.abort();
        drop(self.running.await);
    }
}

impl Library {
    /// Opens one, with two workers a gateway.
    ///
    /// # Panics
    /// The cluster does not take the bucket.
    pub async fn open(change: impl FnOnce(&mut LcpConfig)) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let shop = Shop::open(|config| {
            config.on_protection = ProtectionEvents::new(move |event| {
                let _ = sender.send(*event);
            });
            config.poll = Duration::from_millis(50);
            config.workers = 2;
            change(config);
        });
        let key = shop.cluster.add_user("alice");
        let owner = Caller { user: key.user.clone() };
        shop.store.create_bucket(&owner, BUCKET).await.expect("a new bucket");
        shop.store.protect_bucket(BUCKET, Protection::Lcp).await.expect("an empty bucket");
        let direct = Store::new(shop.cluster.clone(), store_config()).expect("valid settings");
        let direct = direct.with_keys(shop.keys.clone());
        Library { shop, owner, key, direct, events }
    }

    /// Begins to work, as this shop's gateway does.
    #[must_use]
    pub fn work(&self) -> Workers {
        work(self.shop.lending.clone())
    }

    /// Begins to work, as another gateway does.
    #[must_use]
    pub fn work_elsewhere(&self) -> Workers {
        work(self.shop.other_gateway())
    }

    /// What workers do next.
    ///
    /// # Panics
    /// They do nothing.
    pub async fn event(&mut self) -> ProtectionEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("workers do something").expect("the shop keeps its end")
    }

    /// Stores an object. Nobody notes it.
    ///
    /// # Panics
    /// The cluster does not take it.
    pub async fn store(&self, key: &str, media_type: Option<&str>, bytes: &[u8]) {
        let system = media_type.map(|media_type| (SystemHeader::ContentType, media_type.to_owned()));
        let request = PutRequest {
            bucket: BUCKET.to_owned(),
            key: key.to_owned(),
            metadata: Metadata { system: system.into_iter().collect(), ..Metadata::default() },
            precondition: Precondition::default(),
        };
        let body = stream::iter([Ok(Bytes::copy_from_slice(bytes))]);
        let upload = Upload { body, length: bytes.len() as u64, md5: None, checksum: None, compute: None };
        self.direct.put(&self.owner, request, upload).await.expect("stored");
    }

    /// Stores an object, and has it noted.
    ///
    /// # Panics
    /// As [`Library::store`].
    pub async fn put(&self, key: &str, bytes: &[u8]) {
        self.store(key, None, bytes).await;
        self.shop.lending.note_object(BUCKET, key).await.expect("noted");
    }

    /// Deletes an object. Nobody notes it.
    ///
    /// # Panics
    /// The cluster does not.
    pub async fn delete(&self, key: &str) {
        let deleted = self.direct.delete(&self.owner, BUCKET, key, Precondition::default()).await;
        assert_eq!(deleted, Ok(true));
    }

    /// The title of an object.
    ///
    /// # Panics
    /// It has none.
    pub async fn title(&self, key: &str) -> Title {
        let title = self.shop.lending.title_of(BUCKET, key).await.expect("an answer");
        title.expect("a title").value
    }

    /// The bytes of a package of a title.
    ///
    /// # Panics
    /// There is none.
    pub async fn package(&self, title: &Title, version: u32) -> Vec<u8> {
        let package = title.version(version).expect("that version");
        let Place::Here { key, .. } = &package.place else { panic!("it is here") };
        let request = GetRequest { bucket: SYSTEM_BUCKET.to_owned(), key: key.clone(), ..GetRequest::default() };
        match self.shop.store.get(&system(), &request).await.expect("the package").content {
            Content::Whole(bytes) => bytes.to_vec(),
            Content::Stream(pieces) => pieces.try_collect::<Vec<Bytes>>().await.expect("the package").concat(),
        }
    }

    /// Keys of objects in the system bucket.
    ///
    /// # Panics
    /// The cluster does not tell.
    pub async fn objects(&self) -> Vec<String> {
        let request = ListRequest { max: 1000, ..ListRequest::default() };
        let page = self.shop.store.list(&system(), SYSTEM_BUCKET, request).await.expect("a listing");
        page.objects.into_iter().map(|object| String::from_utf8_lossy(&object.key).into_owned()).collect()
    }

    /// How many uploads to the system bucket are open.
    ///
    /// # Panics
    /// The cluster does not tell.
    pub async fn uploads(&self) -> usize {
        let request = UploadListRequest { max: 1000, ..UploadListRequest::default() };
        let page = self.shop.store.list_uploads(&system(), SYSTEM_BUCKET, request).await;
        page.expect("a listing").uploads.len()
    }
}

fn system() -> Caller {
    Caller { user: SYSTEM_USER.to_owned() }
}

fn work(lending: Lending) -> Workers {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        lending.work(async move { drop(stopped.await) }).await;
    });
    Workers { stop, running }
}
