//! Looks at the state machine through its queries and compares what it sees with the model.

use crate::rng::Rng;
use crate::trash::Binned;
use crate::world::{GROUP, Id, World};
use bytes::Bytes;
use meta_core::{memory::MemoryKv, query};
use proto::meta::{Answer, Listing, Query, Refusal};
use proto::object::{Attr, ContentView, ETag};
use proto::trash::{TrashEntry, TrashFilter};
use std::collections::BTreeMap;
use types::{BucketId, Ino, Timestamp, UploadId};

pub fn ask(kv: &MemoryKv, wanted: Query) -> Result<Answer, Refusal> {
    query(kv, GROUP, &wanted).expect("memory does not fail")
}

fn attr(answer: Result<Answer, Refusal>) -> Result<Attr, Refusal> {
    match answer? {
        Answer::Attr(attr) => Ok(attr),
        other => panic!("no attributes: {other:?}"),
    }
}

/// Puts together the bytes of a range as a reader would.
fn compose(world: &World, view: &ContentView, offset: u64, len: u64) -> Vec<u8> {
    let end = offset.saturating_add(len).min(view.size);
    if offset >= end {
        return Vec::new();
    }
    let mut data = vec![0; view.size as usize];
    data[..view.inline.len()].copy_from_slice(&view.inline);
    let mut at = 0;
    for extent in &view.extents {
        assert!(extent.file_offset >= at, "extents in order without overlap");
        at = extent.end();
        let from = &world.stored[&extent.chunk.id][extent.chunk_offset as usize..][..extent.len as usize];
        data[extent.file_offset as usize..at as usize].copy_from_slice(from);
    }
    data[offset as usize..end as usize].to_vec()
}

/// The whole content and the attributes of a node, by inode.
pub fn node(kv: &MemoryKv, world: &World, id: Id, rng: &mut Rng) {
    let ino = world.inos[&id];
    let seen = attr(ask(kv, Query::GetAttr { ino })).expect("the inode is there");
    assert_eq!(seen, world.attr(id, &seen));
    let xattrs: BTreeMap<Bytes, Bytes> = match ask(kv, Query::ListXattrs { ino }) {
        Ok(Answer::Xattrs(xattrs)) => xattrs.into_iter().collect(),
        other => panic!("{other:?}"),
    };
    assert_eq!(xattrs, world.nodes[&id].xattrs);
    let Some(file) = world.file(id) else {
        assert_eq!(ask(kv, Query::Content { ino, offset: 0, len: 1 }), Err(Refusal::IsDirectory));
        return;
    };
    let size = file.data.len() as u64;
    let (offset, len) = if rng.chance(50) { (0, u64::MAX) } else { (rng.below(size + 3), rng.below(size + 3)) };
    let view = match ask(kv, Query::Content { ino, offset, len }) {
        Ok(Answer::Content(view)) => view,
        other => panic!("{other:?}"),
    };
    assert_eq!((view.size, view.change, view.next), (size, seen.change, None));
    let wanted = offset.min(size) as usize..offset.saturating_add(len).min(size) as usize;
    let expected = file.data.get(wanted).unwrap_or_default();
    assert_eq!(compose(world, &view, offset, len), expected, "content of {ino} at {offset} for {len}");
}

/// The directories a key leads through, as far as they are there; learns their inodes.
fn way(kv: &MemoryKv, world: &mut World, bucket: BucketId, key: &[u8]) {
    let Some(mut dir) = world.buckets.get(&bucket).map(|bucket| bucket.root) else { return };
    let mut names: Vec<&[u8]> = key.split(|byte| *byte == b'/').collect();
    names.pop();
    for name in names {
        let Some(child) = world.dir(dir).dirs.get(name).copied() else { return };
        let wanted = Query::Lookup { parent: world.inos[&dir], name: Bytes::copy_from_slice(name) };
        let seen = attr(ask(kv, wanted)).expect("the directory is there");
        world.learn(child, seen.ino);
        assert_eq!(seen, world.attr(child, &seen));
        dir = child;
    }
}

/// An object by its key; learns its inode and entity tag.
pub fn object(kv: &MemoryKv, world: &mut World, bucket: BucketId, key: &Bytes, rng: &mut Rng) {
    way(kv, world, bucket, key);
    let wanted = Query::Object { bucket, key: key.clone(), content: Some((0, u64::MAX)) };
    let answer = ask(kv, wanted);
    let Some(id) = world.object(bucket, key) else {
        let expected = match key.len() {
            _ if !world.buckets.contains_key(&bucket) => Refusal::NoSuchBucket,
            0 => Refusal::Invalid,
            _ => Refusal::NotFound,
        };
        assert_eq!(answer, Err(expected), "key {key:?}");
        return;
    };
    let Ok(Answer::Object(view, Some(content))) = answer else { panic!("key {key:?}: {answer:?}") };
    world.learn(id, view.attr.ino);
    assert_eq!(view.attr, world.object_attr(id, &view.attr), "key {key:?}");
    if !world.is_symlink(id) {
        let data = &world.file(id).expect("an object").data;
        assert_eq!(&compose(world, &content, 0, u64::MAX), data, "key {key:?}");
    } else {
        assert_eq!((content.size, content.extents.len(), content.inline.len()), (0, 0, 0));
    }
    tag(world, id, &view.attr);
    node(kv, world, id, rng);
}

