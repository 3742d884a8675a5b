//! A look at a source, and what follows from it for its title.

use super::SourceClaim;
use crate::error::BucketError;
use crate::lcp::records::{Held, put};
use crate::lcp::service::OsEntropy;
use crate::lcp::title::TitleIndex;
use crate::lcp::{LcpError, Lending, Source, Standing, Title, TitleId};
use crate::settings::Protection;
use drm::ContentKey;
use proto::control::BucketInfo;
use proto::record::{Expected, RecordChange, RecordScan};
use std::sync::Arc;
use types::Timestamp;

/// Titles of one index entry that are looked at: there is one, unless two keys had the same hash.
const SAME_HASH_MAX: u32 = 16;

/// What a look led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// There is neither source nor title.
    Nothing,
    /// The title is as it should be.
    Current,
    /// It was queued, as a new one.
    New,
    /// It was queued: its source is another one, or is there again.
    Changed,
    /// Its source is gone.
    Gone,
}

impl Lending {
    /// Looks at an object that was stored, replaced or deleted, and has its title protected, if the bucket is marked. Idempotent, in whatever order such notes
    /// come.
    ///
    /// # Errors
    /// The cluster's, or the key service's. The next sweep makes up for a note that came to nothing.
    pub async fn note_object(&self, bucket: &str, key: &str) -> Result<(), LcpError> {
        if let Some(bucket) = self.marked(bucket).await? {
            self.note(&bucket, key).await?;
        }
        Ok(())
    }

    /// The title of an object, made and queued if need be; whether it is ready its standing says.
    ///
    /// # Errors
    /// [`LcpError::NoSuchTitle`]: no such object in a marked bucket. Or the cluster's, or the key service's.
    pub async fn ensure(&self, bucket: &str, key: &str) -> Result<Held<Title>, LcpError> {
        let bucket = self.marked(bucket).await?.ok_or(LcpError::NoSuchTitle)?;
        if let Some(title) = self.title_at(&bucket, key).await? {
            return Ok(title);
        }
        self.note(&bucket, key).await?;
        self.title_at(&bucket, key).await?.ok_or(LcpError::NoSuchTitle)
    }

    /// The title of an object, if it has one.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn title_of(&self, bucket: &str, key: &str) -> Result<Option<Held<Title>>, LcpError> {
        match self.store.find_bucket(bucket).await? {
            Some(bucket) => self.title_at(&bucket, key).await,
            None => Ok(None),
        }
    }

    async fn title_at(&self, bucket: &BucketInfo, key: &str) -> Result<Option<Held<Title>>, LcpError> {
        let entry = Title::source_entry(bucket.id, key);
        let scan = RecordScan {
            by: Some(TitleIndex::Source.index()),
            ..crate::lcp::records::beginning(&entry, SAME_HASH_MAX)
        };
        let page = self.store.records::<Title>(scan).await?;
        let is_it = |title: &Title| title.source.as_ref().is_some_and(|own| own.bucket == bucket.id && own.key == key);
        Ok(page.found.into_iter().find(|held| is_it(&held.value)))
    }

    /// The bucket of that name, if it is marked.
    pub(in crate::lcp) async fn marked(&self, name: &str) -> Result<Option<Arc<BucketInfo>>, LcpError> {
        let Some(bucket) = self.store.find_bucket(name).await? else { return Ok(None) };
        match self.store.bucket_settings(&bucket).await {
            Ok(settings) => Ok(settings.protection.is_some_and(|Protection::Lcp| true).then_some(bucket)),
            Err(BucketError::NoSuchBucket) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at an object of a marked bucket.
    pub(in crate::lcp) async fn note(&self, bucket: &BucketInfo, key: &str) -> Result<(), LcpError> {
        self.look(bucket, key).await.map(drop)
    }

    pub(super) async fn look(&self, bucket: &BucketInfo, key: &str) -> Result<Noted, LcpError> {
        let noted = self.store.change_by(|| self.compare(bucket, key)).await?;
        if matches!(noted, Noted::New | Noted::Changed) {
            self.queued.notify_one();
        }
        Ok(noted)
    }

    /// The title is read before its source: who has changed it since has seen that source or a later one, and this look is made again.
    async fn compare(&self, bucket: &BucketInfo, key: &str) -> Result<(Vec<RecordChange>, Noted), LcpError> {
        let title = self.title_at(bucket, key).await?;
        let head = self.store.source_head(bucket, key).await?;
        match (title, head) {
            (None, None) => Ok((Vec::new(), Noted::Nothing)),
            (None, Some(_)) if is_folder(key) => Ok((Vec::new(), Noted::Nothing)),
            (None, Some(head)) => Ok((self.begin(head.source_of(bucket, key)).await?, Noted::New)),
            (Some(title), None) => gone(title, self.config.clock.now()),
            (Some(title), Some(head)) => compared(title, head.source_of(bucket, key), self.config.clock.now()),
        }
    }

    /// A new title with its claim.
    async fn begin(&self, source: Source) -> Result<Vec<RecordChange>, LcpError> {
        let (id, now) = (TitleId::random(), self.config.clock.now());
        let content_key = self.wrap(&id, &ContentKey::random(&mut OsEntropy)).await?;
        let claim = SourceClaim { bucket: source.bucket, key: source.key.clone(), title: id.clone() };
        let title = Title {
            id,
            alt_id: None,
            name: None,
            source: Some(source),
            content_key,
            standing: Standing::Queued { since: now, due: now, tries: 0 },
            packages: Vec::new(),
            created: now,
            updated: now,
        };
        Ok(vec![put(&claim, Expected::Absent)?, put(&title, Expected::Absent)?])
    }
}

/// A folder that a tool has made so that it shows up; nobody sells it.
pub(in crate::lcp) fn is_folder(key: &str) -> bool {
    key.ends_with('/')
}

fn gone(title: Held<Title>, now: Timestamp) -> Result<(Vec<RecordChange>, Noted), LcpError> {
    if matches!(title.value.standing, Standing::Gone { .. }) {
        return Ok((Vec::new(), Noted::Current));
    }
    let value = Title { standing: Standing::Gone { at: now }, updated: now, ..title.value };
    Ok((vec![put(&value, Expected::Revision(title.revision))?], Noted::Gone))
}

/// What follows from a title and its source, both there.
fn compared(title: Held<Title>, source: Source, now: Timestamp) -> Result<(Vec<RecordChange>, Noted), LcpError> {
    let (revision, mut title) = (title.revision, title.value);
    let known = title.source.replace(source.clone());
    let protected = title.package().is_some_and(|package| package.source_etag.as_deref() == Some(&source.etag));
    let same = known.as_ref() == Some(&source);
    let like = known.is_some_and(|known| known.is_like(&source));
    let queued = Standing::Queued { since: now, due: now, tries: 0 };
    let standing = match &title.standing {
        // Stored anew with another type or name it may be understood.
        Standing::Failed { .. } if !same => queued,
        Standing::Failed { .. } => return Ok((Vec::new(), Noted::Current)),
        Standing::Queued { .. } | Standing::Protecting { .. } if like => title.standing.clone(),
        // As it was at first again.
        _ if protected => Standing::Ready,
        _ => queued,
    };
    let unchanged = standing == title.standing;
    if unchanged && same {
        return Ok((Vec::new(), Noted::Current));
    }
    let noted = if matches!(standing, Standing::Queued { .. }) && !unchanged { Noted::Changed } else { Noted::Current };
    title.updated = if unchanged { title.updated } else { now };
    title.standing = standing;
    Ok((vec![put(&title, Expected::Revision(revision))?], noted))
}
