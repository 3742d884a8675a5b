//! Whatever is stored comes back as from a bucket that is not marked, and is nowhere in the cluster.

use crate::world::{BOOKS, PLAIN, World, body, collect, copy_of, forgetful, noise, titled};
use bytes::Bytes;
use futures::StreamExt as _;
use gateway_core::checksum::{ChecksumAlgorithm, ChecksumKind};
use gateway_core::{
    ByteRange, Content, CopySource, GetRequest, ListRequest, Metadata, NewUpload, ObjectError, PartListRequest,
    PartTarget, Upload,
};
use proptest::prelude::*;
use types::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX};

const SEGMENT: usize = 64 << 10;
/// Plain bytes of the largest chunk of a sealed object.
const SEALED_CHUNK: usize = 63 * SEGMENT;

/// Both buckets tell the same of a key, and give the same bytes.
async fn same(world: &World, key: &str, data: &[u8], ranges: &[ByteRange]) {
    for bucket in [PLAIN, BOOKS] {
        let request = GetRequest { bucket: bucket.into(), key: key.into(), ..GetRequest::default() };
        let (head, _) = world.store.head(&world.alice, &request).await.expect("there");
        assert_eq!(head.size, data.len() as u64, "{bucket}");
        assert_eq!(head.metadata.user, titled().user);
        assert!(world.get(bucket, key, None).await.expect("there") == data, "{bucket}: {} bytes", data.len());
        for range in ranges {
            match (world.get(bucket, key, Some(*range)).await, range.resolve(data.len() as u64)) {
                (Ok(read), Some(range)) => {
                    assert!(read == data[range.start as usize..range.end as usize], "{bucket} {range:?}");
                }
                (Err(error), None) => {
                    assert_eq!(error, ObjectError::RangeNotSatisfiable { size: data.len() as u64 });
                }
                (answer, range) => panic!("{:?} for {range:?}", answer.map(|data| data.len())),
            }
        }
    }
    assert_eq!(world.listed(BOOKS).await, world.listed(PLAIN).await);
}

#[tokio::test]
async fn bodies_of_every_shape_come_back_whole_and_in_ranges() {
    let world = World::new().await;
    let inline = INLINE_BYTES_MAX - 28;
    for len in [0, 1, inline, inline + 1, INLINE_BYTES_MAX, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 300_000] {
        let data = noise(len);
        let plain = world.put(PLAIN, "k", &data).await.expect("stored");
        let sealed = world.put(BOOKS, "k", &data).await.expect("stored");
        assert_eq!((plain.etag, plain.size), (sealed.etag, sealed.size));
        let (from_to, at) = (|first, last| ByteRange::FromTo { first, last }, SEGMENT as u64);
        let ranges = [from_to(0, 0), from_to(at - 1, at), from_to(at, 2 * at - 1), ByteRange::Suffix(1)];
        same(&world, "k", &data, &ranges).await;
    }
    for len in [SEALED_CHUNK, SEALED_CHUNK + 1, CHUNK_BYTES_MAX, 2 * SEALED_CHUNK, 3 * CHUNK_BYTES_MAX + 12_345] {
        let data = noise(len);
        world.put(PLAIN, "k", &data).await.expect("stored");
        world.put(BOOKS, "k", &data).await.expect("stored");
        let at = SEALED_CHUNK as u64;
        let ranges =
            [ByteRange::FromTo { first: at - 10, last: at + 10 }, ByteRange::From(at), ByteRange::Suffix(70_000)];
        same(&world, "k", &data, &ranges).await;
    }
}

