//! Reading an object, or what is known of it.

use super::{ObjectHead, content_bytes, validate_key, validators};
use crate::condition::ReadCondition;
use crate::download::Content;
use crate::error::{ObjectError, Validators, object_refusal};
use crate::range::ByteRange;
use crate::seal::{SEGMENT_BYTES, SealError, open, sealed_bytes};
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
    /// Reads an object. All bytes come from one state of it. Those of a marked bucket need the right to read plain bytes, also of its owner.
    ///
    /// # Errors
    /// [`ObjectError`]; also while the content is being read.
    pub async fn get(&self, caller: &Caller, request: &GetRequest) -> Result<ObjectRead, ObjectError> {
        let bucket = self.bucket(caller, &request.bucket).await?;
        self.read_object(&bucket, request, Some(caller)).await
    }

    /// Reads an object for `reader`; `None` is this process itself.
    pub(crate) async fn read_object(
        &self,
        bucket: &BucketInfo,
        request: &GetRequest,
        reader: Option<&Caller>,
    ) -> Result<ObjectRead, ObjectError> {
        let marked = self.is_marked(bucket).await?;
        if marked {
            self.may_read_plain(bucket, reader).await?;
            self.key_service()?;
        }
        let guess = request.range.map_or((0, FILE_BYTES_MAX), ByteRange::guess);
        let guess = if marked { sealed_guess(guess) } else { guess };
        let (object, content) = self.object(bucket, validate_key(&request.key)?, Some(guess)).await?;
        let content = content.unwrap_or_default();
        let envelope = self.envelope(bucket, &object.xattrs).await?;
        if envelope.is_some() && !marked {
            self.may_read_plain(bucket, reader).await?;
        }
        let stored = content_bytes(&object, content.size);
        let (head, range) = judge(request, &object, envelope.as_ref().map_or(stored, |it| it.layout.plain()))?;
        let wanted = range.clone().unwrap_or(0..head.size);
        let content = match envelope {
            None if object.attr.kind == FileKind::Symlink => Content::Whole(Bytes::new()),
            None => self.content(&object, content, guess, wanted).await?,
            Some(envelope) => {
                let sealer = self.unseal(bucket, &envelope).await?;
                if stored != envelope.layout.sealed() || envelope.layout.runs().is_empty() {
                    return Err(SealError::Damaged.into());
                }
                match envelope.layout.cut(wanted) {
                    None => Content::Whole(Bytes::new()),
                    Some(cut) => {
                        let content = self.content(&object, content, guess, cut.stored.clone()).await?;
                        open(content, sealer, cut).await?
                    }
                }
            }
        };
        Ok(ObjectRead { head, range, content })
    }

    /// The stored bytes `wanted` of an object; `page` is what the metadata said of the range `guess`.
    async fn content(
        &self,
        object: &ObjectView,
        mut page: ContentView,
        guess: (u64, u64),
        wanted: Range<u64>,
    ) -> Result<Content, ObjectError> {
        // The first page tells of the range that was guessed and of nothing else: what lies outside may not be zeros.
        let told = guess.0..guess.0.saturating_add(guess.1);
        let covered = told.start <= wanted.start && wanted.end <= told.end;
        if !covered || page.next.is_some_and(|next| next <= wanted.start) {
            page = self.content_page(object.attr.ino, &page, &wanted).await?;
        }
        self.download(object.attr.ino, &page, wanted).await
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
        self.head_of(&bucket, validate_key(&request.key)?, request).await
    }

    /// The same, of a bucket that is known, whoever asks.
    pub(crate) async fn head_of(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
        request: &GetRequest,
    ) -> Result<(ObjectHead, Option<Range<u64>>), ObjectError> {
        let (object, content) = self.describe(bucket, key).await?;
        let stored = content_bytes(&object, content.size);
        let envelope = self.envelope(bucket, &object.xattrs).await?;
        judge(request, &object, envelope.map_or(stored, |envelope| envelope.layout.plain()))
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

/// The range of the stored content to ask the metadata for before the layout is known: right for an object that was put in one piece.
fn sealed_guess((offset, len): (u64, u64)) -> (u64, u64) {
    let first = offset - offset % SEGMENT_BYTES;
    let end = offset.saturating_add(len).div_ceil(SEGMENT_BYTES).saturating_mul(SEGMENT_BYTES);
    let start = sealed_bytes(first).min(FILE_BYTES_MAX);
    (start, sealed_bytes(end).min(FILE_BYTES_MAX).saturating_sub(start).max(1))
}

/// Conditions first, then the range.
fn judge(
    request: &GetRequest,
    object: &ObjectView,
    size: u64,
) -> Result<(ObjectHead, Option<Range<u64>>), ObjectError> {
    let validators = validators(&object.attr);
    request.condition.check(&validators)?;
    let head = ObjectHead::new(object, size);
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