/// Notes the entity tag an object shows. One that comes from a mount is never shaped like an MD5.
fn tag(world: &mut World, id: Id, seen: &Attr) {
    let text = seen.etag_text();
    match seen.etag {
        ETag::Posix => assert!(text.ends_with(".p")),
        ETag::Md5(md5) => assert_eq!(text, format!("{:02x}", md5[0]).repeat(16)),
        ETag::Multipart(_, parts) => assert!(text.ends_with(&format!("-{parts}"))),
    }
    world.tags.insert(id, text);
}

/// A name as a mount sees it.
pub fn lookup(kv: &MemoryKv, world: &mut World, parent: Ino, name: &Bytes, rng: &mut Rng) {
    let answer = attr(ask(kv, Query::Lookup { parent, name: name.clone() }));
    let Some(dir) = world.ids.get(&parent).copied().filter(|id| world.nodes.contains_key(id)) else {
        assert_eq!(answer, Err(Refusal::StaleInode));
        return;
    };
    if world.file(dir).is_some() {
        assert_eq!(answer, Err(Refusal::NotDirectory));
        return;
    }
    let (there, file) = world.find(dir, name);
    match there.or(file) {
        Some(id) => {
            let seen = answer.expect("the name is there");
            world.learn(id, seen.ino);
            assert_eq!(seen, world.attr(id, &seen));
            node(kv, world, id, rng);
        }
        None => assert_eq!(answer, Err(Refusal::NotFound), "{name:?}"),
    }
}

/// A directory page by page.
pub fn read_dir(kv: &MemoryKv, world: &mut World, id: Id, page: u32) {
    let ino = world.inos[&id];
    let dir = world.dir(id);
    let mut expected: Vec<(Vec<u8>, Id)> = Vec::new();
    expected.extend(dir.files.iter().filter(|(name, _)| !name.is_empty()).map(|(name, id)| (name.to_vec(), *id)));
    expected.extend(dir.dirs.iter().map(|(name, id)| ([name, &b"/"[..]].concat(), *id)));
    expected.sort();
    let mut after = Bytes::new();
    let mut seen = Vec::new();
    loop {
        let entries = match ask(kv, Query::ReadDir { ino, after, max: page }) {
            Ok(Answer::Entries(entries)) => entries,
            other => panic!("{other:?}"),
        };
        let Some(last) = entries.last() else { break };
        after = last.cursor.clone();
        for entry in entries {
            let id = expected.get(seen.len()).expect("no more entries than there are").1;
            world.learn(id, entry.attr.ino);
            assert_eq!(entry.attr, world.attr(id, &entry.attr));
            let name = entry.cursor.strip_suffix(b"/").unwrap_or(&entry.cursor);
            assert_eq!(entry.name, name);
            seen.push((entry.cursor.to_vec(), id));
        }
    }
    assert_eq!(seen, expected);
}

/// The items a listing should show: a key, or a rolled-up prefix.
fn items(world: &World, bucket: BucketId, prefix: &[u8], delimiter: &[u8]) -> BTreeMap<Vec<u8>, Option<Id>> {
    let mut items = BTreeMap::new();
    let mut names: Vec<(Vec<u8>, Option<Id>)> =
        world.objects(bucket).into_iter().map(|(key, id)| (key, Some(id))).collect();
    if delimiter == b"/" {
        // An empty directory shows as a prefix.
        names.extend(world.dirs_of(bucket).into_iter().map(|(path, _)| (path, None)));
    }
    for (name, id) in names.into_iter().filter(|(name, _)| name.starts_with(prefix)) {
        let rest = &name[prefix.len()..];
        let at = (0..rest.len()).find(|at| !delimiter.is_empty() && rest[*at..].starts_with(delimiter));
        match (at, id) {
            (Some(at), _) => drop(items.insert(name[..prefix.len() + at + delimiter.len()].to_vec(), None)),
            (None, Some(_)) => drop(items.insert(name, id)),
            (None, None) => {}
        }
    }
    items
}

