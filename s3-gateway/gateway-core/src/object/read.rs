//! Reading an object, or what is known of it.

use super::{ObjectHead, content_bytes, validate_key, validators};
use crate::condition::ReadCondition;
use crate::download::Content;
use crate::error::{ObjectError, Validators, object_refusal};
use crate::range::ByteRange;
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Query};
use proto::object::{ContentView, FileKind, ObjectView};
use std::ops::Range;
use types::{FILE_BYTES_MAX, Ino, Timestamp};

/// Which object, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GetRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Only these bytes.
    pub range: Option<ByteRange>,
    /// The range counts only if this is still the object.
    pub if_range: Option<IfRange>,
    /// Only this part.
    pub part: Option<u16>,
    /// What is demanded of it.
    pub condition: ReadCondition,
}

/// The object that a range was meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// The one with this entity tag.
    Tag(String),
    /// The one last changed then.
    Date(Timestamp),
}

impl IfRange {
    /// Whether it is still the one.
    pub(crate) fn holds(&self, found: &Validators) -> bool {
        match self {
            IfRange::Tag(tag) => *tag == found.etag,
            IfRange::Date(date) => date.secs() == found.mtime.secs(),
        }
    }
}

/// An object being read.
#[derive(Debug)]
pub struct ObjectRead {
    /// What is known of it.
    pub head: ObjectHead,
    /// The bytes that come, if not all.
    pub range: Option<Range<u64>>,
    /// They.
    pub content: Content,
}

impl Store {
    /// Reads an object. All bytes come from one state of it.
    ///
    /// # Errors
    /// [`ObjectError`]; also while the content is being read.
    pub async fn get(&self, caller: &Caller, request: &GetRequest) -> Result<ObjectRead, ObjectError> {
        let bucket = self.bucket(caller, &request.bucket).await?;
        let guess = request.range.map_or((0, FILE_BYTES_MAX), ByteRange::guess);
        let (object, content) = self.object(&bucket, validate_key(&request.key)?, Some(guess)).await?;
        let mut content = content.unwrap_or_default();
        let (head, range) = judge(request, &object, &content)?;
        let wanted = range.clone().unwrap_or(0..head.size);
        if object.attr.kind == FileKind::Symlink {
            return Ok(ObjectRead { head, range, content: Content::Whole(Bytes::new()) });
        }
        // The first page tells of the range that was guessed and of nothing else: what lies outside may not be zeros.
        let told = guess.0..guess.0.saturating_add(guess.1);
        let covered = told.start <= wanted.start && wanted.end <= told.end;
        if !covered || content.next.is_some_and(|next| next <= wanted.start) {
            content = self.content_page(object.attr.ino, &content, &wanted).await?;
        }
        let content = self.download(object.attr.ino, &content, wanted).await?;
        Ok(ObjectRead { head, range, content })
    }

    /// What is known of an object, and which of its bytes a read would give.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn head(
        &self,
        caller: &Caller,
        request: &GetRequest,
    ) -> Result<(ObjectHead, Option<Range<u64>>), ObjectError> {
        let bucket = self.bucket(caller, &request.bucket).await?;
        let (object, content) = self.describe(&bucket, validate_key(&request.key)?).await?;
        judge(request, &object, &content)
    }

    /// An object and the size of its content, without more of the content than that takes.
    pub(crate) async fn describe(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
    ) -> Result<(ObjectView, ContentView), ObjectError> {
        // The attributes of a lasting directory do not tell how long its content is.
        let content = key.ends_with(b"/").then_some((0, 1));
        let (object, content) = self.object(bucket, key, content).await?;
        Ok((object, content.unwrap_or_default()))
    }

    /// An object, and a page of its content from an offset on, for so many bytes.
    pub(crate) async fn object(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
        content: Option<(u64, u64)>,
    ) -> Result<(ObjectView, Option<ContentView>), ObjectError> {
        match self.query(bucket, Query::Object { bucket: bucket.id, key, content }).await? {
            Ok(Answer::Object(object, content)) => Ok((object, content)),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(object_refusal(&refusal)),
        }
    }

    /// The page of extents that `wanted` begins in, of the same content as `first`.
    pub(crate) async fn content_page(
        &self,
        ino: Ino,
        first: &ContentView,
        wanted: &Range<u64>,
    ) -> Result<ContentView, ObjectError> {
        let query = Query::Content { ino, offset: wanted.start, len: wanted.end - wanted.start };
        match self.cluster.query(ino.group(), query).await? {
            Ok(Answer::Content(page)) if page.change == first.change => Ok(page),
            Ok(Answer::Content(_)) => Err(ObjectError::Changed),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(object_refusal(&refusal)),
        }
    }
}

/// Conditions first, then the range.
fn judge(
    request: &GetRequest,
    object: &ObjectView,
    content: &ContentView,
) -> Result<(ObjectHead, Option<Range<u64>>), ObjectError> {
    let validators = validators(&object.attr);
    request.condition.check(&validators)?;
    let head = ObjectHead::new(object, content_bytes(object, content.size));
    let size = head.size;
    let range = match (request.part, request.range) {
        (Some(1), _) if head.parts.is_none() => (size > 0).then_some(0..size),
        (Some(_), _) => return Err(ObjectError::NoSuchPart),
        (None, Some(range)) if request.if_range.as_ref().is_none_or(|only| only.holds(&validators)) => {
            Some(range.resolve(size).ok_or(ObjectError::RangeNotSatisfiable { size })?)
        }
        (None, _) => None,
    };
    Ok((head, range))
}
