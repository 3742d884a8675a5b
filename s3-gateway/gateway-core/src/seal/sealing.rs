//! What a store has to do with sealing: which objects are sealed, with which key, and who may read them.

use super::SealError;
use super::cipher::{ObjectId, PartSealer, Sealer, key_context, new_key, random};
use super::envelope::Envelope;
use super::layout::Layout;
use crate::error::{BucketError, ObjectError};
use crate::keyring::{KeyService, SecretKey, WrappedKey};
use crate::store::{Caller, Store};
use proto::control::BucketInfo;
use proto::object::Xattr;
use std::sync::Arc;

/// An object that is being sealed.
pub(crate) struct Sealing {
    key: WrappedKey,
    object: ObjectId,
    sealer: Arc<Sealer>,
}

impl Sealing {
    /// For one of its parts.
    pub(crate) fn part(&self, part: u16) -> PartSealer {
        PartSealer { sealer: self.sealer.clone(), part }
    }

    /// The attribute of an object that consists of these parts.
    pub(crate) fn envelope(&self, layout: Layout) -> Result<Xattr, SealError> {
        Envelope::new(self.key.clone(), self.object, layout, &self.sealer)?.to_xattr()
    }
}

impl Store {
    /// Whether the content of a bucket is protected, as this process knows it.
    pub(crate) async fn is_marked(&self, bucket: &BucketInfo) -> Result<bool, BucketError> {
        Ok(self.bucket_settings(bucket).await?.protection.is_some())
    }

    /// The key service, without which nothing in a marked bucket is read or written.
    pub(crate) fn key_service(&self) -> Result<&Arc<dyn KeyService>, SealError> {
        self.key_service.as_ref().ok_or(SealError::NoKeys)
    }

    /// What a new object of a bucket is sealed with; `None` if the bucket is not marked.
    pub(crate) async fn begin_sealing(&self, bucket: &BucketInfo) -> Result<Option<Sealing>, ObjectError> {
        if !self.is_marked(bucket).await? {
            return Ok(None);
        }
        let service = self.key_service()?;
        let mut object = ObjectId::default();
        random(&mut object)?;
        let key = new_key()?;
        let sealer = Arc::new(Sealer::new(&key, bucket.id, object)?);
        let key = service.wrap(&key_context(bucket.id, &object), &key).await.map_err(SealError::from)?;
        Ok(Some(Sealing { key, object, sealer }))
    }

    /// Takes up the sealing of an object whose envelope this is. The next one has its data key wrapped under the newest key-encryption key.
    pub(crate) async fn resume_sealing(
        &self,
        bucket: &BucketInfo,
        envelope: &Envelope,
    ) -> Result<Sealing, ObjectError> {
        let (key, sealer) = self.data_key(bucket, envelope).await?;
        let key = self.wrapped_anew(bucket, envelope, &key).await?.unwrap_or_else(|| envelope.key.clone());
        Ok(Sealing { key, object: envelope.object, sealer: Arc::new(sealer) })
    }

    /// Refuses to make something visible that was prepared for a bucket that was not marked and is by now.
    pub(crate) async fn check_mark(&self, bucket: &BucketInfo, sealed: bool) -> Result<(), ObjectError> {
        if sealed == self.is_marked(bucket).await? { Ok(()) } else { Err(SealError::Overtaken.into()) }
    }

    /// The envelope of an object or upload with these attributes; `None` if its bucket is not marked.
    ///
    /// # Errors
    /// [`SealError::Unsealed`] if it has none and should, or has one and should not.
    pub(crate) async fn envelope(
        &self,
        bucket: &BucketInfo,
        xattrs: &[Xattr],
    ) -> Result<Option<Envelope>, ObjectError> {
        let found = Envelope::find(xattrs);
        let mut marked = self.is_marked(bucket).await?;
        if !marked && found.is_some() {
            // Another gateway has known of the mark before this one.
            marked = self.bucket_settings_now(bucket).await?.protection.is_some();
        }
        match (marked, found) {
            (false, None) => Ok(None),
            (true, Some(envelope)) => Ok(Some(envelope?)),
            (true, None) | (false, Some(_)) => Err(SealError::Unsealed.into()),
        }
    }

    /// What opens an object, once its envelope was proved.
    pub(crate) async fn unseal(&self, bucket: &BucketInfo, envelope: &Envelope) -> Result<Arc<Sealer>, ObjectError> {
        Ok(Arc::new(self.data_key(bucket, envelope).await?.1))
    }

    async fn data_key(&self, bucket: &BucketInfo, envelope: &Envelope) -> Result<(SecretKey, Sealer), SealError> {
        let context = key_context(bucket.id, &envelope.object);
        let key = self.key_service()?.unwrap(&context, &envelope.key).await?;
        let sealer = Sealer::new(&key, bucket.id, envelope.object)?;
        sealer.check(&envelope.layout, &envelope.proof)?;
        Ok((key, sealer))
    }

    /// The data key under the newest key-encryption key; `None` if it is so already.
    async fn wrapped_anew(
        &self,
        bucket: &BucketInfo,
        envelope: &Envelope,
        key: &SecretKey,
    ) -> Result<Option<WrappedKey>, SealError> {
        let service = self.key_service()?;
        if service.is_newest(&envelope.key).await? {
            return Ok(None);
        }
        Ok(Some(service.wrap(&key_context(bucket.id, &envelope.object), key).await?))
    }

    /// An envelope with its data key under the newest key-encryption key; `None` if it is so already.
    pub(super) async fn rewrapped(
        &self,
        bucket: &BucketInfo,
        envelope: &Envelope,
    ) -> Result<Option<Envelope>, ObjectError> {
        if self.key_service()?.is_newest(&envelope.key).await.map_err(SealError::from)? {
            return Ok(None);
        }
        let (key, _) = self.data_key(bucket, envelope).await?;
        let wrapped = self.wrapped_anew(bucket, envelope, &key).await?;
        Ok(wrapped.map(|key| Envelope { key, ..envelope.clone() }))
    }

    /// Whether this process may show the plain bytes of a marked bucket to `reader`; `None` is the process itself.
    pub(crate) async fn may_read_plain(&self, bucket: &BucketInfo, reader: Option<&Caller>) -> Result<(), ObjectError> {
        if let Some(caller) = reader
            && !self.rights_of(&caller.user).await?.reads_plain(&bucket.name)
        {
            return Err(BucketError::AccessDenied.into());
        }
        Ok(())
    }
}
