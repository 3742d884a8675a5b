//! What one key may hold: a register with one writer.
//!
//! A write is *issued*, then *acknowledged* or of *unknown* outcome. A read that ran from t0 to t1 may see the last version
//! acknowledged before t0, or any issued after that one and before t1. A write of unknown outcome may take effect at any later time (it
//! may lie in a queue of a stopped process), so it stays possible; seeing it over a later acknowledged one is counted apart.

use crate::{Body, OpId};
use std::time::Instant;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stores a body of that length.
    Put(u64),
    /// Removes the key.
    Delete,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    op: OpId,
    kind: Kind,
    acknowledged: Option<Instant>,
}

/// The versions of one key, in the order they were issued.
#[derive(Clone, Debug, Default)]
pub struct Register {
    versions: Vec<Version>,
}

/// What a read showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A version that may be seen.
    Right,
    /// A write of unknown outcome that took effect after a later one was acknowledged.
    Late,
    /// A version that was overwritten by an acknowledged one before the read began, or was never issued.
    Wrong,
}

impl Register {
    /// A write is about to be sent.
    pub fn issue(&mut self, op: OpId, kind: Kind) {
        self.versions.push(Version { op, kind, acknowledged: None });
    }

    /// Its acknowledgement came.
    pub fn acknowledge(&mut self, op: OpId) {
        if let Some(version) = self.versions.iter_mut().rev().find(|version| version.op == op) {
            version.acknowledged = Some(Instant::now());
        }
    }

    /// Whether a whole read from `start` to now may show `body` (none = no such key).
    #[must_use]
    pub fn judge(&self, start: Instant, body: Option<&Body>) -> Seen {
        self.judge_by(start, body.is_none(), |version| {
            body.is_some_and(|body| version.op == body.op && version.kind == Kind::Put(body.len))
        })
    }

    /// Whether a read of `bytes` from `offset` on, from `start` to now, may show them.
    #[must_use]
    pub fn judge_range(&self, key: &str, start: Instant, offset: u64, bytes: &[u8]) -> Seen {
        self.judge_by(start, false, |version| match version.kind {
            Kind::Put(len) => Body::new(version.op, key, len).check_range(offset, bytes).is_ok(),
            Kind::Delete => false,
        })
    }

    fn judge_by(&self, start: Instant, absent: bool, shows: impl Fn(&Version) -> bool) -> Seen {
        let shows = |version: &Version| if absent { version.kind == Kind::Delete } else { shows(version) };
        let floor = self.versions.iter().rposition(|version| version.acknowledged.is_some_and(|at| at <= start));
        let (past, possible) = self.versions.split_at(floor.unwrap_or(0));
        if possible.iter().any(&shows) || (absent && floor.is_none()) {
            return Seen::Right;
        }
        let late = past.iter().any(|version| version.acknowledged.is_none() && shows(version));
        if late { Seen::Late } else { Seen::Wrong }
    }

    /// Whether the key must be there: the last acknowledged version is a body, and no delete may come over it.
    #[must_use]
    pub fn must_exist(&self) -> bool {
        self.acknowledged().is_some() && self.judge(Instant::now(), None) == Seen::Wrong
    }

    /// The last version that was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Option<(OpId, Kind)> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.acknowledged.is_some())
            .map(|version| (version.op, version.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(op: u64) -> Body {
        Body::new(OpId(op), "k", 100)
    }

    fn judge(register: &Register, op: u64) -> Seen {
        register.judge(Instant::now(), Some(&body(op)))
    }

    #[test]
    fn an_acknowledged_version_replaces_what_was() {
        let mut register = Register::default();
        assert_eq!(register.judge(Instant::now(), None), Seen::Right);
        let before = Instant::now();
        register.issue(OpId(1), Kind::Put(100));
        register.acknowledge(OpId(1));
        register.issue(OpId(2), Kind::Put(100));
        assert_eq!((judge(&register, 1), judge(&register, 2)), (Seen::Right, Seen::Right));
        register.acknowledge(OpId(2));
        assert_eq!((judge(&register, 1), judge(&register, 2)), (Seen::Wrong, Seen::Right));
        assert_eq!(register.judge(before, Some(&body(1))), Seen::Right);
        assert_eq!(register.judge(Instant::now(), None), Seen::Wrong);
        assert_eq!(judge(&register, 3), Seen::Wrong);
        assert!(register.must_exist());
    }

    #[test]
    fn an_unknown_outcome_stays_possible() {
        let mut register = Register::default();
        register.issue(OpId(1), Kind::Put(100));
        register.issue(OpId(2), Kind::Put(100));
        register.acknowledge(OpId(2));
        assert_eq!((judge(&register, 1), judge(&register, 2)), (Seen::Late, Seen::Right));
        register.issue(OpId(3), Kind::Delete);
        assert_eq!(register.judge(Instant::now(), None), Seen::Right);
        assert!(!register.must_exist());
    }

    #[test]
    fn ranges_are_judged_by_their_bytes() {
        let mut register = Register::default();
        register.issue(OpId(1), Kind::Put(100));
        register.acknowledge(OpId(1));
        let bytes = body(1).bytes();
        assert_eq!(register.judge_range("k", Instant::now(), 40, &bytes[40..80]), Seen::Right);
        assert_eq!(register.judge_range("k", Instant::now(), 41, &bytes[40..80]), Seen::Wrong);
    }
}
