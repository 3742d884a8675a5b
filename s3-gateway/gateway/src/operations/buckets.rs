//! Buckets.

use super::Operations;
use crate::convert::{refuse_unsupported, time};
use crate::request::caller;
use crate::s3_error::{self, WireError};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

impl Operations {
    pub(super) async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        refuse_unsupported(&request.headers)?;
        let caller = caller(&request)?;
        let input = request.input;
        let place = input.create_bucket_configuration.and_then(|wanted| wanted.location_constraint);
        if place.is_some_and(|place| !place.as_str().is_empty() && place.as_str() != self.region) {
            return Err(WireError::WrongLocation.into());
        }
        self.store.create_bucket(&caller, &input.bucket).await.map_err(|error| s3_error::bucket(&error))?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", input.bucket)) }))
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let caller = caller(&request)?;
        self.store.head_bucket(&caller, &request.input.bucket).await.map_err(|error| s3_error::bucket(&error))?;
        let output = HeadBucketOutput { bucket_region: Some(self.region.clone()), ..HeadBucketOutput::default() };
        Ok(S3Response::new(output))
    }

    pub(super) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let caller = caller(&request)?;
        let ListBucketsInput { continuation_token: after, max_buckets, prefix, .. } = request.input;
        let max = match max_buckets {
            None => usize::MAX,
            Some(max) => usize::try_from(max)
                .ok()
                .filter(|max| (1..=10_000).contains(max))
                .ok_or(WireError::InvalidArgument("max-buckets must be 1 to 10000"))?,
        };
        let mut buckets = self.store.list_buckets(&caller).await.map_err(|error| s3_error::bucket(&error))?;
        buckets.retain(|bucket| {
            prefix.as_ref().is_none_or(|prefix| bucket.name.starts_with(prefix.as_str()))
                && after.as_ref().is_none_or(|after| bucket.name > *after)
        });
        let more = buckets.len() > max;
        buckets.truncate(max);
        let next = buckets.last().filter(|_| more).map(|last| last.name.clone());
        let listed = buckets.into_iter().map(|bucket| Bucket {
            bucket_region: None,
            creation_date: Some(time(bucket.created)),
            name: Some(bucket.name),
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(listed.collect()),
            continuation_token: next,
            owner: Some(owner(&caller.user)),
            prefix,
        }))
    }

    pub(super) async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let caller = caller(&request)?;
        self.store.delete_bucket(&caller, &request.input.bucket).await.map_err(|error| s3_error::bucket(&error))?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    pub(super) async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let caller = caller(&request)?;
        self.store.head_bucket(&caller, &request.input.bucket).await.map_err(|error| s3_error::bucket(&error))?;
        // S3 shows its first region as none.
        let place = (self.region != "us-east-1").then(|| BucketLocationConstraint::from(self.region.clone()));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint: place }))
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let caller = caller(&request)?;
        self.store.head_bucket(&caller, &request.input.bucket).await.map_err(|error| s3_error::bucket(&error))?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }
}

/// A user as the owner of something.
pub(super) fn owner(user: &str) -> Owner {
    Owner { display_name: Some(user.to_owned()), id: Some(user.to_owned()) }
}
