//! The sweep: all that is stored is compared with all that is recorded.
//!
//! | found | done |
//! | --- | --- |
//! | object of a marked bucket that its title does not know as it is | looked at: its note was lost |
//! | title whose source is gone | looked at: likewise |
//! | package that was replaced long ago, or whose source was deleted long ago and which nobody may read any more | dropped |
//! | object or upload of the system bucket that is no title's package | deleted |
//!
//! The last one is safe whoever works meanwhile. What has been found is older than the look at its title. If that shows no worker, then whoever has made the object has
//! lost his claim, and cannot name it any more; new workers draw new names. If it shows one, the object is left to the next sweep.

use super::package::{PREFIX, title_in};
use super::part::{cluster_error, system};
use crate::error::MultipartError;
use crate::lcp::records::{Held, Record, put, whole};
use crate::lcp::titles::is_folder;
use crate::lcp::{LcpError, Lending, Package, Place, Standing, Title, TitleId};
use crate::list::{LIST_KEYS_MAX, ListRequest};
use crate::multipart::UploadListRequest;
use crate::system::SYSTEM_BUCKET;
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::record::{Expected, IndexEntry, RecordSpace};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use types::Timestamp;

/// Titles that are looked at together.
const TITLES_PAGE: u32 = 64;

/// When something that one gateway does for all was last begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::lcp) struct Errand {
    /// What.
    name: String,
    /// When.
    begun: Timestamp,
}

impl Record for Errand {
    const SPACE: RecordSpace = RecordSpace(7);
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        self.name.clone().into()
    }

    fn entries(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}

/// What a sweep has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Objects whose titles did not know them as they are.
    pub noted: u64,
    /// Titles whose sources were gone without their knowing.
    pub gone: u64,
    /// Packages that were dropped.
    pub dropped: u64,
    /// Objects of the system bucket that were nobody's.
    pub objects: u64,
    /// Uploads to it that were nobody's.
    pub uploads: u64,
    /// Objects and titles that could not be looked at; the next sweep tries again.
    pub missed: u64,
}

impl Swept {
    /// One that cannot be looked at does not keep the others from it.
    fn miss(&mut self, what: &str, error: &LcpError) {
        tracing::warn!(what, %error, "a sweep has missed something");
        self.missed += 1;
    }
}

impl Lending {
    /// Sweeps, if no gateway has begun to within [`crate::lcp::LcpConfig::sweep`].
    pub(super) async fn sweep_if_due(&self) -> Result<Option<Swept>, LcpError> {
        const NAME: &str = "sweep";
        if self.store.system_bucket().await?.is_none() {
            return Ok(None);
        }
        let now = self.config.clock.now();
        let last = self.store.record::<Errand>(Bytes::from_static(NAME.as_bytes())).await?;
        let expected = match &last {
            Some(last) if !is_past(last.value.begun, self.config.sweep, now) => return Ok(None),
            Some(last) => Expected::Revision(last.revision),
            None => Expected::Absent,
        };
        let begun = Errand { name: NAME.to_owned(), begun: now };
        if !self.store.change_records(vec![put(&begun, expected)?]).await? {
            return Ok(None);
        }
        self.sweep().await.map(Some)
    }

    /// Compares all that is stored with all that is recorded. Can be broken off and repeated, by several gateways at once.
    ///
    /// # Errors
    /// The cluster's, or the key service's; what was done until then stays done.
    pub async fn sweep(&self) -> Result<Swept, LcpError> {
        let mut swept = Swept::default();
        for bucket in self.marked_buckets().await? {
            self.sweep_bucket(&bucket, &mut swept).await?;
        }
        self.sweep_titles(&mut swept).await?;
        if self.store.system_bucket().await?.is_some() {
            self.sweep_objects(&mut swept).await?;
            self.sweep_uploads(&mut swept).await?;
        }
        Ok(swept)
    }

    async fn marked_buckets(&self) -> Result<Vec<Arc<BucketInfo>>, LcpError> {
        let mut marked = Vec::new();
        for bucket in self.store.all_buckets().await? {
            marked.extend(self.marked(&bucket.name).await?);
        }
        Ok(marked)
    }

