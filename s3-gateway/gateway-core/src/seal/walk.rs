//! All that lies in a bucket with its attributes, page by page: objects, the trash, and uploads.

use crate::error::{ObjectError, object_refusal};
use crate::list::{LIST_KEYS_MAX, bucket_refusal};
use crate::store::{Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Query, Refusal};
use proto::object::Xattr;
use proto::trash::{TrashFilter, TrashId};
use types::{Ino, UploadId};

/// A file of a page and its attributes.
pub(crate) type Walked = (Ino, Vec<Xattr>);

/// Where a walk through a bucket is.
#[derive(Clone, Debug)]
enum Place {
    Objects(Bytes),
    Trash(Option<TrashId>),
    End,
}

/// A walk through the objects and the trash of a bucket. What is changed meanwhile may be met or not.
#[derive(Clone, Debug)]
pub(crate) struct Walk(Place);

impl Walk {
    pub(crate) fn new() -> Self {
        Walk(Place::Objects(Bytes::new()))
    }

    /// The next page, which may be empty; `None` at the end.
    pub(crate) async fn next(
        &mut self,
        store: &Store,
        bucket: &BucketInfo,
    ) -> Result<Option<Vec<Walked>>, ObjectError> {
        match std::mem::replace(&mut self.0, Place::End) {
            Place::Objects(after) => {
                let (page, next) = store.walk_objects(bucket, after).await?;
                self.0 = next.map_or(Place::Trash(None), Place::Objects);
                Ok(Some(page))
            }
            Place::Trash(after) => {
                let (page, next) = store.walk_trash(bucket, after).await?;
                self.0 = next.map_or(Place::End, |next| Place::Trash(Some(next)));
                Ok(Some(page))
            }
            Place::End => Ok(None),
        }
    }
}

impl Store {
    async fn walk_objects(
        &self,
        bucket: &BucketInfo,
        after: Bytes,
    ) -> Result<(Vec<Walked>, Option<Bytes>), ObjectError> {
        let (prefix, delimiter) = (Bytes::new(), Bytes::new());
        let query = Query::ListObjects { bucket: bucket.id, prefix, delimiter, after, max: LIST_KEYS_MAX };
        let page = match self.query(bucket, query).await? {
            Ok(Answer::Listing(page)) => page,
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(bucket_refusal(&refusal).into()),
        };
        let mut walked = Vec::with_capacity(page.objects.len());
        for listed in page.objects {
            match self.object(bucket, listed.key, None).await {
                Ok((object, _)) => walked.push((object.attr.ino, object.xattrs)),
                Err(ObjectError::NoSuchKey) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((walked, page.next))
    }

    async fn walk_trash(
        &self,
        bucket: &BucketInfo,
        after: Option<TrashId>,
    ) -> Result<(Vec<Walked>, Option<TrashId>), ObjectError> {
        let query = Query::ListTrash { bucket: bucket.id, filter: TrashFilter::default(), after, max: LIST_KEYS_MAX };
        let page = match self.query(bucket, query).await? {
            Ok(Answer::Trash(page)) => page,
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(bucket_refusal(&refusal).into()),
        };
        let mut walked = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let ino = entry.id.ino;
            match self.query(bucket, Query::ListXattrs { ino }).await? {
                Ok(Answer::Xattrs(xattrs)) => walked.push((ino, xattrs)),
                Ok(other) => return Err(surprise(&other).into()),
                Err(Refusal::StaleInode | Refusal::NotFound) => {}
                Err(refusal) => return Err(object_refusal(&refusal)),
            }
        }
        Ok((walked, page.next))
    }

    /// The attributes of the uploads of a bucket behind `after`, and the last of them if there may be more.
    pub(crate) async fn walk_uploads(
        &self,
        bucket: &BucketInfo,
        after: Option<(Bytes, UploadId)>,
    ) -> Result<(Vec<Vec<Xattr>>, Option<(Bytes, UploadId)>), ObjectError> {
        let (prefix, delimiter) = (Bytes::new(), Bytes::new());
        let after = after.map(|(key, upload)| (key, Some(upload)));
        let query = Query::ListUploads { bucket: bucket.id, prefix, delimiter, after, max: LIST_KEYS_MAX };
        let page = match self.query(bucket, query).await? {
            Ok(Answer::Uploads(page)) => page,
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(bucket_refusal(&refusal).into()),
        };
        let mut walked = Vec::with_capacity(page.uploads.len());
        for (key, upload, _) in &page.uploads {
            let query = Query::ListParts { bucket: bucket.id, key: key.clone(), upload: *upload, after: 0, max: 0 };
            match self.query(bucket, query).await? {
                Ok(Answer::Parts(parts)) => walked.push(parts.xattrs),
                Ok(other) => return Err(surprise(&other).into()),
                Err(Refusal::NoSuchUpload) => {}
                Err(refusal) => return Err(object_refusal(&refusal)),
            }
        }
        let last = page.uploads.last().filter(|_| page.truncated);
        Ok((walked, last.map(|(key, upload, _)| (key.clone(), *upload))))
    }

    /// Whether everything in a bucket, in its trash and in uploads to it is sealed.
    pub(crate) async fn is_all_sealed(&self, bucket: &BucketInfo) -> Result<bool, ObjectError> {
        let sealed = |xattrs: &[Xattr]| xattrs.iter().any(super::is_envelope);
        let mut after = None;
        loop {
            let (page, last) = self.walk_uploads(bucket, after).await?;
            if page.iter().any(|xattrs| !sealed(xattrs)) {
                return Ok(false);
            }
            after = last;
            if after.is_none() {
                break;
            }
        }
        let mut walk = Walk::new();
        while let Some(page) = walk.next(self, bucket).await? {
            if page.iter().any(|(_, xattrs)| !sealed(xattrs)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
