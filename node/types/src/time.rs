//! Wall time as data. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch; covers the years 1678 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Nanoseconds in a second.
    pub const SECOND: i64 = 1_000_000_000;

    /// A time of whole seconds and nanoseconds since the epoch, saturating at both ends.
    #[must_use]
    pub fn from_secs(secs: i64, nanos: u32) -> Self {
        Timestamp(secs.saturating_mul(Self::SECOND).saturating_add(i64::from(nanos)))
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.0.div_euclid(Self::SECOND)
    }

    /// Nanoseconds past [`Self::secs`].
    #[must_use]
    pub fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(Self::SECOND) as u32
    }
}
