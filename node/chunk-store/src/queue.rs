//! What waits for a disk's writer, bounded in bytes, and the thread that drains it: whatever came in while the last
//! flush ran shares the next one.

use crate::record::BLOCK_BYTES;
use crate::writer::{Job, Writer};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

enum Message {
    Job(Job, Permit),
    Stop,
}

/// Bytes in the queue; given back when dropped.
pub(crate) struct Permit {
    bytes: usize,
    taken: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The queue of a disk.
pub(crate) struct Queue {
    sender: Sender<Message>,
    taken: Arc<AtomicUsize>,
    bytes_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the writer's thread.
    pub(crate) fn start(writer: Writer, name: String, bytes_max: usize, batch_bytes_max: usize) -> io::Result<Queue> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name(name).spawn(move || run(writer, &receiver, batch_bytes_max))?;
        Ok(Queue { sender, taken: Arc::default(), bytes_max, thread: Mutex::new(Some(thread)) })
    }

    /// Room for a job with this much data; `None` if the queue is full. An empty queue takes any one job.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Permit> {
        let bytes = bytes.max(BLOCK_BYTES as usize);
        let add = |taken: usize| taken.checked_add(bytes).filter(|sum| taken == 0 || *sum <= self.bytes_max);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        Some(Permit { bytes, taken: self.taken.clone() })
    }

    /// Hands a job to the writer. After [`Queue::stop`] it is dropped, which its answer's receiver notices.
    pub(crate) fn push(&self, job: Job, permit: Permit) {
        let _ = self.sender.send(Message::Job(job, permit));
    }

    /// Has the writer do what was pushed before, flush the index and end. Blocks until it has.
    pub(crate) fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
        let Some(thread) = self.thread.lock().take() else { return };
        if thread.join().is_err() {
            tracing::error!("the writer of a disk panicked");
        }
    }
}

fn run(mut writer: Writer, receiver: &Receiver<Message>, batch_bytes_max: usize) {
    let mut stop = false;
    while !stop && let Ok(first) = receiver.recv() {
        let mut jobs = Vec::new();
        let mut permits = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Stop => {
                    stop = true;
                    break;
                }
                Message::Job(job, permit) => {
                    bytes += permit.bytes;
                    jobs.push(job);
                    permits.push(permit);
                }
            }
            next = (bytes < batch_bytes_max).then(|| receiver.try_recv().ok()).flatten();
        }
        writer.commit(jobs);
    }
    writer.checkpoint();
}