/// One page of a listing.
pub fn listing(kv: &MemoryKv, world: &World, bucket: BucketId, texts: [&[u8]; 3], max: u32) {
    let [prefix, delimiter, after] = texts;
    let wanted = Query::ListObjects {
        bucket,
        prefix: Bytes::copy_from_slice(prefix),
        delimiter: Bytes::copy_from_slice(delimiter),
        after: Bytes::copy_from_slice(after),
        max,
    };
    let answer = ask(kv, wanted);
    if !world.buckets.contains_key(&bucket) {
        assert_eq!(answer, Err(Refusal::NoSuchBucket));
        return;
    }
    let Ok(Answer::Listing(Listing { objects, prefixes, next })) = answer else { panic!("{answer:?}") };
    let mut seen: Vec<(Vec<u8>, Option<Id>)> = Vec::new();
    assert!(objects.is_sorted_by(|a, b| a.key < b.key) && prefixes.is_sorted_by(|a, b| a < b));
    for object in &objects {
        let id = world.object(bucket, &object.key).expect("a listed object is there");
        let node = &world.nodes[&id];
        let size = if world.is_symlink(id) { 0 } else { world.file(id).expect("object").data.len() as u64 };
        assert_eq!((object.size, object.mtime), (size, node.mtime), "{:?}", object.key);
        let etag = world.file(id).expect("object").etag;
        assert!(etag == ETag::Posix && object.etag.ends_with(".p") || object.etag == etag.render(Ino(0), 0));
        seen.push((object.key.to_vec(), Some(id)));
    }
    seen.extend(prefixes.iter().map(|prefix| (prefix.to_vec(), None)));
    seen.sort();
    let all: Vec<_> = items(world, bucket, prefix, delimiter)
        .into_iter()
        .filter(|(item, _)| after.is_empty() || item.as_slice() > after)
        .collect();
    let shown = all.len().min(max as usize);
    assert_eq!(seen, all[..shown], "prefix {prefix:?} delimiter {delimiter:?} after {after:?} max {max}");
    let expected = (shown > 0 && shown < all.len()).then(|| Bytes::copy_from_slice(&all[shown - 1].0));
    assert_eq!(next, expected, "prefix {prefix:?} delimiter {delimiter:?} after {after:?} max {max}");
}

/// A random page.
pub fn any_listing(kv: &MemoryKv, world: &World, bucket: BucketId, key: &[u8], after: &[u8], rng: &mut Rng) {
    let prefix = &key[..rng.below(key.len() as u64 + 1) as usize];
    let delimiter = *rng.pick(&["", "/", "/", "a", "-", "/a", "b/"]);
    let after = if rng.chance(40) { &[][..] } else { &after[..rng.below(after.len() as u64 + 1) as usize] };
    let max = *rng.pick(&[0, 1, 2, 5, 1000]);
    listing(kv, world, bucket, [prefix, delimiter.as_bytes(), after], max);
}

/// Uploads and parts of a bucket.
fn uploads(kv: &MemoryKv, world: &World, bucket: BucketId, rng: &mut Rng) {
    let mut expected: Vec<(Bytes, UploadId)> = world
        .uploads
        .iter()
        .filter(|(_, upload)| upload.bucket == bucket)
        .map(|(id, upload)| (upload.key.clone(), *id))
        .collect();
    expected.sort();
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let max = 1 + rng.below(3) as u32;
        let wanted = Query::ListUploads { bucket, prefix: Bytes::new(), delimiter: Bytes::new(), after, max };
        let Ok(Answer::Uploads(page)) = ask(kv, wanted) else { panic!("no uploads") };
        for (key, id, begun) in &page.uploads {
            assert_eq!(*begun, world.uploads[id].begun);
            seen.push((key.clone(), *id));
        }
        after = seen.last().map(|(key, id)| (key.clone(), Some(*id)));
        if !page.truncated {
            break;
        }
    }
    assert_eq!(seen, expected);
    for (key, upload) in expected {
        let wanted = Query::ListParts { bucket, key, upload, after: 2, max: 3 };
        let Ok(Answer::Parts(page)) = ask(kv, wanted) else { panic!("no parts") };
        let model = &world.uploads[&upload];
        let all: Vec<_> = model.parts.range(3..).collect();
        assert_eq!(page.truncated, all.len() > 3);
        assert_eq!(page.parts.len(), all.len().min(3));
        for (seen, (number, part)) in page.parts.iter().zip(all) {
            assert_eq!((seen.part, seen.size, seen.md5), (*number, part.data.len() as u64, part.md5));
            assert_eq!((seen.mtime, &seen.xattrs), (part.mtime, &part.xattrs));
        }
        assert_eq!(page.xattrs.into_iter().collect::<BTreeMap<_, _>>(), model.xattrs);
    }
}