#[tokio::test]
async fn small_objects_take_no_chunk_and_a_range_reads_what_it_needs() {
    let world = World::new().await;
    world.put(BOOKS, "small", &noise(INLINE_BYTES_MAX - 28)).await.expect("stored");
    assert_eq!(world.cluster.stored().0, 0);
    world.put(BOOKS, "next", &noise(INLINE_BYTES_MAX - 27)).await.expect("stored");
    assert_eq!(world.cluster.stored().0, 1);
    let data = noise(9 << 20);
    world.put(BOOKS, "large", &data).await.expect("stored");
    let before = world.cluster.bytes_read();
    let first = (8 << 20) - 5;
    let read = world.get(BOOKS, "large", Some(ByteRange::FromTo { first, last: first + 9 })).await.expect("there");
    assert_eq!(read, data[first as usize..first as usize + 10]);
    let two_segments = 2 * (SEGMENT as u64 + 28);
    assert_eq!(world.cluster.bytes_read() - before, two_segments);
}

#[tokio::test]
async fn a_download_that_is_not_read_holds_little() {
    let world = World::new().await;
    world.put(BOOKS, "large", &noise(24 << 20)).await.expect("stored");
    let before = world.cluster.bytes_read();
    let request = GetRequest { bucket: BOOKS.into(), key: "large".into(), ..GetRequest::default() };
    let Content::Stream(mut pieces) = world.store.get(&world.alice, &request).await.expect("there").content else {
        panic!("too large for one piece")
    };
    for _ in 0..3 {
        assert_eq!(pieces.next().await.expect("a piece").expect("intact").len(), SEGMENT);
    }
    tokio::task::yield_now().await;
    let ahead = world.cluster.bytes_read() - before;
    // What is opened is at most one piece; what is read ahead is what any download reads ahead.
    assert!(ahead <= 5 << 20, "{ahead} bytes read");
}

#[tokio::test]
async fn objects_of_unequal_and_repeated_parts_come_back_whole() {
    let world = World::new().await;
    let shapes: [&[(u16, usize)]; 6] = [
        &[(1, 0)],
        &[(1, 5)],
        &[(1, SEGMENT), (2, SEGMENT), (3, SEGMENT), (4, 1)],
        &[(2, 1), (3, SEGMENT + 1), (7, 1), (8, 1), (10_000, 3)],
        &[(1, 5_000_000), (2, 5_000_000), (3, 70_000)],
        &[(1, 1), (2, SEALED_CHUNK + 1), (3, SEALED_CHUNK), (4, 0)],
    ];
    for (number, shape) in shapes.iter().enumerate() {
        let key = format!("k{number}");
        let mut tags = Vec::new();
        let mut whole = Vec::new();
        for bucket in [PLAIN, BOOKS] {
            let upload = world.begin(bucket, &key).await.expect("begun");
            let place = (bucket, key.as_str(), upload.as_str());
            let mut named = Vec::new();
            whole.clear();
            for (part, len) in *shape {
                let data: Vec<u8> = noise(*len).iter().map(|byte| byte ^ *part as u8).collect();
                // Stored three times: with other bytes, then twice with the right ones.
                world.put_part(place, *part, &noise(len / 2 + 1)).await.expect("stored");
                world.put_part(place, *part, &data).await.expect("stored");
                named.push((*part, world.put_part(place, *part, &data).await.expect("stored").etag));
                whole.extend(data);
            }
            let request = PartListRequest {
                bucket: bucket.into(),
                key: key.clone(),
                upload: upload.clone(),
                after: 0,
                max: 1000,
            };
            let listed = world.store.list_parts(&world.alice, &request).await.expect("listed").parts;
            let sizes: Vec<_> = listed.iter().map(|part| (part.part, part.size as usize)).collect();
            assert_eq!(sizes, *shape);
            tags.push(world.complete(place, &named).await.expect("completed").etag);
            // Asked again because the answer was lost.
            assert_eq!(world.complete(place, &named).await.expect("completed").etag, tags[tags.len() - 1]);
        }
        assert_eq!(tags[0], tags[1]);
        let size = whole.len() as u64;
        let ranges = [ByteRange::FromTo { first: 1, last: size }, ByteRange::Suffix(5), ByteRange::From(size / 2)];
        same(&world, &key, &whole, &ranges).await;
    }
}

