//! Time as a driver tells it to what has no clock of its own.

use std::ops::Add;

/// Milliseconds since a moment the driver chose; never runs backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Add<u64> for Moment {
    type Output = Moment;

    fn add(self, millis: u64) -> Moment {
        Moment(self.0.saturating_add(millis))
    }
}
