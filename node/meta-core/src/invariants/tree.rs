//! Names, inodes, directories, trash, usage.

use super::{Broken, snapshot::Snapshot};
use crate::inode::{Directory, Inode};
use proto::meta::Usage;
use proto::object::FileKind;
use std::collections::BTreeMap;
use types::{BucketId, FragId, Ino};

pub(super) fn check(snapshot: &Snapshot, broken: &mut Broken) {
    let mut names: BTreeMap<Ino, u32> = BTreeMap::new();
    let mut frags: BTreeMap<FragId, Ino> = BTreeMap::new();
    for (ino, inode) in &snapshot.inodes {
        for (_, frag) in inode.directory().iter().flat_map(|directory| &directory.fragments) {
            broken.unless(frags.insert(*frag, *ino).is_none(), || format!("{frag} belongs to two directories"));
        }
    }
    for frag in snapshot.dentries.keys() {
        match frags.get(frag) {
            Some(dir) => entries(snapshot, *frag, *dir, &mut names, broken),
            None => broken.0.push(format!("{frag} belongs to no directory")),
        }
    }
    for (ino, inode) in &snapshot.inodes {
        let named = names.get(ino).copied().unwrap_or(0);
        match inode.directory() {
            Ok(directory) => dir(snapshot, *ino, inode, directory, named, broken),
            Err(_) => file(snapshot, *ino, inode, named, broken),
        }
    }
    usage(snapshot, broken);
}

/// Every entry leads to an inode of the same bucket and says what that says.
fn entries(snapshot: &Snapshot, frag: FragId, dir: Ino, names: &mut BTreeMap<Ino, u32>, broken: &mut Broken) {
    for (key, dentry) in &snapshot.dentries[&frag] {
        let place = || format!("{:?} in {dir}", String::from_utf8_lossy(key.name()));
        *names.entry(dentry.ino).or_default() += 1;
        let Some(inode) = snapshot.inodes.get(&dentry.ino) else {
            broken.0.push(format!("{} leads to {}, which is gone", place(), dentry.ino));
            continue;
        };
        let bucket = snapshot.inodes[&dir].bucket;
        broken.unless(inode.bucket == bucket, || format!("{} lies in another bucket", place()));
        broken.unless(key.is_dir() == (dentry.kind == FileKind::Directory), || format!("{}: wrong form", place()));
        let here = inode
            .parent
            .as_ref()
            .is_some_and(|parent| (parent.dir, parent.frag, parent.name.as_ref()) == (dir, frag, key.name()));
        if key.is_dir() {
            broken.unless(here, || format!("{}: its inode stands elsewhere", place()));
            broken.unless(dentry.hint.is_none(), || format!("{}: a directory with a hint", place()));
        } else {
            broken.unless(here == dentry.hint.is_some(), || format!("{}: hint and parent disagree", place()));
        }
        let mut as_it_should = inode.dentry(dentry.ino);
        as_it_should.hint = as_it_should.hint.filter(|_| here);
        broken.unless(*dentry == as_it_should, || format!("{}: {dentry:?} is not {as_it_should:?}", place()));
    }
}

fn dir(snapshot: &Snapshot, ino: Ino, inode: &Inode, directory: &Directory, names: u32, broken: &mut Broken) {
    let empty = Vec::new();
    let entries = snapshot.dentries.get(&directory.frag()).unwrap_or(&empty);
    let marker = entries.iter().any(|(key, _)| !key.is_dir() && key.name().is_empty());
    let subdirs = entries.iter().filter(|(key, _)| key.is_dir()).count();
    broken.unless(directory.entries == (entries.len() - usize::from(marker)) as u64, || {
        format!("{ino}: {} entries, {} counted", entries.len(), directory.entries)
    });
    broken.unless(directory.marker == marker, || format!("{ino}: marker {marker}, flag {}", directory.marker));
    broken.unless(directory.subdirs as usize == subdirs, || {
        format!("{ino}: {subdirs} directories, {} counted", directory.subdirs)
    });
    broken.unless(directory.lasting || !entries.is_empty(), || format!("{ino}: implicit and empty"));
    let root = snapshot.buckets.get(&inode.bucket).is_some_and(|bucket| bucket.root == ino);
    broken.unless(root != (names == 1 && inode.parent.is_some()), || format!("{ino}: a directory with {names} names"));
}

fn file(snapshot: &Snapshot, ino: Ino, inode: &Inode, names: u32, broken: &mut Broken) {
    broken.unless(inode.nlink == names, || format!("{ino}: {names} names, {} counted", inode.nlink));
    let trash = snapshot.trash.get(&ino).map_or(0, Vec::len);
    broken.unless(trash == usize::from(inode.nlink == 0), || format!("{ino}: {trash} times in the trash"));
    broken.unless(inode.parent.is_none() || inode.nlink == 1, || format!("{ino}: a parent, but {names} names"));
}

fn usage(snapshot: &Snapshot, broken: &mut Broken) {
    let mut used: BTreeMap<BucketId, Usage> = BTreeMap::new();
    for inode in snapshot.inodes.values().filter(|inode| inode.content().is_some()) {
        let used = used.entry(inode.bucket).or_default();
        let (files, bytes) = if inode.nlink > 0 {
            (&mut used.files, &mut used.bytes)
        } else {
            (&mut used.trash_files, &mut used.trash_bytes)
        };
        *files += 1;
        *bytes += inode.size();
    }
    for (id, bucket) in &snapshot.buckets {
        let used = used.get(id).copied().unwrap_or_default();
        broken.unless(used == bucket.usage(), || format!("{id}: {used:?}, {:?} counted", bucket.usage()));
    }
    for (ino, keys) in &snapshot.trash {
        let Some(inode) = snapshot.inodes.get(ino) else {
            broken.0.push(format!("{ino} is in the trash, but gone"));
            continue;
        };
        let here = keys.iter().all(|key| key.bucket == inode.bucket && key.time <= snapshot.counters.time);
        broken.unless(here, || format!("{ino}: in the trash of another bucket, or of a time to come"));
    }
    let (leap, time) = (snapshot.counters.leap, snapshot.counters.time);
    broken.unless(leap <= time, || format!("a leap to {leap:?}, but it is {time:?}"));
}
