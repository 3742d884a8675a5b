//! Whether what many clients saw of one key has an order in which it makes sense: linearizability of a register.
//!
//! Keys of S3 are independent of each other, so a history is judged key by key. Two judges:
//!
//! | judge | for | cost |
//! | --- | --- | --- |
//! | [`zones()`] | puts of values that are never put twice, and gets | n log n |
//! | [`search()`] | deletes too | exponential in the number of clients at worst; a few hundred operations of a few clients |
//!
//! A put or delete of unknown outcome may take effect at any time after its call, or never. A get that failed says nothing and is not part
//! of a history. All times are of one clock.
//!
//! Sources: Gibbons and Korach, "Testing shared memories" (zones); Wing and Gong, "Testing and verifying concurrent objects", with Lowe's
//! memory of visited states (search).

mod search;
mod zones;

pub use search::search;
pub use zones::zones;

use crate::OpId;
use std::fmt;

/// A moment, in nanoseconds since the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than everything: the end of an operation that was never answered.
    pub const NEVER: Moment = Moment(u64::MAX);
}

/// What a client did, and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stored a value that nobody else stores.
    Put(OpId),
    /// Removed the key.
    Delete,
    /// Saw this value, or that there is none.
    Get(Option<OpId>),
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub action: Action,
    /// When it was sent.
    pub call: Moment,
    /// When it was answered; [`Moment::NEVER`] if it was not, or not with success.
    pub answer: Moment,
}

/// Why there is no such order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A value was seen that nobody has put, or that was put after it had been seen.
    Invented(OpId),
    /// A value was put twice: the history is of no use.
    PutTwice(OpId),
    /// The history has what this judge does not understand.
    NotForThisJudge,
    /// Both values were each seen, or acknowledged, before an operation on the other began and after it.
    Interleaved(Option<OpId>, Option<OpId>),
    /// All operations on the one value fall into a time in which the register must have held the other.
    Within(Option<OpId>, Option<OpId>),
    /// No order of all orders makes sense.
    NoOrder,
    /// The search was given up after too many steps: nothing is known.
    Undecided,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invented(op) => write!(out, "{op:?} was seen before it was put, or never put"),
            Self::PutTwice(op) => write!(out, "{op:?} was put twice"),
            Self::NotForThisJudge => write!(out, "a history with deletes is for the search"),
            Self::Interleaved(one, other) => write!(out, "{one:?} and {other:?} replace each other twice"),
            Self::Within(one, other) => write!(out, "{one:?} was there only while {other:?} must have been"),
            Self::NoOrder => write!(out, "no order of the operations makes sense"),
            Self::Undecided => write!(out, "the search was given up"),
        }
    }
}

#[cfg(test)]
mod tests;
