//! The judge that tries orders until one fits.

use super::{Action, Event, Moment, Violation};
use crate::OpId;
use std::collections::HashSet;

/// Steps before the search is given up: seconds, and more than any history of a few clients has needed.
const STEPS_MAX: usize = 20_000_000;

/// Judges the history of one key that held nothing at the beginning.
///
/// # Errors
/// [`Violation::NoOrder`], or [`Violation::Undecided`] after too many steps.
pub fn search(history: &[Event]) -> Result<(), Violation> {
    let mut search = Search::new(history);
    for _ in 0..STEPS_MAX {
        if search.open == 0 {
            return Ok(());
        }
        if !search.forward() && !search.back() {
            return Err(Violation::NoOrder);
        }
    }
    Err(Violation::Undecided)
}

/// Which operations are placed already, and what the key holds after them.
type Visited = (Vec<u64>, Option<OpId>);

struct Search {
    /// By their calls.
    events: Vec<Event>,
    placed: Vec<u64>,
    value: Option<OpId>,
    /// Answered operations that are not placed yet; the others need not be.
    open: usize,
    /// What was placed, with what the key held before.
    path: Vec<(usize, Option<OpId>)>,
    visited: HashSet<Visited>,
    /// Where to look for the next one.
    from: usize,
}

impl Search {
    fn new(history: &[Event]) -> Self {
        let mut events = history.to_vec();
        events.sort_by_key(|event| event.call);
        let open = events.iter().filter(|event| event.answer != Moment::NEVER).count();
        let placed = vec![0; events.len().div_ceil(64)];
        Self { events, placed, value: None, open, path: Vec::new(), visited: HashSet::new(), from: 0 }
    }

    /// Places one more operation; false if none fits.
    fn forward(&mut self) -> bool {
        let bound = self.pending().map(|at| self.events[at].answer).min().unwrap_or(Moment::NEVER);
        let mut at = self.from;
        while at < self.events.len() && self.events[at].call <= bound {
            if !self.is_placed(at)
                && let Some(value) = after(self.events[at].action, self.value)
                && self.place(at, value)
            {
                return true;
            }
            at += 1;
        }
        false
    }

    /// Takes the last one back, to try those behind it; false if there is none.
    fn back(&mut self) -> bool {
        let Some((at, before)) = self.path.pop() else { return false };
        self.flip(at);
        self.value = before;
        self.from = at + 1;
        true
    }

    /// Places an operation unless the same ones have led to the same value before.
    fn place(&mut self, at: usize, value: Option<OpId>) -> bool {
        self.flip(at);
        if !self.visited.insert((self.placed.clone(), value)) {
            self.flip(at);
            return false;
        }
        self.path.push((at, self.value));
        self.value = value;
        self.from = 0;
        true
    }

    fn flip(&mut self, at: usize) {
        self.placed[at / 64] ^= 1 << (at % 64);
        if self.events[at].answer != Moment::NEVER {
            self.open = if self.is_placed(at) { self.open - 1 } else { self.open + 1 };
        }
    }

    fn is_placed(&self, at: usize) -> bool {
        self.placed[at / 64] >> (at % 64) & 1 == 1
    }

    fn pending(&self) -> impl Iterator<Item = usize> {
        (0..self.events.len()).filter(|at| !self.is_placed(*at))
    }
}

/// What the key holds after an operation; none if it cannot have happened then.
fn after(action: Action, value: Option<OpId>) -> Option<Option<OpId>> {
    match action {
        Action::Put(value) => Some(Some(value)),
        Action::Delete => Some(None),
        Action::Get(seen) => (seen == value).then_some(value),
    }
}
