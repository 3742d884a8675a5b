//! The trash, as one would write it down: what lost its last name or its whole content, by time, and the way back.

use super::{File, Model, Why, same};
use crate::replica::GROUP;
use bytes::Bytes;
use proto::meta::{Outcome, Refusal};
use proto::trash::{
    BucketOptions, NameTaken, OPEN_GRACE_SECS, Purged, Restored, TRASH_WINDOW_SECS, TrashFilter, TrashId, TrashPage,
    TrashReason,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{Ino, SessionId, Timestamp};

/// What a mount removes within this time of making it is scratch.
const SCRATCH_AGE: i64 = 600 * Timestamp::SECOND;
/// A group's time that moves on by more at once has leapt.
const LEAP_MAX: i64 = 3600 * Timestamp::SECOND;
/// A stamp that lies so far behind holds it, and going on from there is a leap too.
const BEHIND_MAX: i64 = 60 * Timestamp::SECOND;

/// An entry.
#[derive(Clone, Debug)]
struct Binned {
    path: Bytes,
    session: SessionId,
    reason: TrashReason,
    scratch: bool,
}

/// The trash and the group's time.
#[derive(Clone, Debug)]
pub(super) struct Trash {
    /// Shared by the states of all entries that do not change it.
    entries: Arc<BTreeMap<TrashId, Binned>>,
    window_secs: u64,
    time: Timestamp,
    /// Where the time stood after its last leap.
    leap: Timestamp,
    held: bool,
    /// Nothing expires, since the group was recovered.
    kept: bool,
}

impl Default for Trash {
    fn default() -> Self {
        let (entries, time) = (Arc::default(), Timestamp::default());
        Trash { entries, window_secs: TRASH_WINDOW_SECS, time, leap: time, held: false, kept: false }
    }
}

impl Trash {
    pub(super) fn advance(&mut self, stamp: Timestamp) {
        let forward = stamp.0 - self.time.0;
        if forward > LEAP_MAX || forward > 0 && self.held {
            self.leap = stamp;
        }
        self.held = forward < -BEHIND_MAX || forward <= 0 && self.held;
        self.time = self.time.max(stamp);
    }

    pub(super) fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    pub(super) fn set(&mut self, options: &BucketOptions) {
        self.window_secs = options.trash_window_secs;
    }

    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// From when on an entry may be expired: its window and a day have passed, both since the last leap.
    fn due(&self, id: &TrashId, binned: &Binned) -> Timestamp {
        let window = if binned.scratch { 0 } else { self.window_secs as i64 };
        Timestamp(id.time.max(self.leap).0 + window.max(OPEN_GRACE_SECS) * Timestamp::SECOND)
    }
}

fn by_mount(reason: TrashReason) -> bool {
    matches!(reason, TrashReason::Unlinked | TrashReason::RenamedOver | TrashReason::Truncated)
}

impl Model {
    fn is_scratch(&self, begun: (SessionId, Timestamp), reason: TrashReason) -> bool {
        let own = self.session != SessionId::default() && self.session == begun.0;
        own && self.trash.time.0 - begun.1.0 <= SCRATCH_AGE && by_mount(reason)
    }

    fn bin(&mut self, ino: Ino, path: Bytes, reason: TrashReason, scratch: bool) {
        let id = TrashId { time: self.trash.time, ino };
        let binned = Binned { path, session: self.session, reason, scratch };
        Arc::make_mut(&mut self.trash.entries).insert(id, binned);
    }

    /// Takes a name away; whether it was there. A file that has no other goes to the trash.
    pub(super) fn remove(&mut self, name: &Bytes, reason: TrashReason) -> bool {
        let Some(ino) = self.names.remove(name) else { return false };
        self.change(ino, |file| {
            file.nlink -= 1;
            if file.place.as_ref() == Some(name) {
                file.place = None;
            }
        });
        let made = self.files.get(&ino).filter(|file| file.nlink == 0).map(|file| file.made);
        if let Some(made) = made {
            let scratch = self.is_scratch(made, reason);
            self.bin(ino, name.clone(), reason, scratch);
        }
        true
    }

    /// The whole content of a file is cut off. What others have begun, or long ago, goes to the trash in an inode of its own.
    pub(super) fn cut_off(&mut self, ino: Ino) {
        let Some(file) = self.files.get(&ino).cloned() else { return };
        let scratch = self.is_scratch(file.begun, TrashReason::Truncated);
        if file.content.len() > 0 && file.nlink > 0 && !scratch {
            self.numbered += 1;
            let kept = Ino::new(GROUP, self.numbered);
            let nameless = || Bytes::from(format!("lost+found/{}.{}", ino.group().0, ino.counter()));
            let path = file.place.clone().unwrap_or_else(nameless);
            self.files.insert(kept, Arc::new(File { nlink: 0, place: None, ..(*file).clone() }));
            self.bin(kept, path, TrashReason::Truncated, false);
        }
        let begun = (self.session, self.trash.time);
        self.change(ino, |file| file.begun = begun);
    }

    pub(super) fn restore(&mut self, entries: &[TrashId], taken: NameTaken) -> Outcome {
        Outcome::Restored(entries.iter().map(|id| self.restore_one(id, taken)).collect())
    }

    fn restore_one(&mut self, id: &TrashId, taken: NameTaken) -> Result<Restored, Refusal> {
        let Some(binned) = self.trash.entries.get(id) else {
            let named = self.files.get(&id.ino).is_some_and(|file| file.nlink > 0);
            return if named { Ok(Restored::Already) } else { Err(Refusal::NotFound) };
        };
        let name = binned.path.clone();
        if self.names.contains_key(&name) {
            if taken != NameTaken::Replace {
                return Err(Refusal::Exists);
            }
            self.remove(&name, TrashReason::Replaced);
        }
        Arc::make_mut(&mut self.trash.entries).remove(id);
        self.names.insert(name.clone(), id.ino);
        self.change(id.ino, |file| (file.nlink, file.place) = (1, Some(name)));
        Ok(Restored::Named)
    }

    /// Releases entries for good: those that are due at `now`, or all.
    pub(super) fn release(&mut self, entries: &[TrashId], now: Option<Timestamp>) -> Outcome {
        if now.is_some() && self.trash.kept {
            return Outcome::Purged(Purged { left: entries.len() as u32, ..Purged::default() });
        }
        let now = now.map(|now| now.min(self.trash.time));
        let mut purged = Purged::default();
        for id in entries {
            let due = self.trash.entries.get(id).map(|binned| self.trash.due(id, binned));
            if due.is_none_or(|due| now.is_some_and(|now| due > now)) {
                continue;
            }
            Arc::make_mut(&mut self.trash.entries).remove(id);
            if let Some(file) = self.files.remove(&id.ino) {
                purged.files += 1;
                purged.bytes += file.content.len() as u64;
            }
        }
        Outcome::Purged(purged)
    }

    /// Compares a page that holds all there is.
    pub(super) fn check_trash(&self, filter: &TrashFilter, page: &TrashPage) -> Result<(), Why> {
        let size = |ino: &Ino| self.files.get(ino).map_or(0, |file| file.content.len() as u64);
        let wanted = self.trash.entries.iter().filter(|(_, binned)| binned.path.starts_with(&filter.prefix));
        let expected: Vec<_> = wanted
            .map(|(id, binned)| {
                let Binned { path, session, reason, scratch } = binned.clone();
                (*id, path, size(&id.ino), session, reason, scratch, self.trash.due(id, binned))
            })
            .collect();
        let found = page.entries.iter().map(|entry| {
            let path = entry.path.clone();
            (entry.id, path, entry.size, entry.session, entry.reason, entry.scratch, entry.due)
        });
        same(&expected, &found.collect())?;
        same(&(self.trash.time(), None), &(page.time, page.next))
    }
}
