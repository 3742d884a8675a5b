//! Mounts and gateways understand the same by a mark.

use crate::world::{BOOKS, PLAIN, World};
use gateway_core::{Protection, SYSTEM_BUCKET};
use mount_fs::{FsConfig, FsError, MountFs, OpenBucketError};
use std::time::Duration;

#[tokio::test]
async fn a_marked_bucket_and_the_systems_own_are_not_mounted() {
    let world = World::new().await;
    let open = async |name| MountFs::open_bucket(world.cluster.clone(), name, FsConfig::default()).await.map(|_| ());
    assert_eq!(open(PLAIN).await, Ok(()));
    for name in [BOOKS, SYSTEM_BUCKET] {
        assert_eq!(open(name).await, Err(OpenBucketError::Protected(name.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mount_notices_that_its_bucket_was_marked() {
    let world = World::new().await;
    let fs = MountFs::open_bucket(world.cluster.clone(), PLAIN, FsConfig::default()).await.expect("not marked");
    let root = fs.ino_of(1);
    assert!(fs.getattr(root).await.is_ok());
    world.store.protect_bucket(PLAIN, Protection::Lcp).await.expect("empty");
    let marked = tokio::time::Instant::now();
    while fs.getattr(root).await != Err(FsError::Protected) {
        assert!(marked.elapsed() < Duration::from_secs(5), "it has not noticed");
        tokio::time::advance(Duration::from_millis(100)).await;
    }
}
