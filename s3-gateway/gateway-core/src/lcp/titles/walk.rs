//! A walk through a marked bucket.

use super::SourceClaim;
use super::note::{Noted, is_folder};
use crate::lcp::records::put;
use crate::lcp::{LcpError, Lending, Standing, Title};
use crate::list::{LIST_KEYS_MAX, ListRequest};
use crate::store::Caller;
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::ListedObject;
use proto::record::Expected;

/// What is done with the objects of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectMode {
    /// Nothing; it is counted what would be.
    DryRun,
    /// What has no package of its present version is queued, but for what is known to be refused.
    Queue,
    /// Everything is queued, also what has a package and what was refused.
    Again,
}

/// What a walk has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ProtectCounts {
    /// Objects seen.
    pub seen: u64,
    /// They were no titles yet, and are queued; or would be.
    pub new: u64,
    /// Titles that were queued, or would be: their source has changed, or all are to be made again.
    pub again: u64,
    /// Titles that are queued or being protected already.
    pub under_way: u64,
    /// Titles with a package of their present version.
    pub current: u64,
    /// Titles that cannot be protected.
    pub failed: u64,
}

/// An object of a listing and its title.
pub(in crate::lcp) struct Listed {
    pub(in crate::lcp) key: String,
    pub(in crate::lcp) title: Option<Title>,
    /// Whether the title knows the object as it is.
    pub(in crate::lcp) known: bool,
}

impl Lending {
    /// Walks through the objects of a marked bucket whose keys begin with `prefix`. Can be broken off and repeated.
    ///
    /// # Errors
    /// [`LcpError::Invalid`]: the bucket is not marked. Or the cluster's, or the key service's.
    pub async fn protect(
        &self,
        bucket: &str,
        prefix: &str,
        mode: ProtectMode,
        progress: &mut (dyn FnMut(&ProtectCounts) + Send),
    ) -> Result<ProtectCounts, LcpError> {
        let bucket = self.marked(bucket).await?;
        let bucket = bucket.ok_or_else(|| LcpError::invalid("bucket", "there is no protected bucket of that name"))?;
        let (mut counts, mut after) = (ProtectCounts::default(), Bytes::new());
        loop {
            let (page, next) = self.listed(&bucket, prefix, after).await?;
            for object in &page {
                self.protect_one(&bucket, object, mode, &mut counts).await?;
            }
            progress(&counts);
            match next {
                Some(next) => after = next,
                None => return Ok(counts),
            }
        }
    }

    async fn protect_one(
        &self,
        bucket: &BucketInfo,
        object: &Listed,
        mode: ProtectMode,
        counts: &mut ProtectCounts,
    ) -> Result<(), LcpError> {
        counts.seen += 1;
        let standing = object.title.as_ref().map(|title| &title.standing);
        let count = match standing {
            None if is_folder(&object.key) => return Ok(()),
            None => &mut counts.new,
            Some(Standing::Queued { .. } | Standing::Protecting { .. }) if object.known => &mut counts.under_way,
            Some(Standing::Ready) if object.known && mode != ProtectMode::Again => &mut counts.current,
            Some(Standing::Failed { .. }) if object.known && mode != ProtectMode::Again => &mut counts.failed,
            Some(_) => &mut counts.again,
        };
        *count += 1;
        if mode == ProtectMode::DryRun {
            return Ok(());
        }
        let noted = self.look(bucket, &object.key).await?;
        match (&object.title, mode, noted) {
            (Some(title), ProtectMode::Again, Noted::Current) => self.requeue(title).await,
            _ => Ok(()),
        }
    }

    /// Queues a title that is ready or refused.
    async fn requeue(&self, title: &Title) -> Result<(), LcpError> {
        let plan = || async {
            let held = self.title(&title.id).await?;
            let now = self.config.clock.now();
            let done = matches!(held.value.standing, Standing::Ready | Standing::Failed { .. });
            let standing = Standing::Queued { since: now, due: now, tries: 0 };
            let value = Title { standing, updated: now, ..held.value };
            let change = || put(&value, Expected::Revision(held.revision));
            Ok((done.then(change).transpose()?.into_iter().collect(), ()))
        };
        self.store.change_by(plan).await?;
        self.queued.notify_one();
        Ok(())
    }

    /// A page of the objects of a bucket, each with its title, and where the next page begins.
    pub(in crate::lcp) async fn listed(
        &self,
        bucket: &BucketInfo,
        prefix: &str,
        after: Bytes,
    ) -> Result<(Vec<Listed>, Option<Bytes>), LcpError> {
        let owner = Caller { user: bucket.owner.clone() };
        let prefix = Bytes::copy_from_slice(prefix.as_bytes());
        let request = ListRequest { prefix, delimiter: Bytes::new(), after, max: LIST_KEYS_MAX };
        let page = self.store.list(&owner, &bucket.name, request).await?;
        let objects = page.objects.into_iter().filter_map(|object| {
            let key = String::from_utf8(object.key.to_vec()).ok()?;
            Some((key, object))
        });
        Ok((self.with_titles(bucket, objects.collect()).await?, page.next))
    }

    /// By claims and titles, many at a time: a bucket may have millions.
    async fn with_titles(
        &self,
        bucket: &BucketInfo,
        objects: Vec<(String, ListedObject)>,
    ) -> Result<Vec<Listed>, LcpError> {
        let keys: Vec<_> = objects.iter().map(|(key, _)| SourceClaim::key_of(bucket.id, key)).collect();
        let claims = self.store.records_of::<SourceClaim>(&keys).await?;
        let ids: Vec<Option<Bytes>> =
            claims.into_iter().map(|claim| claim.map(|held| held.value.title.as_str().to_owned().into())).collect();
        let some: Vec<Bytes> = ids.iter().flatten().cloned().collect();
        let mut titles = self.store.records_of::<Title>(&some).await?.into_iter();
        let listed = objects.into_iter().zip(ids).map(|((key, object), id)| {
            let title = id.and_then(|_| titles.next().flatten()).map(|held| held.value);
            let title = title.filter(|title| {
                title.source.as_ref().is_some_and(|source| source.bucket == bucket.id && source.key == key)
            });
            let known = title
                .as_ref()
                .and_then(|title| title.source.as_ref())
                .is_some_and(|source| source.etag == object.etag && source.mtime == object.mtime);
            Listed { key, title, known }
        });
        Ok(listed.collect())
    }
}