/// What lies in the trash of a bucket since a time, and a random part of it; learns the inodes of replaced contents.
pub fn trash(kv: &MemoryKv, world: &mut World, bucket: BucketId, since: Option<Timestamp>, rng: &mut Rng) {
    let all = trash_pages(kv, bucket, TrashFilter { since, ..TrashFilter::default() }, rng);
    let of_bucket = |binned: &&Binned| binned.bucket == bucket && since.is_none_or(|since| binned.time >= since);
    let mut expected: Vec<Binned> = world.trash.iter().filter(of_bucket).cloned().collect();
    let mut strangers: Vec<Binned> = expected.extract_if(.., |binned| !world.inos.contains_key(&binned.id)).collect();
    for entry in &all {
        let known = world.ids.get(&entry.id.ino).copied();
        let at = known.and_then(|id| expected.iter().position(|binned| binned.id == id));
        let binned = match at {
            Some(at) => expected.remove(at),
            // They were made in this order, and their inodes were numbered so.
            None => strangers.remove(strangers.iter().position(|binned| binned.time == entry.id.time).expect("known")),
        };
        world.learn(binned.id, entry.id.ino);
        assert_eq!(*entry, world.listed(&binned, entry.id.ino));
    }
    assert!(expected.is_empty() && strangers.is_empty(), "{} missing in the trash", expected.len() + strangers.len());

    let Some(some) = all.get(rng.below(all.len() as u64 + 1) as usize) else { return };
    let filter = TrashFilter {
        prefix: some.path.slice(..rng.below(some.path.len() as u64 + 1) as usize),
        since: since.or_else(|| rng.chance(30).then_some(some.id.time)),
        until: rng.chance(30).then_some(world.now),
        session: rng.chance(30).then_some(some.session),
        reason: rng.chance(30).then_some(some.reason),
        due: rng.chance(30).then_some(some.due),
    };
    let wanted = |entry: &&TrashEntry| {
        entry.path.starts_with(&filter.prefix)
            && filter.since.is_none_or(|since| entry.id.time >= since)
            && filter.until.is_none_or(|until| entry.id.time < until)
            && filter.session.is_none_or(|session| entry.session == session)
            && filter.reason.is_none_or(|reason| entry.reason == reason)
            && filter.due.is_none_or(|due| entry.due <= due)
    };
    let expected: Vec<TrashEntry> = all.iter().filter(wanted).cloned().collect();
    assert_eq!(trash_pages(kv, bucket, filter, rng), expected);
}

fn trash_pages(kv: &MemoryKv, bucket: BucketId, filter: TrashFilter, rng: &mut Rng) -> Vec<TrashEntry> {
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let max = *rng.pick(&[1, 7, 1000]);
        let Ok(Answer::Trash(page)) = ask(kv, Query::ListTrash { bucket, filter: filter.clone(), after, max }) else {
            panic!("no trash")
        };
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            assert!(entries.is_sorted_by_key(|entry: &TrashEntry| entry.id));
            return entries;
        }
    }
}

/// Everything the model knows.
pub fn whole(kv: &MemoryKv, world: &mut World, rng: &mut Rng) {
    let buckets: Vec<BucketId> = world.buckets.keys().copied().collect();
    for bucket in buckets {
        let root = attr(ask(kv, Query::BucketRoot { bucket })).expect("the bucket is there");
        world.learn(world.buckets[&bucket].root, root.ino);
        for (_, dir) in world.dirs_of(bucket) {
            // Parents come first, so the directory's own inode is known by now.
            let page = 1 + rng.below(5) as u32;
            read_dir(kv, world, dir, page);
        }
        for key in world.objects(bucket).into_keys() {
            object(kv, world, bucket, &Bytes::from(key), rng);
        }
        for delimiter in ["", "/", "a"] {
            listing(kv, world, bucket, [b"", delimiter.as_bytes(), b""], 1000);
        }
        uploads(kv, world, bucket, rng);
        assert_eq!(ask(kv, Query::Usage { bucket }), Ok(Answer::Usage(world.usage(bucket))));
        assert_eq!(ask(kv, Query::BucketStatus { bucket }), Ok(Answer::BucketStatus(world.status(bucket))));
        trash(kv, world, bucket, None, rng);
    }
    // Unlinked files too.
    let seen: Vec<Id> = world.inos.keys().copied().collect();
    for id in seen {
        if world.nodes.contains_key(&id) {
            node(kv, world, id, rng);
        } else {
            assert_eq!(attr(ask(kv, Query::GetAttr { ino: world.inos[&id] })), Err(Refusal::StaleInode));
        }
    }
    let Ok(Answer::UnderReplicated(under)) = ask(kv, Query::UnderReplicated { after: None, max: 1024 }) else {
        panic!("no answer")
    };
    let expected: Vec<_> = world.under.iter().map(|(id, missing)| (world.known[id], *missing)).take(1024).collect();
    assert_eq!(under, expected);
}
