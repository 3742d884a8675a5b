//! An intruder who has all disks and all metadata, and no key, changes nothing unnoticed.

use crate::world::{BOOKS, PLAIN, World, noise};
use bytes::Bytes;
use cluster_client::Cluster as _;
use gateway_core::{ByteRange, ObjectError, SealError};
use proto::meta::{Command, SetXattrMode};
use proto::object::{ETag, NewContent, Precondition};
use types::{ChunkId, INLINE_BYTES_MAX};

const SEALED_SEGMENT: usize = (64 << 10) + 28;

fn damaged<T: std::fmt::Debug>(answer: Result<T, ObjectError>) {
    assert!(matches!(answer, Err(ObjectError::Seal(SealError::Damaged))), "{answer:?}");
}

fn unsealed<T: std::fmt::Debug>(answer: Result<T, ObjectError>) {
    assert!(matches!(answer, Err(ObjectError::Seal(SealError::Unsealed))), "{answer:?}");
}

/// The chunks of the one object there is.
fn chunks(world: &World) -> Vec<(ChunkId, Bytes)> {
    world.cluster.chunks()
}

#[tokio::test]
async fn no_stored_byte_can_be_changed() {
    let world = World::new().await;
    let data = noise(200_000);
    world.put(BOOKS, "k", &data).await.expect("stored");
    let (id, good) = chunks(&world).remove(0);
    assert_eq!(good.len(), 200_000 + 4 * 28);
    for at in (0..good.len()).step_by(997).chain([11, 12, good.len() - 1]) {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        world.cluster.forge(id, bad.into());
        damaged(world.get(BOOKS, "k", None).await);
        damaged(world.copy((BOOKS, "k"), (PLAIN, "copy")).await);
        // What lies in other segments is not touched by it.
        let segment = at / SEALED_SEGMENT;
        let other = if segment == 0 { 150_000 } else { 10 };
        let range = ByteRange::FromTo { first: other, last: other + 9 };
        let read = world.get(BOOKS, "k", Some(range)).await.expect("intact");
        assert_eq!(read, data[other as usize..other as usize + 10]);
    }
    world.cluster.forge(id, good);
    assert_eq!(world.get(BOOKS, "k", None).await.expect("as it was"), data);
    assert!(world.get(PLAIN, "copy", None).await.is_err(), "no copy was made of what was damaged");
}

#[tokio::test]
async fn no_byte_of_a_small_object_or_its_envelope_can_be_changed() {
    let world = World::new().await;
    world.put(BOOKS, "k", b"a few bytes").await.expect("stored");
    let (object, content) = world.stored(BOOKS, "k").await;
    assert!(content.inline.len() < INLINE_BYTES_MAX && !content.inline.is_empty());
    let envelope = object.xattrs.iter().find(|(name, _)| name == "trusted.sago.envelope").expect("sealed").1.clone();
    for needle in [content.inline, envelope] {
        for at in 0..needle.len() {
            let flip = |value: &mut Vec<u8>| match value.windows(needle.len()).position(|window| window == needle) {
                Some(start) => {
                    value[start + at] ^= 1;
                    true
                }
                None => false,
            };
            assert_eq!(world.cluster.forge_rows(flip), 1, "byte {at}");
            assert!(world.get(BOOKS, "k", None).await.is_err(), "byte {at}");
            let back = |value: &mut Vec<u8>| {
                let mut bad = needle.to_vec();
                bad[at] ^= 1;
                match value.windows(bad.len()).position(|window| window == bad) {
                    Some(start) => {
                        value[start + at] ^= 1;
                        true
                    }
                    None => false,
                }
            };
            assert_eq!(world.cluster.forge_rows(back), 1, "byte {at}");
            assert_eq!(world.get(BOOKS, "k", None).await.expect("as it was"), b"a few bytes");
        }
    }
}

#[tokio::test]
async fn segments_cannot_be_moved_or_left_out() {
    let world = World::new().await;
    world.put(BOOKS, "k", &noise(4 * 65_536)).await.expect("stored");
    world.put(BOOKS, "twin", &noise(4 * 65_536)).await.expect("stored");
    let all = chunks(&world);
    let (first, good) = all[0].clone();
    let segments: Vec<&[u8]> = good.chunks(SEALED_SEGMENT).collect();
    let twin: Vec<&[u8]> = all[1].1.chunks(SEALED_SEGMENT).collect();
    assert_eq!((segments.len(), twin.len()), (4, 4));
    for order in [[1, 0, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2], [0, 0, 2, 3], [0, 1, 2, 2]] {
        let moved: Vec<u8> = order.iter().flat_map(|at| segments[*at].to_vec()).collect();
        world.cluster.forge(first, moved.into());
        damaged(world.get(BOOKS, "k", None).await);
    }
    // The same place of another object with the same content.
    for at in 0..4 {
        let mut mixed = segments.clone();
        mixed[at] = twin[at];
        world.cluster.forge(first, mixed.concat().into());
        damaged(world.get(BOOKS, "k", None).await);
    }
    world.cluster.forge(first, good.clone());
    assert_eq!(world.get(BOOKS, "k", None).await.expect("as it was"), noise(4 * 65_536));
}

