//! Buckets that a mount keeps its hands off: those whose content only gateways read and write, because it is encrypted.
//!
//! What is set for a bucket is a record among its own, which gateways write (docs/formats/sealed-objects.md). A mount
//! understands one form of it, that nothing is set, and takes any other for a protection. It asks before it opens a bucket, and goes on asking: from
//! the moment on at which it knows, every operation is refused.

use crate::fs::OpenBucketError;
use crate::{FsError, MountFs};
use bytes::Bytes;
use cluster_client::{CallError, Cluster};
use proto::control::BucketInfo;
use proto::meta::{Answer, Query, Refusal};
use proto::record::{RecordKey, RecordSpace};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The bucket in which gateways keep what they know of licences. No files of anybody's.
const SYSTEM_BUCKET: &str = "sago-lcp";
/// The record of a bucket's settings.
const SETTINGS_SPACE: RecordSpace = RecordSpace(0);
const SETTINGS_KEY: &[u8] = b"settings";
/// Its value if nothing is set: version 1, no protection.
const NOTHING_SET: &[u8] = &[1, 0];

/// Between two questions. A protected bucket must be known within five seconds, and a question that finds no leader takes some of them.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Whether the bucket has turned out to be protected.
#[derive(Debug, Default)]
pub(crate) struct Guard(AtomicBool);

impl Guard {
    fn close(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Refuses if it has.
    pub(crate) fn check(&self) -> Result<(), FsError> {
        if self.0.load(Ordering::Acquire) { Err(FsError::Protected) } else { Ok(()) }
    }
}

/// Refuses to open a bucket that is protected.
pub(crate) async fn refuse_protected(cluster: &dyn Cluster, bucket: &BucketInfo) -> Result<(), OpenBucketError> {
    if bucket.name == SYSTEM_BUCKET || is_protected(cluster, bucket).await? {
        return Err(OpenBucketError::Protected(bucket.name.clone()));
    }
    Ok(())
}

async fn is_protected(cluster: &dyn Cluster, bucket: &BucketInfo) -> Result<bool, OpenBucketError> {
    let key = RecordKey { space: SETTINGS_SPACE, key: Bytes::from_static(SETTINGS_KEY) };
    let query = Query::Records { bucket: bucket.id, keys: vec![key] };
    match cluster.query(bucket.group, query).await {
        Ok(Ok(Answer::Records(found))) => {
            let record = found.into_iter().flatten().next();
            Ok(record.is_some_and(|record| record.content.value != NOTHING_SET))
        }
        Ok(Ok(other)) => Err(OpenBucketError::Protocol(format!("{other:?}"))),
        // A cluster without records, and a bucket that its group has not heard of, protect nothing.
        Err(CallError::Level { .. }) | Ok(Err(Refusal::NoSuchBucket)) => Ok(false),
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(error) => Err(error.into()),
    }
}

/// Asks again and again whether a mounted bucket is protected, until it is.
pub(crate) async fn watch(fs: Weak<MountFs>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let Some(fs) = fs.upgrade() else { return };
        // Where nobody answers, no operation of the mount does either.
        if matches!(is_protected(&*fs.cluster, &fs.bucket).await, Ok(true)) {
            if fs.guard.close() {
                tracing::error!(bucket = %fs.bucket.name, "the bucket is protected now: all operations are refused, unmount it");
            }
            return;
        }
    }
}