#[tokio::test]
async fn sizes_and_checksums_of_parts_are_those_of_the_plain_text() {
    let world = World::new().await;
    let parts = [noise(6 << 20), noise(70_001)];
    let whole = parts.concat();
    let mut made = Vec::new();
    for bucket in [PLAIN, BOOKS] {
        let (algorithm, key) = (ChecksumAlgorithm::Crc32c, "k".to_owned());
        let checksum = Some((algorithm, Some(ChecksumKind::FullObject)));
        let new = NewUpload { bucket: bucket.into(), key, metadata: Metadata::default(), checksum };
        let upload = world.store.create_upload(&world.alice, new).await.expect("begun").to_string();
        let place = (bucket, "k", upload.as_str());
        let mut named = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let number = number as u16 + 1;
            named.push((number, world.put_part(place, number, part).await.expect("stored").etag));
        }
        let completed = world.complete(place, &named).await.expect("completed");
        let one_piece = Upload { compute: Some(algorithm), ..body(&whole) };
        let put = world.store.put(&world.alice, crate::world::to(bucket, "one"), one_piece).await.expect("stored");
        let (of_parts, of_one) = (completed.checksum.expect("agreed"), put.checksum.expect("asked for"));
        assert_eq!(of_parts.text, of_one.text, "{bucket}");
        made.push((completed.etag, put.etag, of_parts));
    }
    assert_eq!(made[0], made[1]);
}

#[tokio::test]
async fn a_part_is_as_large_as_its_plain_text() {
    let world = World::new().await;
    let strict = world.another(gateway_core::StoreConfig { part_bytes_min: 5 << 20, ..forgetful() });
    for (len, fits) in [((5 << 20) - 1, false), (5 << 20, true)] {
        let world = World {
            store: strict.clone(),
            cluster: world.cluster.clone(),
            keys: world.keys.clone(),
            alice: world.alice.clone(),
        };
        let upload = world.begin(BOOKS, "k").await.expect("begun");
        let place = (BOOKS, "k", upload.as_str());
        let first = world.put_part(place, 1, &noise(len)).await.expect("stored").etag;
        let last = world.put_part(place, 2, b"end").await.expect("stored").etag;
        let completed = world.complete(place, &[(1, first), (2, last)]).await;
        assert_eq!(completed.is_ok(), fits, "{completed:?}");
    }
}

#[tokio::test]
async fn parts_of_too_many_sizes_are_refused_and_the_upload_stays() {
    let world = World::new().await;
    let upload = world.begin(BOOKS, "k").await.expect("begun");
    let place = (BOOKS, "k", upload.as_str());
    let mut named = Vec::new();
    for part in 1..=gateway_core::RUNS_MAX as u16 + 1 {
        let data = vec![0; usize::from(part % 2) + 1];
        named.push((part, world.put_part(place, part, &data).await.expect("stored").etag));
    }
    let refused = world.complete(place, &named).await;
    assert_eq!(
        refused.map_err(|error| error.to_string()).expect_err("refused"),
        gateway_core::SealError::TooManyRuns.to_string()
    );
    named.pop();
    world.complete(place, &named).await.expect("as many as there may be");
    assert_eq!(world.get(BOOKS, "k", None).await.expect("there").len(), 1024 + 512);
}

#[tokio::test]
async fn a_copy_is_sealed_where_it_comes_to_lie() {
    let world = World::new().await;
    world.mark("more-books").await;
    let shapes = [("small", noise(100)), ("large", noise(5 << 20)), ("empty", Vec::new())];
    for (key, data) in &shapes {
        for from in [PLAIN, BOOKS] {
            world.put(from, key, data).await.expect("stored");
            for to in [PLAIN, BOOKS, "more-books"] {
                let before = world.cluster.stored();
                let name = format!("{key} from {from}");
                let copied = world.copy((from, key), (to, &name)).await.expect("copied");
                assert_eq!(copied.size, data.len() as u64);
                assert!(world.get(to, &name, None).await.expect("there") == *data, "{name} in {to}");
                let sealed =
                    world.stored(to, &name).await.0.xattrs.iter().any(|(name, _)| name == "trusted.sago.envelope");
                assert_eq!(sealed, to != PLAIN, "{name} in {to}");
                if from == to {
                    assert_eq!(world.cluster.stored(), before, "within a bucket chunks are shared");
                }
                // With other metadata, onto itself as well.
                let other = Metadata { user: vec![("a".into(), "b".into())], ..Metadata::default() };
                let changed = copy_of((to, &name), (to, &name), Some(other.clone()));
                world.store.copy(&world.alice, changed).await.expect("copied");
                assert!(world.get(to, &name, None).await.expect("there") == *data, "{name} in {to}");
                let request = GetRequest { bucket: to.into(), key: name, ..GetRequest::default() };
                let (head, _) = world.store.head(&world.alice, &request).await.expect("there");
                assert_eq!((head.metadata.user, head.size), (other.user, data.len() as u64));
            }
        }
    }
}

