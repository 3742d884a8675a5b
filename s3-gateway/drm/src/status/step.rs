//! The steps of the table in [`crate::status`].

use super::policy::later;
use super::{Device, Event, EventKind, Policy, Record, Refusal, State};
use crate::licence::next_change;
use crate::rfc3339::whole_seconds;
use serde::{Deserialize, Serialize};
use types::Timestamp;

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it stands then.
    pub state: State,
    /// The new `rights.end` of the licence, which has to be changed and signed. `None`: the licence stays as it is.
    pub new_end: Option<Timestamp>,
    /// What the licence changed at `now` says of its last change; present with a new end. If signing moved it
    /// ([`crate::licence::Issued::last_change`]), that goes here.
    pub licence_updated: Option<Timestamp>,
    /// What the status document says of its own.
    pub status_updated: Timestamp,
    /// What happened. `None`: nothing at all; the request had been granted before.
    pub event: Option<Event>,
}

impl Step {
    fn of(record: &Record, state: State, kind: EventKind, device: &Device, now: Timestamp) -> Self {
        let at = whole_seconds(now);
        Step {
            state,
            new_end: None,
            licence_updated: None,
            status_updated: at.max(record.status_updated),
            event: Some(Event { kind, device: device.clone(), at }),
        }
    }

    fn nothing(record: &Record) -> Self {
        Step {
            state: record.state,
            new_end: None,
            licence_updated: None,
            status_updated: record.status_updated,
            event: None,
        }
    }

    fn ending(self, record: &Record, end: Timestamp, now: Timestamp) -> Self {
        Step { new_end: Some(end), licence_updated: Some(next_change(record.licence_updated, now)), ..self }
    }

    /// Ends the licence now, unless it has ended before.
    fn ending_now(self, record: &Record, now: Timestamp) -> Self {
        let at = whole_seconds(now);
        if record.end.is_some_and(|end| end <= at) { self } else { self.ending(record, at, now) }
    }
}

/// A device registers: the licence is in use from then on. A device that has registered before does so again without a further event.
///
/// # Errors
/// The `Register` ones of [`Refusal`].
pub fn register(record: &Record, policy: &Policy, device: &Device, now: Timestamp) -> Result<Step, Refusal> {
    device.check_known().map_err(Refusal::RegisterDevice)?;
    let state = record.state_at(now);
    if !state.is_open() {
        return Err(Refusal::RegisterClosed(state));
    }
    let devices = record.devices();
    if device.id.as_deref().is_some_and(|id| devices.contains(id)) {
        return Ok(Step::nothing(record));
    }
    if let Some(max) = policy.devices_hard.filter(|max| devices.len() >= *max as usize) {
        return Err(Refusal::RegisterDevices { max });
    }
    if record.is_full() {
        return Err(Refusal::RegisterFull);
    }
    Ok(Step::of(record, State::Active, EventKind::Register, device, now))
}

/// A loan gets a later end: the one asked for, or as many days as the policy says, as far as the latest end allows. To ask for the end that it has changes nothing.
///
/// # Errors
/// The `Renew` ones of [`Refusal`]. An end that is asked for is never moved to one that is allowed.
pub fn renew(
    record: &Record,
    policy: &Policy,
    device: &Device,
    end: Option<Timestamp>,
    now: Timestamp,
) -> Result<Step, Refusal> {
    device.check().map_err(Refusal::RenewDevice)?;
    let current = record.end.ok_or(Refusal::RenewNoLoan)?;
    let state = record.state_at(now);
    if !policy.renews_in(state) {
        return Err(Refusal::RenewClosed(state));
    }
    let days = policy.renew_days.ok_or(Refusal::RenewOff)?;
    let asked = end.map(whole_seconds);
    if asked == Some(current) && state.is_open() {
        return Ok(Step::nothing(record));
    }
    let new_end = asked.unwrap_or_else(|| {
        let from = if policy.renew_from_now { now } else { current.max(now) };
        let end = later(from, days);
        record.max_end.map_or(end, |max| end.min(max))
    });
    let after = current.max(whole_seconds(now));
    if new_end <= after || record.max_end.is_some_and(|max| new_end > max) {
        return Err(Refusal::RenewDate { after, max: record.max_end });
    }
    if record.is_full() {
        return Err(Refusal::RenewFull);
    }
    Ok(Step::of(record, record.state, EventKind::Renew, device, now).ending(record, new_end, now))
}

/// The reader gives a loan back, and it ends now.
///
/// # Errors
/// The `Return` ones of [`Refusal`].
pub fn return_licence(record: &Record, device: &Device, now: Timestamp) -> Result<Step, Refusal> {
    device.check().map_err(Refusal::ReturnDevice)?;
    let state = match record.state_at(now) {
        State::Returned | State::Cancelled => return Err(Refusal::ReturnAlready),
        State::Revoked => return Err(Refusal::ReturnRevoked),
        State::Expired => return Err(Refusal::ReturnExpired),
        State::Ready => State::Cancelled,
        State::Active => State::Returned,
    };
    record.end.ok_or(Refusal::ReturnNoLoan)?;
    Ok(Step::of(record, state, EventKind::Return, device, now).ending_now(record, now))
}

/// The store takes a licence back, lent or sold, and it ends now. One that nobody has used is cancelled.
///
/// # Errors
/// [`Refusal::RevokeFinal`].
pub fn revoke(record: &Record, now: Timestamp) -> Result<Step, Refusal> {
    match record.state {
        State::Ready => Ok(taken_back(record, State::Cancelled, EventKind::Cancel, now)),
        State::Active | State::Expired => Ok(taken_back(record, State::Revoked, EventKind::Revoke, now)),
        State::Returned | State::Revoked | State::Cancelled => Err(Refusal::RevokeFinal(record.state)),
    }
}

/// The store takes back a licence that nobody has used, and no other.
///
/// # Errors
/// [`Refusal::CancelNotReady`].
pub fn cancel(record: &Record, now: Timestamp) -> Result<Step, Refusal> {
    match record.state_at(now) {
        State::Ready => Ok(taken_back(record, State::Cancelled, EventKind::Cancel, now)),
        state => Err(Refusal::CancelNotReady(state)),
    }
}

fn taken_back(record: &Record, state: State, kind: EventKind, now: Timestamp) -> Step {
    Step::of(record, state, kind, &Device::default(), now).ending_now(record, now)
}
