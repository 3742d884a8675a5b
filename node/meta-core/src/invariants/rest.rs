//! Attributes, uploads, sessions, counters.

use super::{Broken, snapshot::Snapshot};
use types::{GroupId, SESSION_WINDOW, SessionId};

pub(super) fn check(snapshot: &Snapshot, group: GroupId, broken: &mut Broken) {
    for (ino, inode) in &snapshot.inodes {
        let sum = snapshot.xattrs.get(ino).copied().unwrap_or_default();
        broken.unless(sum == inode.xattrs, || format!("{ino}: {sum:?}, {:?} counted", inode.xattrs));
        broken.unless(ino.group() == group && ino.counter() <= snapshot.counters.ino, || format!("{ino}: not ours"));
    }
    for list in snapshot.lists.keys() {
        broken.unless(list.0 <= snapshot.counters.list, || format!("{list}: not handed out"));
    }
    uploads(snapshot, broken);
    sessions(snapshot, broken);
    ended(snapshot, broken);
    let (items, condemned) = (snapshot.counters.garbage_items, snapshot.counters.condemned);
    broken.unless(items == snapshot.garbage_items, || format!("{} garbage, {items} counted", snapshot.garbage_items));
    broken.unless(condemned == snapshot.condemned.len() as u64, || {
        format!("{} condemned, {condemned} counted", snapshot.condemned.len())
    });
    for (id, missing) in &snapshot.under_replicated {
        broken.unless(*missing != 0, || format!("{id}: lacks no copy"));
    }
    for (session, chunk) in &snapshot.staged {
        broken.unless(snapshot.chunks.contains_key(chunk), || format!("{chunk} of {session} is staged, but not known"));
    }
}

fn uploads(snapshot: &Snapshot, broken: &mut Broken) {
    for (id, upload) in &snapshot.uploads {
        let indexed = snapshot.upload_index.get(id).is_some_and(|(bucket, key, begun)| {
            (*bucket, key.as_slice(), *begun) == (upload.bucket, upload.key.as_ref(), upload.begun)
        });
        broken.unless(indexed, || format!("upload {id} is not in the index"));
        broken.unless(!snapshot.sweeps.contains_key(id), || format!("upload {id} is open and over"));
    }
    broken.unless(snapshot.upload_index.len() == snapshot.uploads.len(), || "upload index: wrong size".to_owned());
    for id in snapshot.parts.keys() {
        let known = snapshot.uploads.contains_key(id) || snapshot.sweeps.contains_key(id);
        broken.unless(known, || format!("parts of upload {id}, which is gone"));
    }
    broken.unless(snapshot.sweeps.len() as u64 == snapshot.counters.sweeps, || {
        format!("{} sweeps, {} counted", snapshot.sweeps.len(), snapshot.counters.sweeps)
    });
}

/// Runs of ended sessions lie above the floor and apart, and an ended session has no window.
fn ended(snapshot: &Snapshot, broken: &mut Broken) {
    let mut below = snapshot.counters.session_floor;
    for (first, last) in &snapshot.ended {
        broken.unless(first <= last && *first > below, || format!("{first}..={last} are over, and all below {below}"));
        below = SessionId(last.0 + 1);
    }
    for session in snapshot.sessions.keys() {
        let over = *session < snapshot.counters.session_floor
            || snapshot.ended.iter().any(|(first, last)| (first..=last).contains(&session));
        broken.unless(!over, || format!("{session} is over and has a window"));
    }
}

fn sessions(snapshot: &Snapshot, broken: &mut Broken) {
    for (session, answers) in &snapshot.answers {
        let low = snapshot.sessions.get(session).copied();
        let in_window = |seq: &u64| low.is_some_and(|low| *seq >= low && seq - low < SESSION_WINDOW);
        let inside = low.is_none() || answers.iter().all(in_window);
        broken.unless(inside, || format!("{session}: answers outside its window from {low:?}"));
    }
}
