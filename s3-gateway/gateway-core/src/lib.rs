//! Buckets, objects, multipart uploads and conditions over a cluster; no HTTP types.
//!
//! A [`Store`] holds an `Arc<dyn Cluster>` and knows what S3 means: which chunks a body becomes and which command makes
//! them visible, which bytes a range is made of, what a condition demands, what the checksum of parts is. The face above
//! it (`gateway`) parses, authenticates, calls one function here and maps its error.
//!
//! Every operation takes a [`Caller`], an authenticated user, and checks that the bucket is the caller's: that is all the
//! authorisation there is yet.

#![forbid(unsafe_code)]

mod bucket;
mod budget;
mod cache;
pub mod checksum;
mod condition;
mod config;
mod content;
mod download;
mod error;
pub mod etag;
mod keyring;
mod keys;
pub mod lcp;
mod list;
mod metadata;
pub mod metrics;
mod multipart;
mod object;
pub mod provider_key;
mod range;
mod rights;
mod seal;
pub mod secret_file;
mod settings;
mod store;
mod system;
mod upload;

/// Nouns of the cluster that this interface speaks of.
pub use cluster_client::Cluster;
pub use condition::ReadCondition;
pub use config::{ConfigError, PART_BYTES_MIN, PUT_BYTES_MAX, StoreConfig};
pub use download::Content;
pub use error::{BodyError, BucketError, ClusterError, MultipartError, ObjectError, UploadError, Validators};
pub use keyring::{
    KEK_COUNT_MAX, KEK_NAME_BYTES_MAX, KEY_BYTES, KeyError, KeyFile, KeyFileError, KeyLineFault, KeyService,
    ReloadedKeys, SecretKey, WRAPPED_BYTES_MAX, WrappedKey,
};
pub use keys::ACCESS_KEY_BYTES_MAX;
pub use list::{LIST_KEYS_MAX, ListRequest};
pub use metadata::{Metadata, SystemHeader, USER_METADATA_BYTES_MAX};
pub use multipart::{
    CompletePart, CompleteRequest, Completed, CopiedPart, ListedPart, NewUpload, PartListRequest, PartPage, PartTarget,
    UploadListRequest, UploadedPart,
};
pub use object::{
    CopyRequest, CopySource, Deleted, GetRequest, IfRange, ObjectHead, ObjectRead, PutRequest, Stored, validate_key,
};
pub use proto::control::{AccessKey, BucketInfo};
pub use proto::meta::{ListedObject, Listing, UploadListing};
pub use proto::object::{Precondition, TagMatch};
pub use range::ByteRange;
pub use rights::{PlainRead, RIGHT_BUCKETS_MAX, RIGHTS_SPACE, Right, Rights, RightsError};
pub use seal::{RUNS_MAX, Rewrapped, SealError};
pub use settings::{BucketSettings, ProtectError, Protection, SETTINGS_KEY, SETTINGS_SPACE};
pub use store::{Caller, Store};
pub use system::{SYSTEM_BUCKET, SYSTEM_USER};
pub use upload::{ClaimedChecksum, ReadTrailer, Upload};