#[tokio::test]
async fn a_copy_shares_chunks_with_an_object_of_parts_too() {
    let world = World::new().await;
    let parts = [(1, noise(70_000)), (2, noise(70_000)), (5, noise(3))];
    let etag = world.put_parts(BOOKS, "k", &parts).await;
    let whole: Vec<u8> = parts.iter().flat_map(|(_, data)| data.clone()).collect();
    let copied = world.copy((BOOKS, "k"), (BOOKS, "copy")).await.expect("copied");
    assert_eq!((copied.etag.as_str(), copied.size), (etag.as_str(), whole.len() as u64));
    assert_eq!(world.get(BOOKS, "copy", None).await.expect("there"), whole);
    // Into another bucket it is put in one piece.
    world.copy((BOOKS, "k"), (PLAIN, "copy")).await.expect("copied");
    assert_eq!(world.get(PLAIN, "copy", None).await.expect("there"), whole);
    assert_eq!(world.listed(PLAIN).await[0].1, whole.len() as u64);
}

#[tokio::test]
async fn parts_are_copied_across_marks() {
    let world = World::new().await;
    let data = noise(200_000);
    for bucket in [PLAIN, BOOKS] {
        world.put(bucket, "from", &data).await.expect("stored");
    }
    for (from, to) in [(PLAIN, BOOKS), (BOOKS, PLAIN), (BOOKS, BOOKS)] {
        let upload = world.begin(to, "to").await.expect("begun");
        let source = CopySource { bucket: from.into(), key: "from".into(), ..CopySource::default() };
        let mut named = Vec::new();
        for (part, range) in [(1, (0, 65_535)), (2, (65_536, 199_999))] {
            let target = PartTarget { bucket: to.into(), key: "to".into(), upload: upload.clone(), part };
            let copied = world.store.copy_part(&world.alice, &target, &source, Some(range)).await.expect("copied");
            named.push((part as u16, copied.part.etag));
        }
        world.complete((to, "to", &upload), &named).await.expect("completed");
        assert_eq!(world.get(to, "to", None).await.expect("there"), data, "{from} to {to}");
    }
}

#[tokio::test]
async fn nothing_plain_lies_in_the_cluster() {
    const CANARY: &[u8] = b"the bird that sings in no chunk and in no row";
    let holds = |world: &World| {
        let hits = world
            .cluster
            .everything()
            .into_iter()
            .filter(|bytes| bytes.windows(CANARY.len()).any(|window| window == CANARY));
        hits.count()
    };
    let world = World::new().await;
    let mut long = CANARY.repeat(2000);
    long.extend(noise(5 << 20));
    world.put(BOOKS, "inline", CANARY).await.expect("stored");
    world.put(BOOKS, "long", &long).await.expect("stored");
    world.put_parts(BOOKS, "parts", &[(1, long.clone()), (2, CANARY.to_vec())]).await;
    let upload = world.begin(BOOKS, "begun").await.expect("begun");
    world.put_part((BOOKS, "begun", &upload), 1, CANARY).await.expect("stored");
    world.copy((BOOKS, "inline"), (BOOKS, "copy")).await.expect("copied");
    world.get(BOOKS, "long", None).await.expect("there");
    assert_eq!(holds(&world), 0);
    // It would be found.
    world.put(PLAIN, "inline", CANARY).await.expect("stored");
    assert_eq!(holds(&world), 1);
    world.copy((BOOKS, "long"), (PLAIN, "long")).await.expect("copied");
    assert!(holds(&world) > 1);
}

