//! Opens that lose a race against a replacement twice.
//!
//! An open of a file that has lost its name is answered ESTALE, and the kernel looks the name up once more. If the file found
//! then is replaced too before it is opened, a second ESTALE would reach the program. It need not: what that second lookup
//! found was the newest file at a moment inside the program's own open, so opening it is as good as having opened it then.
//! A thread's second open of just that file is therefore let through, name or no name.

use mount_fs::Ino;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The kernel repeats at once; what comes later is another open.
const REPEAT_MAX: Duration = Duration::from_millis(200);
/// Threads remembered; beyond, all are forgotten, which costs a rare ESTALE.
const THREADS_MAX: usize = 1024;

/// Per thread: when its last step of a repeated open was, and what its repeated lookup found.
#[derive(Default)]
pub(crate) struct Reopens(Mutex<BTreeMap<u32, (Instant, Option<Ino>)>>);

impl Reopens {
    /// An open of this thread was answered ESTALE.
    pub(crate) fn refused(&self, thread: u32) {
        let mut threads = self.0.lock();
        if threads.len() >= THREADS_MAX {
            threads.clear();
        }
        threads.insert(thread, (Instant::now(), None));
    }

    /// A lookup of this thread that began at `begun` found `ino`.
    pub(crate) fn found(&self, thread: u32, begun: Instant, ino: Ino) {
        let mut threads = self.0.lock();
        if let Some(state) = threads.get_mut(&thread)
            && begun.saturating_duration_since(state.0) <= REPEAT_MAX
        {
            *state = (Instant::now(), Some(ino));
        }
    }

    /// Whether this open of `ino` is the second half of a repeated one. Says so once.
    pub(crate) fn take(&self, thread: u32, ino: Ino) -> bool {
        let state = self.0.lock().remove(&thread);
        state.is_some_and(|(when, found)| found == Some(ino) && when.elapsed() <= REPEAT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_repeated_open_of_what_the_repeated_lookup_found_goes_through() {
        let reopens = Reopens::default();
        assert!(!reopens.take(1, Ino(7)), "a first open");
        reopens.found(1, Instant::now(), Ino(7));
        assert!(!reopens.take(1, Ino(7)), "a lookup without a refusal");
        reopens.refused(1);
        reopens.found(1, Instant::now(), Ino(7));
        assert!(!reopens.take(2, Ino(7)), "another thread");
        assert!(reopens.take(1, Ino(7)));
        assert!(!reopens.take(1, Ino(7)), "twice");
        reopens.refused(1);
        reopens.found(1, Instant::now(), Ino(7));
        assert!(!reopens.take(1, Ino(8)), "another file");
    }
}
