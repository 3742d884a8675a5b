//! A directory that this mount has made and in which nobody else has done anything since: what it does not hold is known without asking.
//!
//! The kernel looks every name up before it makes the file. In such a directory the answer can be had here: each command on it brings
//! its change counter back, and as long as the counter went up by this mount's own commands alone, a name that none of them made
//! was not there when the last of them was sent. Whatever else happens to the counter leaves a gap; then nothing newer is known, and the
//! cluster is asked again.

use std::collections::{BTreeSet, HashSet, hash_map::RandomState};
use std::hash::BuildHasher;
use std::time::Duration;
use tokio::time::Instant;

/// Names remembered of one directory; with more the cluster is asked.
const NAMES_MAX: usize = 1 << 14;
/// Answers that may overtake an earlier one. More are not on their way at once: somebody else has left a gap.
const AHEAD_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct OwnDir {
    /// The change counter up to which every change is one of ours.
    change: u64,
    /// When the command was sent that brought `change`: the directory was known whole at that time or later.
    known_at: Instant,
    /// Own changes beyond a gap, with the times when they were sent.
    ahead: BTreeSet<(u64, Instant)>,
    /// Every name ever made, as a hash: two names with one only cost a question.
    names: HashSet<u64>,
    hasher: RandomState,
}

impl OwnDir {
    /// Made by a command sent at `sent`; `change` is its counter.
    pub(crate) fn new(change: u64, sent: Instant) -> Self {
        let (ahead, names, hasher) = (BTreeSet::new(), HashSet::new(), RandomState::new());
        OwnDir { change, known_at: sent, ahead, names, hasher }
    }

    /// A command of ours, sent at `sent`, has brought the counter to `change`, and a name if it made one. False when nothing will be known of
    /// the directory any more.
    #[must_use]
    pub(crate) fn changed(&mut self, change: u64, sent: Instant, made: Option<&[u8]>) -> bool {
        if let Some(name) = made {
            self.names.insert(self.hasher.hash_one(name));
        }
        if change > self.change {
            self.ahead.insert((change, sent));
        }
        while let Some(&(next, sent)) = self.ahead.first()
            && next == self.change + 1
        {
            self.change = next;
            self.known_at = self.known_at.max(sent);
            self.ahead.pop_first();
        }
        self.names.len() <= NAMES_MAX && self.ahead.len() <= AHEAD_MAX
    }

    /// Whether the name was not there at some time within the last `age`.
    pub(crate) fn lacks(&self, name: &[u8], age: Duration) -> bool {
        self.known_at.elapsed() < age && !self.names.contains(&self.hasher.hash_one(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn what_was_not_made_is_lacking_for_a_while_after_the_last_own_change() {
        let mut dir = OwnDir::new(1, Instant::now());
        assert!(dir.lacks(b"a", AGE));
        tokio::time::advance(AGE).await;
        assert!(!dir.lacks(b"a", AGE), "long ago");
        assert!(dir.changed(2, Instant::now(), Some(b"a")));
        assert!(!dir.lacks(b"a", AGE));
        assert!(dir.lacks(b"b", AGE));
        assert!(!dir.lacks(b"b", Duration::ZERO), "a strict mount keeps nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_somebody_else_ends_it() {
        let mut dir = OwnDir::new(1, Instant::now());
        tokio::time::advance(AGE).await;
        assert!(dir.changed(3, Instant::now(), Some(b"a")));
        assert!(!dir.lacks(b"theirs", AGE), "2 was not ours");
        for change in 4..3 + AHEAD_MAX as u64 {
            assert!(dir.changed(change, Instant::now(), None));
            assert!(!dir.lacks(b"theirs", AGE));
        }
        assert!(!dir.changed(3 + AHEAD_MAX as u64, Instant::now(), None), "nothing is kept for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_may_overtake_each_other() {
        let mut dir = OwnDir::new(1, Instant::now());
        tokio::time::advance(AGE).await;
        let sent = Instant::now();
        assert!(dir.changed(3, sent, Some(b"b")));
        assert!(!dir.lacks(b"c", AGE));
        assert!(dir.changed(2, sent, Some(b"a")));
        assert!(dir.lacks(b"c", AGE));
        assert!(!dir.lacks(b"a", AGE) && !dir.lacks(b"b", AGE));
    }

    #[test]
    fn a_name_that_was_there_already_changes_nothing() {
        let mut dir = OwnDir::new(5, Instant::now());
        assert!(dir.changed(5, Instant::now(), Some(b"a")));
        assert!(!dir.lacks(b"a", AGE));
        assert!(dir.lacks(b"b", AGE));
    }

    #[test]
    fn names_are_bounded() {
        let mut dir = OwnDir::new(0, Instant::now());
        let kept = (1..).take_while(|i: &u64| dir.changed(*i, Instant::now(), Some(&i.to_be_bytes()))).count();
        assert_eq!(kept, NAMES_MAX);
    }
}
