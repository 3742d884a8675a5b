//! What a store allows.

use super::{Record, State};
use serde::{Deserialize, Serialize};
use types::Timestamp;

const DAY_SECONDS: i64 = 86_400;

/// What a store allows to its readers. By default nothing can be renewed and devices are not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Days that a renewal adds if it does not ask for an end. `None`: nothing is renewed.
    pub renew_days: Option<u32>,
    /// Days from the issue on after which a loan ends for good, however often it is renewed. `None`: never.
    pub renew_days_max: Option<u32>,
    /// Whether the days of a renewal begin now, and not at the end that it has.
    pub renew_from_now: bool,
    /// Whether a loan can be renewed after its end.
    pub renew_expired: bool,
    /// Devices above which the store wants to know.
    pub devices_soft: Option<u32>,
    /// Devices above which none can register.
    pub devices_hard: Option<u32>,
}

impl Policy {
    /// The latest end of a licence, for [`Record::new`]. Never before the end that it has from the beginning.
    #[must_use]
    pub fn max_end(&self, issued: Timestamp, end: Option<Timestamp>) -> Option<Timestamp> {
        let days = self.renew_days_max?;
        end.map(|end| end.max(later(issued, days)))
    }

    /// Whether more devices have registered than the store thinks usual.
    #[must_use]
    pub fn is_over_soft(&self, record: &Record) -> bool {
        self.devices_soft.is_some_and(|soft| record.devices().len() > soft as usize)
    }

    /// Whether a loan that stands there can be renewed, if loans can.
    pub(super) fn renews_in(&self, state: State) -> bool {
        state.is_open() || state == State::Expired && self.renew_expired
    }
}

/// So many days later.
pub(super) fn later(from: Timestamp, days: u32) -> Timestamp {
    Timestamp::from_secs(from.secs().saturating_add(i64::from(days) * DAY_SECONDS), 0)
}
