//! At most once: requests that were answered are answered again, not applied again.
//!
//! A request carries its number and the lowest one its session has had no answer for. Answers below that are
//! dropped, so a session keeps at most [`SESSION_WINDOW`] of them.

#[cfg(test)]
mod tests;

use crate::epoch;
use crate::group::Counters;
use crate::key::session::{AnswerKey, SessionKey};
use crate::kv::{Kv, KvError};
use crate::row::{self, Key};
use proto::meta::{Outcome, Refusal};
use serde::{Deserialize, Serialize};
use types::{RequestId, SESSION_WINDOW};

/// The numbers of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// Requests below it are forgotten.
    pub(crate) low: u64,
}

/// Judges a request by its number, and drops answers that nobody will ask for again. `None` is a new one, to be carried out and
/// [`record`]ed; otherwise its answer stands already.
pub(crate) fn admit(
    kv: &mut dyn Kv,
    counters: &Counters,
    id: RequestId,
) -> Result<Option<Result<Outcome, Refusal>>, KvError> {
    let refused = |refusal| Ok(Some(Err(refusal)));
    let known = row::read(kv, &SessionKey(id.session))?;
    // A session that is over has no window.
    if known.is_none() && epoch::is_over(kv, counters, id.session)? {
        return refused(Refusal::SessionClosed);
    }
    let before = known.map_or(0, |window: Window| window.low);
    let low = before.max(id.low);
    if id.seq < low {
        return refused(Refusal::StaleRequest);
    }
    if known.is_none() || low > before {
        forget(kv, id, before, low)?;
        row::write(kv, &SessionKey(id.session), &Window { low });
    }
    if let Some(answer) = row::read(kv, &AnswerKey { session: id.session, seq: id.seq })? {
        return Ok(Some(answer));
    }
    if id.seq - low >= SESSION_WINDOW {
        return refused(Refusal::WindowFull);
    }
    Ok(None)
}

/// Drops the answers from `before` to `low`; there are never more than a window of them.
fn forget(kv: &mut dyn Kv, id: RequestId, before: u64, low: u64) -> Result<(), KvError> {
    let start = AnswerKey { session: id.session, seq: before }.encode();
    let end = AnswerKey { session: id.session, seq: low }.encode();
    for (key, _) in kv.scan(&start, &end, SESSION_WINDOW as usize)? {
        kv.delete(&key);
    }
    Ok(())
}

/// Keeps the result of a request.
pub(crate) fn record(kv: &mut dyn Kv, id: RequestId, result: &Result<Outcome, Refusal>) {
    row::write(kv, &AnswerKey { session: id.session, seq: id.seq }, result);
}