#[tokio::test]
async fn parts_cannot_be_exchanged_and_the_content_of_another_object_is_not_this_ones() {
    let world = World::new().await;
    let part = noise(100_000);
    world.put_parts(BOOKS, "k", &[(1, part.clone()), (2, part.clone())]).await;
    let all = chunks(&world);
    world.cluster.forge(all[0].0, all[1].1.clone());
    world.cluster.forge(all[1].0, all[0].1.clone());
    damaged(world.get(BOOKS, "k", None).await);
    world.cluster.forge(all[0].0, all[0].1.clone());
    damaged(world.get(BOOKS, "k", None).await);
    world.cluster.forge(all[1].0, all[1].1.clone());
    assert_eq!(world.get(BOOKS, "k", None).await.expect("as it was"), part.repeat(2));
}

/// Writes an object as somebody who goes past the gateways.
async fn write(world: &World, bucket: &str, key: &str, content: NewContent, xattrs: Vec<(Bytes, Bytes)>) {
    let bucket = world.bucket(bucket).await;
    let command = Command::PutObject {
        bucket: bucket.id,
        key: Bytes::copy_from_slice(key.as_bytes()),
        content,
        etag: ETag::Md5([7; 16]),
        xattrs,
        precondition: Precondition::default(),
    };
    assert!(world.cluster.command(bucket.group, command).await.expect("memory").is_ok());
}

#[tokio::test]
async fn an_object_that_is_not_sealed_is_never_shown() {
    let world = World::new().await;
    let plain = Bytes::from_static(b"plain");
    write(&world, BOOKS, "k", NewContent::Inline(plain), Vec::new()).await;
    write(&world, BOOKS, "empty", NewContent::Inline(Bytes::new()), Vec::new()).await;
    for key in ["k", "empty"] {
        unsealed(world.get(BOOKS, key, None).await);
        unsealed(world.copy((BOOKS, key), (PLAIN, "copy")).await);
        unsealed(world.copy((BOOKS, key), (BOOKS, "copy")).await);
        let request = gateway_core::GetRequest { bucket: BOOKS.into(), key: key.into(), ..Default::default() };
        unsealed(world.store.head(&world.alice, &request).await);
    }
    // It can be seen, deleted and put again.
    let listed: Vec<_> = world.listed(BOOKS).await.into_iter().map(|(key, ..)| key).collect();
    assert_eq!(listed, ["empty", "k"]);
    world.store.delete(&world.alice, BOOKS, "k", Precondition::default()).await.expect("deleted");
    world.put(BOOKS, "empty", b"").await.expect("stored");
    assert_eq!(world.get(BOOKS, "empty", None).await.expect("sealed by now"), b"");
}

#[tokio::test]
async fn the_envelope_of_another_object_does_not_open_this_one() {
    let world = World::new().await;
    world.put(BOOKS, "a", b"this one").await.expect("stored");
    world.put(BOOKS, "b", b"that one").await.expect("stored");
    let (a, _) = world.stored(BOOKS, "a").await;
    let (b, _) = world.stored(BOOKS, "b").await;
    let envelope = b.xattrs.into_iter().find(|(name, _)| name == "trusted.sago.envelope").expect("sealed");
    let set = Command::SetXattr {
        ino: a.attr.ino,
        name: envelope.0.clone(),
        value: envelope.1.clone(),
        mode: SetXattrMode::Replace,
    };
    assert!(world.cluster.command(a.attr.ino.group(), set).await.expect("memory").is_ok());
    damaged(world.get(BOOKS, "a", None).await);
    // In another bucket its key is not unwrapped, and in one that is not marked it is taken for nothing else.
    let (_, content) = world.stored(BOOKS, "b").await;
    world.mark("more-books").await;
    write(&world, "more-books", "b", NewContent::Inline(content.inline.clone()), vec![envelope.clone()]).await;
    damaged(world.get("more-books", "b", None).await);
    write(&world, PLAIN, "b", NewContent::Inline(content.inline), vec![envelope]).await;
    unsealed(world.get(PLAIN, "b", None).await);
}

#[tokio::test]
async fn an_object_that_lacks_its_end_is_refused() {
    let world = World::new().await;
    let part = noise(70_000);
    world.put_parts(BOOKS, "k", &[(1, part.clone()), (2, part.clone())]).await;
    let (object, content) = world.stored(BOOKS, "k").await;
    let ino = object.attr.ino;
    let whole = content.size;
    let cut =
        |size| Command::SetAttr { ino, mode: None, uid: None, gid: None, size: Some(size), atime: None, mtime: None };
    for size in [whole / 2, whole - 1, 0] {
        assert!(world.cluster.command(ino.group(), cut(size)).await.expect("memory").is_ok());
        damaged(world.get(BOOKS, "k", None).await);
        damaged(world.get(BOOKS, "k", Some(ByteRange::FromTo { first: 0, last: 0 })).await);
    }
}
