//! The terms of a log as runs of equal term, so that asking for one never reads the disk.

use raft_core::LogStart;
use std::collections::VecDeque;
use types::{LogIndex, Term};

/// The terms of the entries `start.index ..= last` (the start's own term is known too).
///
/// One run per change of term: a few for a healthy group, never more than entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// First index and term of each run. Never empty; the first run begins at the log's start.
    runs: VecDeque<(LogIndex, Term)>,
    last: LogIndex,
}

impl Terms {
    /// An empty log behind `start`.
    pub(crate) fn new(start: LogStart) -> Self {
        Terms { runs: VecDeque::from([(start.index, start.term)]), last: start.index }
    }

    /// The start: everything up to it is gone.
    pub(crate) fn start(&self) -> LogStart {
        let (index, term) = self.runs[0];
        LogStart { index, term }
    }

    /// The last entry, or the start of an empty log.
    pub(crate) fn last(&self) -> LogIndex {
        self.last
    }

    /// The last entry's term.
    pub(crate) fn last_term(&self) -> Term {
        self.runs[self.runs.len() - 1].1
    }

    /// The term of an entry; `None` before the start and behind the last.
    pub(crate) fn get(&self, index: LogIndex) -> Option<Term> {
        if index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|(first, _)| *first <= index).checked_sub(1)?;
        Some(self.runs[run].1)
    }

    /// Adds the entry behind the last.
    pub(crate) fn push(&mut self, term: Term) {
        self.last.0 += 1;
        if self.last_term() != term {
            self.runs.push_back((self.last, term));
        }
    }

    /// Forgets `first` and everything behind it. `first` is greater than the start's index.
    pub(crate) fn cut_from(&mut self, first: LogIndex) {
        while self.runs.len() > 1 && self.runs[self.runs.len() - 1].0 >= first {
            self.runs.pop_back();
        }
        self.last = LogIndex(self.last.0.min(first.0.saturating_sub(1)));
    }

    /// Forgets everything up to `index`, which is in the log.
    pub(crate) fn cut_to(&mut self, index: LogIndex) {
        while self.runs.len() > 1 && self.runs[1].0 <= index {
            self.runs.pop_front();
        }
        self.runs[0].0 = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push(u64),
        CutFrom(u64),
        CutTo(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![3 => (1u64..4).prop_map(Op::Push), 1 => (0u64..20).prop_map(Op::CutFrom), 1 => (0u64..20).prop_map(Op::CutTo)]
    }

    proptest! {
        #[test]
        fn runs_answer_like_a_plain_list(ops in proptest::collection::vec(op(), 0..60)) {
            let mut terms = Terms::new(LogStart::default());
            let (mut start, mut plain) = (0u64, vec![0u64]);
            for op in ops {
                let last = start + plain.len() as u64 - 1;
                match op {
                    Op::Push(term) => {
                        terms.push(Term(term));
                        plain.push(term);
                    }
                    Op::CutFrom(at) if at > start => {
                        terms.cut_from(LogIndex(at));
                        plain.truncate((at - start) as usize);
                    }
                    Op::CutTo(at) if (start..=last).contains(&at) => {
                        terms.cut_to(LogIndex(at));
                        plain.drain(..(at - start) as usize);
                        start = at;
                    }
                    _ => {}
                }
                let last = start + plain.len() as u64 - 1;
                prop_assert_eq!((terms.last(), terms.last_term()), (LogIndex(last), Term(plain[plain.len() - 1])));
                prop_assert_eq!(terms.start(), LogStart { index: LogIndex(start), term: Term(plain[0]) });
                for index in 0..last + 3 {
                    let expected = index.checked_sub(start).and_then(|at| plain.get(at as usize)).map(|term| Term(*term));
                    prop_assert_eq!(terms.get(LogIndex(index)), expected);
                }
            }
        }
    }
}
