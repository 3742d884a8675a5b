//! Numbers of the commands of one session in one group.
//!
//! A group keeps results from the lowest unanswered number on, for at most `SESSION_WINDOW` numbers. So no number is given
//! out that lies further than that above the lowest one still in use.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;
use types::{RequestId, SESSION_WINDOW, SessionId};

/// A little less than the group's own limit, which counts numbers the client has given up too.
const SPAN_MAX: u64 = SESSION_WINDOW - 64;

#[derive(Default)]
pub(crate) struct Window {
    numbers: Mutex<Numbers>,
    finished: Notify,
}

#[derive(Default)]
struct Numbers {
    /// The last number given out; the first is 1.
    last: u64,
    in_use: BTreeSet<u64>,
}

impl Numbers {
    fn low(&self) -> u64 {
        self.in_use.first().copied().unwrap_or(self.last + 1)
    }
}

/// A number in use. Dropping it says that the command was answered, or that nobody waits for its answer any more.
pub(crate) struct Ticket {
    window: Arc<Window>,
    seq: u64,
    low: u64,
}

impl Window {
    /// The next number; waits while the window is full.
    pub(crate) async fn begin(self: Arc<Self>) -> Ticket {
        loop {
            let finished = self.finished.notified();
            {
                let mut numbers = self.numbers.lock();
                let seq = numbers.last + 1;
                if seq - numbers.low() < SPAN_MAX {
                    numbers.last = seq;
                    numbers.in_use.insert(seq);
                    return Ticket { window: self.clone(), seq, low: numbers.low() };
                }
            }
            finished.await;
        }
    }
}

impl Ticket {
    pub(crate) fn id(&self, session: SessionId) -> RequestId {
        RequestId { session, seq: self.seq, low: self.low }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.window.numbers.lock().in_use.remove(&self.seq);
        self.window.finished.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn low_is_the_lowest_number_in_use() {
        let window = Arc::new(Window::default());
        let begin = || window.clone().begin().now_or_never().expect("room");
        let id = |ticket: &Ticket| (ticket.seq, ticket.low);
        let (first, second) = (begin(), begin());
        assert_eq!((id(&first), id(&second)), ((1, 1), (2, 1)));
        drop(first);
        let third = begin();
        assert_eq!(id(&third), (3, 2));
        drop((second, third));
        assert_eq!(id(&begin()), (4, 4));
    }

    #[test]
    fn the_window_is_as_wide_as_its_lowest_number_allows() {
        let window = Arc::new(Window::default());
        let slow = window.clone().begin().now_or_never().expect("room");
        for _ in 1..SPAN_MAX {
            drop(window.clone().begin().now_or_never().expect("room"));
        }
        let mut waiting = Box::pin(window.clone().begin());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(slow);
        let ticket = waiting.now_or_never().expect("room again");
        assert_eq!((ticket.seq, ticket.low), (SPAN_MAX + 1, SPAN_MAX + 1));
    }
}
