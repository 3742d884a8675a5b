//! Attributes of directories, as the mount's own commands brought them back.
//!
//! The kernel drops what it knows of a directory after every change it makes there and asks at once, for permissions: without
//! this each file made would cost one more question to the cluster.

use parking_lot::Mutex;
use proto::object::Attr;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use types::Ino;

/// Directories remembered; beyond, all are forgotten, which only costs a question each.
const DIRECTORIES_MAX: usize = 1 << 12;

#[derive(Debug, Default)]
pub(crate) struct DirAttrs {
    known: Mutex<HashMap<Ino, Known>>,
}

#[derive(Debug)]
struct Known {
    /// When the command was sent that brought it, or when it was forgotten.
    since: Instant,
    attr: Option<Attr>,
}

impl DirAttrs {
    /// Takes what came back from a command sent at `sent`, unless something newer is known.
    pub(crate) fn learn(&self, attr: Attr, sent: Instant) {
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
        self.room().insert(ino, Known { since: Instant::now(), attr: None });
    }

    /// The attributes, if they are not older than `age`.
    pub(crate) fn recent(&self, ino: Ino, age: Duration) -> Option<Attr> {
        let known = self.known.lock();
        let entry = known.get(&ino).filter(|entry| entry.since.elapsed() < age)?;
        entry.attr.clone()
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
        dirs.learn(attr(3), sent);
        dirs.learn(attr(2), sent);
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
        dirs.learn(attr(3), sent);
        assert_eq!(dirs.recent(Ino(7), second), None);
        dirs.learn(attr(4), Instant::now());
        assert_eq!(dirs.recent(Ino(7), second), Some(attr(4)));
    }
}
