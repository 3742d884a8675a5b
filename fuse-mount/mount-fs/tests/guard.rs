//! A mount keeps its hands off what is encrypted, from the moment on at which it knows.

#[allow(dead_code, reason = "shared with other tests")]
mod fake;

use cluster_client::CallError;
use fake::FakeCluster;
use mount_fs::{Caller, FsConfig, FsError, MountFs, OpenBucketError, OpenMode, SetAttr};
use std::time::Duration;
use types::FeatureLevel;

const ME: Caller = Caller { uid: 1000, gid: 1000 };
const WRITE: OpenMode = OpenMode { write: true, truncate: false };
const READ: OpenMode = OpenMode { write: false, truncate: false };

/// Lets the time go by in which a mount has to notice.
async fn pass() {
    for _ in 0..49 {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_is_protected_is_not_opened() {
    let cluster = FakeCluster::new();
    let open = async |name| MountFs::open_bucket(cluster.clone(), name, FsConfig::default()).await.map(|_| ());
    assert_eq!(open("books").await, Ok(()));
    let system = "sago-lcp".to_owned();
    assert_eq!(open("sago-lcp").await, Err(OpenBucketError::Protected(system)));
    cluster.set_settings(Ok(Some(&[1, 0])));
    assert_eq!(open("books").await, Ok(()), "nothing is set");
    let protected = || Err(OpenBucketError::Protected("books".to_owned()));
    for settings in [&[1, 1, 0][..], &[], &[2, 0], &[1, 0, 0]] {
        cluster.set_settings(Ok(Some(settings)));
        assert_eq!(open("books").await, protected(), "{settings:?}");
    }
    let level = CallError::Level { needs: FeatureLevel::RECORDS, at: FeatureLevel::RESTS };
    cluster.set_settings(Err(level));
    assert_eq!(open("books").await, Ok(()));
    cluster.set_settings(Err(CallError::Unavailable));
    assert_eq!(open("books").await, Err(OpenBucketError::Call(CallError::Unavailable)));
}

#[tokio::test(start_paused = true)]
async fn a_mount_refuses_everything_within_five_seconds_of_the_mark() {
    let cluster = FakeCluster::new();
    let fs = MountFs::open_bucket(cluster.clone(), "books", FsConfig::default()).await.expect("not protected");
    let root = fs.ino_of(1);
    let (attr, opened) = fs.create(root, b"f", 0o644, ME, false, WRITE).await.expect("created");
    fs.write(opened.handle, 0, b"text", false).await.expect("written");
    fs.flush(opened.handle).await.expect("stored");
    let reading = fs.open(attr.ino, READ).await.expect("opened").handle;
    assert_eq!(fs.read(reading, 0, 10).await.expect("read"), &b"text"[..]);

    cluster.set_settings(Err(CallError::Unavailable));
    pass().await;
    assert!(fs.getattr(attr.ino).await.is_ok(), "nobody has said so");

    fs.write(opened.handle, 0, b"more", false).await.expect("buffered");
    cluster.set_settings(Ok(Some(&[1, 1, 0])));
    pass().await;
    let before = cluster.calls();
    let denied = FsError::Protected;
    assert_eq!(fs.read(reading, 0, 10).await, Err(denied.clone()));
    assert_eq!(fs.write(opened.handle, 0, b"x", false).await, Err(denied.clone()));
    assert_eq!(fs.write_now(opened.handle, 0, b"x", false), Some(Err(denied.clone())));
    assert_eq!(fs.open(attr.ino, READ).await, Err(denied.clone()));
    assert_eq!(fs.create(root, b"g", 0o644, ME, false, WRITE).await.map(|_| ()), Err(denied.clone()));
    assert_eq!(fs.lookup(root, b"f").await, Err(denied.clone()));
    assert_eq!(fs.setattr(attr.ino, SetAttr { size: Some(0), ..SetAttr::default() }).await, Err(denied.clone()));
    assert_eq!(fs.mkdir(root, b"d", 0o755, ME).await, Err(denied.clone()));
    assert_eq!(fs.unlink(root, b"f").await, Err(denied));
    assert_eq!(cluster.calls(), before, "nothing was asked of the cluster");
    // What was buffered when the mark was set may have been stored in time, or is lost; nothing else is.
    let _ = fs.release(opened.handle).await;
    assert_eq!(cluster.calls().chunk_writes, before.chunk_writes);
}