    async fn sweep_bucket(&self, bucket: &BucketInfo, swept: &mut Swept) -> Result<(), LcpError> {
        let mut after = Bytes::new();
        loop {
            let (page, next) = self.listed(bucket, "", after).await?;
            for object in page.iter().filter(|object| !object.known && !is_folder(&object.key)) {
                match self.note(bucket, &object.key).await {
                    Ok(()) => swept.noted += 1,
                    Err(error) => swept.miss(&object.key, &error),
                }
            }
            match next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    async fn sweep_titles(&self, swept: &mut Swept) -> Result<(), LcpError> {
        let mut scan = whole(TITLES_PAGE);
        loop {
            let page = self.store.records::<Title>(scan.clone()).await?;
            for held in &page.found {
                if let Err(error) = self.sweep_title(&held.value, swept).await {
                    swept.miss(held.value.id.as_str(), &error);
                }
            }
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn sweep_title(&self, title: &Title, swept: &mut Swept) -> Result<(), LcpError> {
        let now = self.config.clock.now();
        if let Some(source) = title.source.as_ref().filter(|_| !matches!(title.standing, Standing::Gone { .. })) {
            let bucket = self.store.find_bucket(&source.bucket_name).await?;
            let there = match bucket.as_deref().filter(|bucket| bucket.id == source.bucket) {
                Some(bucket) => self.store.source_head(bucket, &source.key).await?.is_some(),
                None => false,
            };
            if !there {
                self.forsake(title, bucket.as_deref()).await?;
                swept.gone += 1;
            }
        }
        let unread = matches!(title.standing, Standing::Gone { at } if is_past(at, self.config.keep_gone, now))
            && !self.has_open_licences(&title.id).await?;
        if title.packages.iter().any(|package| self.is_over(package, unread, now)) {
            swept.dropped += self.drop_packages(&title.id, unread, now).await?;
        }
        Ok(())
    }

    /// Looks at a source that is gone; with its bucket there is nothing left to look at.
    async fn forsake(&self, title: &Title, bucket: Option<&BucketInfo>) -> Result<(), LcpError> {
        let Some(source) = &title.source else { return Ok(()) };
        if let Some(bucket) = bucket.filter(|bucket| bucket.id == source.bucket) {
            return self.note(bucket, &source.key).await;
        }
        let at = self.config.clock.now();
        let plan = || async move {
            let held = self.title(&title.id).await?;
            let value = Title { standing: Standing::Gone { at }, updated: at, ..held.value };
            Ok((vec![put(&value, Expected::Revision(held.revision))?], ()))
        };
        self.store.change_by(plan).await
    }

    fn is_over(&self, package: &Package, unread: bool, now: Timestamp) -> bool {
        unread || package.replaced.is_some_and(|at| is_past(at, self.config.keep_replaced, now))
    }

    async fn drop_packages(&self, id: &TitleId, unread: bool, now: Timestamp) -> Result<u64, LcpError> {
        let plan = || async {
            let mut held = match self.title(id).await {
                Err(LcpError::NoSuchTitle) => return Ok((Vec::new(), Vec::new())),
                found => found?,
            };
            let unread = unread && matches!(held.value.standing, Standing::Gone { .. });
            let is_over = |package: &mut Package| self.is_over(package, unread, now);
            let dropped: Vec<_> = held.value.packages.extract_if(.., is_over).collect();
            if dropped.is_empty() {
                return Ok((Vec::new(), dropped));
            }
            Ok((vec![put(&held.value, Expected::Revision(held.revision))?], dropped))
        };
        let dropped = self.store.change_by(plan).await?;
        self.delete_packages(&dropped).await;
        Ok(dropped.len() as u64)
    }

    async fn sweep_objects(&self, swept: &mut Swept) -> Result<(), LcpError> {
        let mut after = Bytes::new();
        loop {
            let prefix = Bytes::from_static(PREFIX.as_bytes());
            let request = ListRequest { prefix, delimiter: Bytes::new(), after, max: LIST_KEYS_MAX };
            let page = self.store.list(&system(), SYSTEM_BUCKET, request).await?;
            let keys = page.objects.into_iter().filter_map(|object| String::from_utf8(object.key.to_vec()).ok());
            for key in self.nobodys(keys.collect()).await? {
                self.store.delete_package(&key).await;
                swept.objects += 1;
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    async fn sweep_uploads(&self, swept: &mut Swept) -> Result<(), LcpError> {
        let mut request = UploadListRequest {
            prefix: Bytes::from_static(PREFIX.as_bytes()),
            max: LIST_KEYS_MAX,
            ..UploadListRequest::default()
        };
        loop {
            let page = self.store.list_uploads(&system(), SYSTEM_BUCKET, request.clone()).await;
            let page = page.map_err(|error| LcpError::from(cluster_error(error)))?;
            let keys = |key: &Bytes| String::from_utf8(key.to_vec()).ok();
            let found: Vec<_> =
                page.uploads.iter().filter_map(|(key, upload, _)| Some((keys(key)?, *upload))).collect();
            let nobodys: BTreeSet<_> =
                self.nobodys(found.iter().map(|(key, _)| key.clone()).collect()).await?.into_iter().collect();
            for (key, upload) in found.iter().filter(|(key, _)| nobodys.contains(key)) {
                match self.store.abort_upload(&system(), SYSTEM_BUCKET, key, &upload.to_string()).await {
                    Ok(()) => swept.uploads += 1,
                    Err(MultipartError::NoSuchUpload) => {}
                    Err(error) => return Err(cluster_error(error).into()),
                }
            }
            match page.uploads.last() {
                Some((key, upload, _)) if page.truncated => {
                    request.after = Some((key.clone(), Some(upload.to_string())));
                }
                _ => return Ok(()),
            }
        }
    }

    /// Of keys that were found, those that no record names and no worker can name any more.
    async fn nobodys(&self, keys: Vec<String>) -> Result<Vec<String>, LcpError> {
        let ids: BTreeSet<TitleId> = keys.iter().filter_map(|key| title_in(key)).collect();
        let wanted: Vec<Bytes> = ids.iter().map(|id| Bytes::copy_from_slice(id.as_str().as_bytes())).collect();
        let titles = self.store.records_of::<Title>(&wanted).await?;
        let titles: BTreeMap<_, _> = ids.into_iter().zip(titles).collect();
        let is_nobodys = |key: &String| match title_in(key).and_then(|id| titles.get(&id)?.as_ref()) {
            Some(Held { value, .. }) => {
                let at_work = matches!(value.standing, Standing::Protecting { .. });
                let named = value
                    .packages
                    .iter()
                    .any(|package| matches!(&package.place, Place::Here { key: own, .. } if own == key));
                !at_work && !named
            }
            None => true,
        };
        Ok(keys.into_iter().filter(is_nobodys).collect())
    }
}

/// Whether it is longer ago than that.
fn is_past(at: Timestamp, by: Duration, now: Timestamp) -> bool {
    super::claim::later(at, by) < now
}
