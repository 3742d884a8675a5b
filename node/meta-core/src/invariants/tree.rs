//! Names, inodes, directories, trash, usage.

use super::{Broken, snapshot::Snapshot};
use crate::bucket::first_frag;
use crate::dentry::Dentry;
use crate::inode::{Directory, Inode};
use crate::key::dentry::DentryKey;
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
    let bucket = snapshot.inodes[&dir].bucket;
    for (key, dentry) in &snapshot.dentries[&frag] {
        *names.entry(dentry.ino).or_default() += 1;
        entry(dir, bucket, key, dentry, snapshot.inodes.get(&dentry.ino), broken);
    }
}

/// An entry of the directory `dir`, and the inode it leads to.
pub(crate) fn entry(
    dir: Ino,
    bucket: BucketId,
    key: &DentryKey,
    dentry: &Dentry,
    inode: Option<&Inode>,
    broken: &mut Broken,
) {
    let place = || format!("{:?} in {dir}", String::from_utf8_lossy(key.name()));
    let Some(inode) = inode else {
        broken.0.push(format!("{} leads to {}, which is gone", place(), dentry.ino));
        return;
    };
    broken.unless(inode.bucket == bucket, || format!("{} lies in another bucket", place()));
    broken.unless(key.is_dir() == (dentry.kind == FileKind::Directory), || format!("{}: wrong form", place()));
    let here = inode
        .parent
        .as_ref()
        .is_some_and(|parent| (parent.dir, parent.frag, parent.name.as_ref()) == (dir, key.frag, key.name()));
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

/// What the entries of a directory come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    /// All of them.
    pub(crate) count: u64,
    /// Of these directories.
    pub(crate) subdirs: u64,
    /// Whether the marker is among them.
    pub(crate) marker: bool,
}

impl Entries {
    /// Counts one more.
    pub(crate) fn add(&mut self, key: &DentryKey) {
        self.count += 1;
        self.subdirs += u64::from(key.is_dir());
        self.marker |= !key.is_dir() && key.name().is_empty();
    }
}

fn dir(snapshot: &Snapshot, ino: Ino, inode: &Inode, directory: &Directory, names: u32, broken: &mut Broken) {
    let mut entries = Entries::default();
    snapshot.dentries.get(&directory.frag()).into_iter().flatten().for_each(|(key, _)| entries.add(key));
    fragment(ino, directory, broken);
    counters(ino, directory, entries, broken);
    let root = snapshot.buckets.get(&inode.bucket).is_some_and(|bucket| bucket.root == ino);
    dir_names(ino, root, names, inode.parent.is_some(), broken);
}

/// A directory has one fragment, numbered as itself.
pub(crate) fn fragment(ino: Ino, directory: &Directory, broken: &mut Broken) {
    let own = directory.fragments.len() == 1 && directory.frag() == first_frag(ino);
    broken.unless(own, || format!("{ino}: fragments {:?}", directory.fragments));
}

/// A directory counts its entries right.
pub(crate) fn counters(ino: Ino, directory: &Directory, entries: Entries, broken: &mut Broken) {
    let Entries { count, subdirs, marker } = entries;
    broken.unless(directory.entries == count - u64::from(marker), || {
        format!("{ino}: {count} entries, {} counted", directory.entries)
    });
    broken.unless(directory.marker == marker, || format!("{ino}: marker {marker}, flag {}", directory.marker));
    broken.unless(u64::from(directory.subdirs) == subdirs, || {
        format!("{ino}: {subdirs} directories, {} counted", directory.subdirs)
    });
    broken.unless(directory.lasting || count > 0, || format!("{ino}: implicit and empty"));
}

/// A directory has one name and knows it; a root has none.
pub(crate) fn dir_names(ino: Ino, root: bool, names: u32, placed: bool, broken: &mut Broken) {
    broken.unless(root != (names == 1 && placed), || format!("{ino}: a directory with {names} names"));
}

fn file(snapshot: &Snapshot, ino: Ino, inode: &Inode, names: u32, broken: &mut Broken) {
    let trash = snapshot.trash.get(&ino).map_or(0, Vec::len) as u64;
    file_names(ino, inode.nlink, names, trash, broken);
    placed(ino, inode, broken);
}

/// A file counts its names right, and lies in the trash once it has none.
pub(crate) fn file_names(ino: Ino, nlink: u32, names: u32, trash: u64, broken: &mut Broken) {
    broken.unless(nlink == names, || format!("{ino}: {names} names, {nlink} counted"));
    broken.unless(trash == u64::from(nlink == 0), || format!("{ino}: {trash} times in the trash"));
}

/// Only a file with one name has a place.
pub(crate) fn placed(ino: Ino, inode: &Inode, broken: &mut Broken) {
    let nlink = inode.nlink;
    broken.unless(inode.parent.is_none() || nlink == 1, || format!("{ino}: a parent, but {nlink} names"));
}

/// Counts a file or symbolic link for its bucket.
pub(crate) fn count(used: &mut BTreeMap<BucketId, Usage>, inode: &Inode) {
    if inode.content().is_none() {
        return;
    }
    let used = used.entry(inode.bucket).or_default();
    let (files, bytes) = if inode.nlink > 0 {
        (&mut used.files, &mut used.bytes)
    } else {
        (&mut used.trash_files, &mut used.trash_bytes)
    };
    *files += 1;
    *bytes = bytes.saturating_add(inode.size());
}

fn usage(snapshot: &Snapshot, broken: &mut Broken) {
    let mut used: BTreeMap<BucketId, Usage> = BTreeMap::new();
    snapshot.inodes.values().for_each(|inode| count(&mut used, inode));
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