#[tokio::test]
async fn a_listing_shows_plain_sizes_in_pages() {
    let world = World::new().await;
    for number in 0..10 {
        let parts = [(1, noise(number + 1)), (2, noise(65_536)), (3, noise(number))];
        for bucket in [PLAIN, BOOKS] {
            world.put_parts(bucket, &format!("parts-{number}"), &parts).await;
            world.put(bucket, &format!("whole-{number}"), &noise(number * 40_000)).await.expect("stored");
        }
    }
    for _ in 0..2 {
        assert_eq!(world.listed(BOOKS).await, world.listed(PLAIN).await);
    }
    let mut after = Bytes::new();
    let mut sizes = Vec::new();
    loop {
        let request = ListRequest { max: 3, after, ..ListRequest::default() };
        let page = world.store.list(&world.alice, BOOKS, request).await.expect("listed");
        sizes.extend(page.objects.iter().map(|object| object.size));
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(sizes, world.listed(PLAIN).await.iter().map(|(_, size, _)| *size).collect::<Vec<_>>());
}

fn shapes() -> impl Strategy<Value = Vec<(u16, usize)>> {
    let size = prop_oneof![
        0..200usize,
        (1..4usize, 0..3usize).prop_map(|(segments, off)| segments * SEGMENT + off - 1),
        0..300_000usize
    ];
    prop::collection::vec((1..4u16, size), 0..5).prop_map(|steps| {
        let numbered = steps.into_iter().scan(0, |part, (step, size)| {
            *part += step;
            Some((*part, size))
        });
        numbered.collect()
    })
}

fn ranges() -> impl Strategy<Value = Vec<ByteRange>> {
    let from_to =
        (0..400_000u64, 0..200_000u64).prop_map(|(first, len)| ByteRange::FromTo { first, last: first + len });
    let one =
        prop_oneof![from_to, (0..400_000u64).prop_map(ByteRange::From), (0..400_000u64).prop_map(ByteRange::Suffix)];
    prop::collection::vec(one, 6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// An object of any parts, or of one piece if there are none: every range is the range of its bytes.
    #[test]
    fn every_range_of_every_shape_is_right(shape in shapes(), one in 0..400_000usize, ranges in ranges()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = World::new().await;
            let parts: Vec<_> = shape.iter().map(|(part, len)| (*part, noise(*len))).collect();
            let whole = match parts.is_empty() {
                true => noise(one),
                false => parts.iter().flat_map(|(_, data)| data.clone()).collect(),
            };
            for bucket in [PLAIN, BOOKS] {
                match parts.is_empty() {
                    true => drop(world.put(bucket, "k", &whole).await.expect("stored")),
                    false => drop(world.put_parts(bucket, "k", &parts).await),
                }
            }
            same(&world, "k", &whole, &ranges).await;
        });
    }
}

#[tokio::test]
async fn a_conditional_read_is_judged_before_anything_is_opened() {
    let world = World::new().await;
    let stored = world.put(BOOKS, "k", &noise(10)).await.expect("stored");
    let condition = gateway_core::ReadCondition {
        if_none_match: Some(gateway_core::TagMatch::Tags(vec![stored.etag])),
        ..gateway_core::ReadCondition::default()
    };
    let request = GetRequest { bucket: BOOKS.into(), key: "k".into(), condition, ..GetRequest::default() };
    world.keys.set_away(true);
    assert!(matches!(world.store.get(&world.alice, &request).await, Err(ObjectError::NotModified(_))));
    world.keys.set_away(false);
    let whole = GetRequest { part: Some(1), condition: Default::default(), ..request };
    let read = world.store.get(&world.alice, &whole).await.expect("there");
    assert_eq!(collect(read.content).await.expect("there"), noise(10));
}
