//! Which sessions have been silent for too long, counted by whoever leads the control group, as in `node-server`'s `leases.rs`.

use crate::event::Millis;
use std::collections::BTreeMap;
use types::{SessionId, Timestamp};

/// Since when each session's last renewal has been seen to stand.
#[derive(Default)]
pub struct Leases {
    seen: BTreeMap<SessionId, (Timestamp, Millis)>,
}

impl Leases {
    /// Takes in the open sessions with their last renewals; returns those that were silent for a lease.
    pub fn look(
        &mut self,
        now: Millis,
        lease: Millis,
        open: &[(SessionId, String, Timestamp)],
    ) -> Vec<(SessionId, Timestamp)> {
        let before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for (session, _, renewed) in open {
            let since = before.get(session).filter(|(seen, _)| seen == renewed).map_or(now, |(_, since)| *since);
            self.seen.insert(*session, (*renewed, since));
            if now - since >= lease {
                silent.push((*session, *renewed));
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_not_renewed_for_a_lease_is_silent() {
        let mut leases = Leases::default();
        let open = |two| [(SessionId(1), String::new(), Timestamp(1)), (SessionId(2), String::new(), Timestamp(two))];
        assert_eq!(leases.look(0, 100, &open(2)), []);
        assert_eq!(leases.look(99, 100, &open(3)), []);
        assert_eq!(leases.look(100, 100, &open(3)), [(SessionId(1), Timestamp(1))]);
        assert_eq!(leases.look(199, 100, &open(3)[1..]), [(SessionId(2), Timestamp(3))]);
    }
}
