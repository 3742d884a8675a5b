//! The operations: each takes a request apart, calls one function of the store and puts the answer together. What is
//! not here the library answers with `NotImplemented`.

mod buckets;
mod listing;
mod multipart;
mod notes;
mod objects;
mod received;

pub(crate) use notes::Notes;

use gateway_core::Store;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

/// All operations of the gateway.
pub(crate) struct Operations {
    store: Store,
    notes: Notes,
    region: String,
}

impl Operations {
    pub(crate) fn new(store: Store, notes: Notes, region: String) -> Self {
        Operations { store, notes, region }
    }
}

macro_rules! operations {
    ($($name:ident: $input:ident -> $output:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    self.$name(request).await
                }
            )*
        }
    };
}

// The inherent functions of the same names do the work.
operations! {
    create_bucket: CreateBucketInput -> CreateBucketOutput,
    head_bucket: HeadBucketInput -> HeadBucketOutput,
    list_buckets: ListBucketsInput -> ListBucketsOutput,
    delete_bucket: DeleteBucketInput -> DeleteBucketOutput,
    get_bucket_location: GetBucketLocationInput -> GetBucketLocationOutput,
    get_bucket_versioning: GetBucketVersioningInput -> GetBucketVersioningOutput,
    list_objects: ListObjectsInput -> ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output,
    put_object: PutObjectInput -> PutObjectOutput,
    get_object: GetObjectInput -> GetObjectOutput,
    head_object: HeadObjectInput -> HeadObjectOutput,
    delete_object: DeleteObjectInput -> DeleteObjectOutput,
    delete_objects: DeleteObjectsInput -> DeleteObjectsOutput,
    copy_object: CopyObjectInput -> CopyObjectOutput,
    create_multipart_upload: CreateMultipartUploadInput -> CreateMultipartUploadOutput,
    upload_part: UploadPartInput -> UploadPartOutput,
    upload_part_copy: UploadPartCopyInput -> UploadPartCopyOutput,
    complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput,
    list_parts: ListPartsInput -> ListPartsOutput,
    list_multipart_uploads: ListMultipartUploadsInput -> ListMultipartUploadsOutput,
}
