//! What the mount's own commands brought back of directories: attributes, and names that are not there.
//!
//! The kernel drops what it knows of a directory after every change it makes there and asks at once, for permissions; and it looks a
//! name up before it makes the file. Without this each file made would cost two more questions to the cluster.

use crate::own_dir::OwnDir;
use parking_lot::Mutex;
use proto::object::Attr;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use types::Ino;

/// Directories remembered; beyond, all are forgotten, which only costs a question each.
const DIRECTORIES_MAX: usize = 1 << 12;
/// As [`DIRECTORIES_MAX`], of those whose names are known.
const OWN_MAX: usize = 1 << 8;

#[derive(Debug, Default)]
pub(crate) struct DirAttrs {
    known: Mutex<HashMap<Ino, Known>>,
    own: Mutex<HashMap<Ino, OwnDir>>,
}

#[derive(Debug)]
struct Known {
    /// When the command was sent that brought it, or when it was forgotten.
    since: Instant,
    attr: Option<Attr>,
}

impl DirAttrs {
    /// A command sent at `sent` has made this directory.
    pub(crate) fn made(&self, attr: &Attr, sent: Instant) {
        let mut own = self.own.lock();
        if own.len() >= OWN_MAX {
            own.clear();
        }
        own.insert(attr.ino, OwnDir::new(attr.change, sent));
    }

    /// Takes what came back from a command on a directory sent at `sent`, unless something newer is known. `made` is the name it made.
    pub(crate) fn learn(&self, attr: Attr, sent: Instant, made: Option<&[u8]>) {
        let mut own = self.own.lock();
        if own.get_mut(&attr.ino).is_some_and(|dir| !dir.changed(attr.change, sent, made)) {
            own.remove(&attr.ino);
        }
        drop(own);
        let mut known = self.room();
        let entry = known.entry(attr.ino).or_insert(Known { since: sent, attr: None });
        let newer = match &entry.attr {
            Some(there) => attr.change >= there.change,
            None => sent >= entry.since,
        };
        if newer {
            *entry = Known { since: sent, attr: Some(attr) };
        }
    }

    /// A command without such an answer has changed the directory. What is on its way from before does not count any more.
    pub(crate) fn forget(&self, ino: Ino) {
        self.own.lock().remove(&ino);
        self.room().insert(ino, Known { since: Instant::now(), attr: None });
    }

    /// The attributes, if they are not older than `age`.
    pub(crate) fn recent(&self, ino: Ino, age: Duration) -> Option<Attr> {
        let known = self.known.lock();
        let entry = known.get(&ino).filter(|entry| entry.since.elapsed() < age)?;
        entry.attr.clone()
    }

    /// Whether a directory is known not to have held a name at some time within the last `age`.
    pub(crate) fn lacks(&self, dir: Ino, name: &[u8], age: Duration) -> bool {
        self.own.lock().get(&dir).is_some_and(|own| own.lacks(name, age))
    }

    fn room(&self) -> parking_lot::MutexGuard<'_, HashMap<Ino, Known>> {
        let mut known = self.known.lock();
        if known.len() >= DIRECTORIES_MAX {
            known.clear();
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::object::{ETag, FileKind};
    use types::Timestamp;

    fn attr(change: u64) -> Attr {
        let at = Timestamp::default();
        let (uid, gid, nlink) = (0, 0, 2);
        let (size, stored) = (change, 0);
        let (kind, mode, etag) = (FileKind::Directory, 0o755, ETag::Posix);
        Attr {
            ino: Ino(7),
            kind,
            mode,
            uid,
            gid,
            nlink,
            size,
            stored,
            atime: at,
            mtime: at,
            ctime: at,
            crtime: at,
            change,
            etag,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_is_kept_for_its_time() {
        let (dirs, second) = (DirAttrs::default(), Duration::from_secs(1));
        let sent = Instant::now();
        dirs.learn(attr(3), sent, None);
        dirs.learn(attr(2), sent, None);
        assert_eq!(dirs.recent(Ino(7), second), Some(attr(3)));
        assert_eq!(dirs.recent(Ino(7), Duration::ZERO), None, "a strict mount keeps nothing");
        assert_eq!(dirs.recent(Ino(8), second), None);
        tokio::time::advance(second).await;
        assert_eq!(dirs.recent(Ino(7), second), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_a_change_is_not_learnt_after_it() {
        let (dirs, second) = (DirAttrs::default(), Duration::from_secs(1));
        let sent = Instant::now();
        tokio::time::advance(second / 4).await;
        dirs.forget(Ino(7));
        dirs.learn(attr(3), sent, None);
        assert_eq!(dirs.recent(Ino(7), second), None);
        dirs.learn(attr(4), Instant::now(), None);
        assert_eq!(dirs.recent(Ino(7), second), Some(attr(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_known_of_directories_that_were_made_here_only() {
        let (dirs, second) = (DirAttrs::default(), Duration::from_secs(1));
        dirs.learn(attr(1), Instant::now(), Some(b"a"));
        assert!(!dirs.lacks(Ino(7), b"b", second));
        dirs.made(&attr(1), Instant::now());
        assert!(dirs.lacks(Ino(7), b"b", second));
        dirs.forget(Ino(7));
        assert!(!dirs.lacks(Ino(7), b"b", second), "somebody has done something there");
    }
}
