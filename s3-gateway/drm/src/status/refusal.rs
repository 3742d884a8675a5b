//! Why a step is not taken.

use super::State;
use crate::licence::field::BadField;
use crate::rfc3339;
use types::Timestamp;

/// Why a step is not taken. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A device must say its id and its name to register.
    #[error("the device does not say who it is: {0}")]
    RegisterDevice(BadField),
    /// The licence does not hold any more.
    #[error("the licence is {}", .0.name())]
    RegisterClosed(State),
    /// As many devices have registered as may.
    #[error("{max} devices have registered, and no more may")]
    RegisterDevices {
        /// How many may.
        max: u32,
    },
    /// There are too many events.
    #[error("too much has happened with this licence")]
    RegisterFull,
    /// What the device says of itself cannot be kept.
    #[error("the device does not say rightly who it is: {0}")]
    RenewDevice(BadField),
    /// The licence has no end that could be moved.
    #[error("the licence is no loan")]
    RenewNoLoan,
    /// The licence does not hold any more.
    #[error("the licence is {}", .0.name())]
    RenewClosed(State),
    /// The store renews nothing.
    #[error("licences are not renewed here")]
    RenewOff,
    /// The end asked for, or any at all, is not between the one it has and the latest.
    #[error("the new end has to be after {}{}", rfc3339::write(*.after), .max.map(not_later).unwrap_or_default())]
    RenewDate {
        /// It has to be after this.
        after: Timestamp,
        /// And not after this.
        max: Option<Timestamp>,
    },
    /// There are too many events.
    #[error("too much has happened with this licence")]
    RenewFull,
    /// What the device says of itself cannot be kept.
    #[error("the device does not say rightly who it is: {0}")]
    ReturnDevice(BadField),
    /// The licence has no end, so it was not lent.
    #[error("the licence is no loan")]
    ReturnNoLoan,
    /// It was given back before, or cancelled.
    #[error("the licence was returned before")]
    ReturnAlready,
    /// Its end has passed.
    #[error("the licence has expired")]
    ReturnExpired,
    /// The store took it back.
    #[error("the licence was revoked")]
    ReturnRevoked,
    /// It is final already.
    #[error("the licence is {} already", .0.name())]
    RevokeFinal(State),
    /// Only what no device has registered can be cancelled.
    #[error("the licence is {} and not ready", .0.name())]
    CancelNotReady(State),
}

fn not_later(max: Timestamp) -> String {
    format!(" and not later than {}", rfc3339::write(max))
}
