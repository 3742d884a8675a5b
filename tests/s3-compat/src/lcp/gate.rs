//! A place where calls can be held, so that a test can do something while they wait.

use tokio::sync::watch;

/// Open at first.
pub struct Gate {
    /// Calls that it still lets pass; `None`: all.
    left: watch::Sender<Option<usize>>,
    waiting: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { left: watch::Sender::new(None), waiting: watch::Sender::new(0) }
    }
}

impl Gate {
    /// Lets so many calls pass and holds all others, until it is opened.
    pub fn close_after(&self, calls: usize) {
        self.left.send_replace(Some(calls));
    }

    /// Lets all pass.
    pub fn open(&self) {
        self.left.send_replace(None);
    }

    /// Waits until a call is held.
    pub async fn held(&self) {
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }

    /// Waits until none is held.
    pub async fn free(&self) {
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    pub(super) async fn pass(&self) {
        let mut left = self.left.subscribe();
        loop {
            let mut may = false;
            self.left.send_if_modified(|left| {
                may = left.is_none_or(|left| left > 0);
                *left = left.map(|left| left.saturating_sub(1));
                false
            });
            if may {
                return;
            }
            let _held = Held::new(&self.waiting);
            if left.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A call that waits, until it is dropped.
struct Held<'a>(&'a watch::Sender<usize>);

impl<'a> Held<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Held(waiting)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
