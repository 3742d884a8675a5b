//! The judge for unique values without deletes.

use super::{Action, Event, Moment, Violation};
use crate::OpId;
use std::collections::BTreeMap;

/// Everything that was done with one value, as far as it matters.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    put_call: Option<Moment>,
    put_unknown: bool,
    seen: bool,
    first_answer: Moment,
    last_call: Moment,
}

/// A time in which the register held the value (forward), or some moment of which it did (backward).
#[derive(Clone, Copy, Debug)]
struct Zone {
    value: Option<OpId>,
    from: Moment,
    to: Moment,
}

/// Judges the history of one key that held nothing at the beginning.
///
/// # Errors
/// [`Violation`]: it is not linearizable, or not for this judge.
pub fn zones(history: &[Event]) -> Result<(), Violation> {
    let clusters = clusters(history)?;
    let mut forward = Vec::new();
    let mut backward = Vec::new();
    for (value, cluster) in &clusters {
        // What was never seen and never acknowledged need not have happened.
        if cluster.put_unknown && !cluster.seen {
            continue;
        }
        let (from, to) = (cluster.first_answer, cluster.last_call);
        if from < to {
            forward.push(Zone { value: *value, from, to });
        } else {
            backward.push(Zone { value: *value, from: to, to: from });
        }
    }
    forward.sort_by_key(|zone| zone.from);
    if let Some(pair) = forward.windows(2).find(|pair| pair[1].from < pair[0].to) {
        return Err(Violation::Interleaved(pair[0].value, pair[1].value));
    }
    for zone in backward {
        let before = forward.partition_point(|other| other.from < zone.from);
        if let Some(around) = before.checked_sub(1).map(|at| forward[at]).filter(|around| zone.to < around.to) {
            return Err(Violation::Within(zone.value, around.value));
        }
    }
    Ok(())
}

fn clusters(history: &[Event]) -> Result<BTreeMap<Option<OpId>, Cluster>, Violation> {
    let fresh = |put_call| Cluster {
        put_call,
        put_unknown: false,
        seen: false,
        first_answer: Moment::NEVER,
        last_call: Moment(0),
    };
    // Nothing was "put" before the history began.
    let nothing = Cluster { first_answer: Moment(0), ..fresh(Some(Moment(0))) };
    let mut clusters = BTreeMap::from([(None, nothing)]);
    for event in history {
        let value = match event.action {
            Action::Put(value) => Some(value),
            Action::Get(value) => value,
            Action::Delete => return Err(Violation::NotForThisJudge),
        };
        let cluster = clusters.entry(value).or_insert(fresh(None));
        if let Action::Put(value) = event.action {
            if cluster.put_call.replace(event.call).is_some() {
                return Err(Violation::PutTwice(value));
            }
            cluster.put_unknown = event.answer == Moment::NEVER;
        } else {
            cluster.seen = true;
        }
        cluster.first_answer = cluster.first_answer.min(event.answer);
        cluster.last_call = cluster.last_call.max(event.call);
    }
    for event in history {
        if let Action::Get(Some(value)) = event.action
            && clusters[&Some(value)].put_call.is_none_or(|call| event.answer < call)
        {
            return Err(Violation::Invented(value));
        }
    }
    Ok(clusters)
}
