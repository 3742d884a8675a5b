//! What is kept of the status of one licence.

use super::Step;
use crate::licence::LicenceId;
use crate::licence::field::{self, BadField, Fault, ID_BYTES_MAX};
use crate::rfc3339::whole_seconds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use types::Timestamp;

/// Events of one licence. A family's devices and a renewal a month make a hundred in years; with the longest names these are 140 thousand bytes in a row.
pub const EVENTS_MAX: usize = 256;
/// Events that registering and renewing leave free, so that a licence can always be returned and revoked.
const EVENTS_RESERVED: usize = 4;

/// Where a licence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// No device has registered.
    Ready,
    /// A device has.
    Active,
    /// The reader gave it back.
    Returned,
    /// The store took it back.
    Revoked,
    /// Its end has passed. Never kept.
    Expired,
    /// Given back or taken back before a device had registered.
    Cancelled,
}

impl State {
    /// As status documents call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Active => "active",
            State::Returned => "returned",
            State::Revoked => "revoked",
            State::Expired => "expired",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether the licence still holds: its publication may be sent.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, State::Ready | State::Active)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    /// A device registered.
    Register,
    /// A new end.
    Renew,
    /// The reader gave it back.
    Return,
    /// The store took it back.
    Revoke,
    /// The store took it back before it was used.
    Cancel,
}

impl EventKind {
    /// As status documents call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Register => "register",
            EventKind::Renew => "renew",
            EventKind::Return => "return",
            EventKind::Revoke => "revoke",
            EventKind::Cancel => "cancel",
        }
    }
}

/// How a device calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// An id that it made up for itself.
    pub id: Option<String>,
    /// For people.
    pub name: Option<String>,
}

impl Device {
    /// Whether id and name, where they are given, can stand in a document.
    pub(super) fn check(&self) -> Result<(), BadField> {
        self.id.as_deref().map_or(Ok(()), |id| field::text("id", id, ID_BYTES_MAX))?;
        self.name.as_deref().map_or(Ok(()), |name| field::text("name", name, ID_BYTES_MAX))
    }

    /// Whether both are given as well.
    pub(super) fn check_known(&self) -> Result<(), BadField> {
        self.id.as_ref().ok_or(Fault::Missing.of("id"))?;
        self.name.as_ref().ok_or(Fault::Missing.of("name"))?;
        self.check()
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// By which device, if it said so and was one.
    pub device: Device,
    /// When.
    pub at: Timestamp,
}

/// The status of one licence, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of which.
    pub id: LicenceId,
    /// Where it stands, but for expiry; see [`Record::state_at`].
    pub state: State,
    /// The end in its rights. A licence without one is no loan.
    pub end: Option<Timestamp>,
    /// The latest end that it can be renewed to; `None`: any.
    pub max_end: Option<Timestamp>,
    /// `updated` of the licence, or else `issued`. A reader whose licence is older fetches the new one.
    pub licence_updated: Timestamp,
    /// When this last changed.
    pub status_updated: Timestamp,
    /// In the order of time; at most [`EVENTS_MAX`].
    pub events: Vec<Event>,
}

impl Record {
    /// Of a licence that was issued just now.
    #[must_use]
    pub fn new(id: LicenceId, issued: Timestamp, end: Option<Timestamp>, max_end: Option<Timestamp>) -> Self {
        let issued = whole_seconds(issued);
        Record {
            id,
            state: State::Ready,
            end: end.map(whole_seconds),
            max_end: max_end.map(whole_seconds),
            licence_updated: issued,
            status_updated: issued,
            events: Vec::new(),
        }
    }

    /// Where it stands at that time.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.state {
            State::Ready | State::Active if self.end.is_some_and(|end| end < now) => State::Expired,
            state => state,
        }
    }

    /// The devices that have registered, by their ids.
    #[must_use]
    pub fn devices(&self) -> BTreeSet<&str> {
        let registered = self.events.iter().filter(|event| event.kind == EventKind::Register);
        registered.filter_map(|event| event.device.id.as_deref()).collect()
    }

    /// Puts a step into effect. It must be one of this very record: whoever keeps records sees to it that none has changed since.
    pub fn apply(&mut self, step: Step) {
        self.state = step.state;
        self.end = step.new_end.or(self.end);
        self.licence_updated = step.licence_updated.unwrap_or(self.licence_updated);
        self.status_updated = step.status_updated;
        self.events.extend(step.event);
    }

    /// Notes a change of the licence that is no step: other rights, a new version of its title, a new signature. `last_change` is that of
    /// [`crate::licence::Issued`].
    pub fn licence_changed(&mut self, last_change: Timestamp, end: Option<Timestamp>) {
        self.licence_updated = last_change;
        self.end = end.map(whole_seconds);
    }

    /// Whether there is no room for what a reader could do again and again.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() + EVENTS_RESERVED >= EVENTS_MAX
    }
}
