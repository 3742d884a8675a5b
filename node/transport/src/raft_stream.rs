//! Raft messages: one way, in order, on one long-lived stream of the small connection.
//!
//! A frame on the stream is a header, an envelope that is a [`RaftBatch`], and no body. What cannot be sent is dropped: late
//! Raft messages are worth less than none.

use crate::config::TransportConfig;
use crate::link::{Dialer, Link};
use crate::message::{self, ReadFailure};
use crate::server::Handler;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::frame::{DecodeError, ENVELOPE_BYTES_MAX};
use proto::raft_wire::RaftBatch;
use quinn::{RecvStream, SendStream};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use types::{GroupId, NodeId};

/// Messages are packed together up to this size; a larger one goes alone.
const FRAME_BYTES_TARGET: usize = 1 << 20;
/// What a message costs beside its bytes: group, length and the frame's own fields, rounded up.
const MESSAGE_OVERHEAD_BYTES: usize = 16;
/// Raft's stream goes before the calls on the same connection.
const PRIORITY: i32 = 1;

/// The sending half for one peer.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    draining: AtomicBool,
}

struct Shared {
    link: Arc<Link>,
    queue: Mutex<Queue>,
    filled: Notify,
    /// The peer was dropped; what is queued is still sent if it can be.
    closed: AtomicBool,
    batches_max: usize,
    bytes_max: usize,
    /// A frame not taken over after this time is given up, and the stream with it.
    write_timeout: Duration,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<RaftBatch>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn new(link: Arc<Link>, dialer: &Dialer) -> Self {
        let TransportConfig { raft_queue_batches_max, raft_queue_bytes_max, silence_max, .. } = dialer.config;
        let shared = Arc::new(Shared {
            link,
            queue: Mutex::default(),
            filled: Notify::new(),
            closed: AtomicBool::new(false),
            batches_max: raft_queue_batches_max,
            bytes_max: raft_queue_bytes_max,
            write_timeout: silence_max * 2,
        });
        Outbox { shared, runtime: dialer.runtime.clone(), draining: AtomicBool::new(false) }
    }

    pub(crate) fn push(&self, batch: RaftBatch) {
        {
            let mut queue = self.shared.queue.lock();
            let bytes = queue.bytes + weight(&batch);
            if queue.batches.len() >= self.shared.batches_max || bytes > self.shared.bytes_max {
                tracing::debug!("raft queue full, batch dropped");
                return;
            }
            queue.bytes = bytes;
            queue.batches.push_back(batch);
        }
        self.shared.filled.notify_one();
        if !self.draining.swap(true, Ordering::Relaxed) {
            self.runtime.spawn(drain(self.shared.clone()));
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn take(&self) -> VecDeque<RaftBatch> {
        let mut queue = self.queue.lock();
        queue.bytes = 0;
        std::mem::take(&mut queue.batches)
    }
}

fn weight(batch: &RaftBatch) -> usize {
    batch.messages.iter().map(|(_, message)| message.len() + MESSAGE_OVERHEAD_BYTES).sum()
}

/// Sends what is queued until the peer is dropped.
async fn drain(shared: Arc<Shared>) {
    let mut stream = None;
    loop {
        let batches = shared.take();
        if !batches.is_empty() {
            stream = send(&shared, stream.take(), batches).await;
        } else if shared.closed.load(Ordering::Acquire) {
            return;
        } else {
            shared.filled.notified().await;
        }
    }
}

/// Sends batches on the stream or a new one; returns the stream if it can be used again.
async fn send(shared: &Shared, stream: Option<SendStream>, batches: VecDeque<RaftBatch>) -> Option<SendStream> {
    let mut stream = match stream {
        Some(stream) => stream,
        None => {
            let connection = shared.link.connection().await.ok()?;
            let stream = timeout(shared.write_timeout, connection.open_uni()).await.ok()?.ok()?;
            stream.set_priority(PRIORITY).ok()?;
            stream
        }
    };
    for frame in frames(batches) {
        match timeout(shared.write_timeout, stream.write_chunk(frame)).await {
            Ok(Ok(())) => {}
            _ => {
                // Half a frame must not be taken for one.
                let _ = stream.reset(0u32.into());
                return None;
            }
        }
    }
    Some(stream)
}

/// Packs messages into frames, keeping their order.
fn frames(batches: VecDeque<RaftBatch>) -> impl Iterator<Item = Bytes> {
    let mut messages = batches.into_iter().flat_map(|batch| batch.messages).peekable();
    std::iter::from_fn(move || {
        let mut packed: Vec<(GroupId, Bytes)> = Vec::new();
        let mut bytes = 0;
        while let Some((_, next)) = messages.peek() {
            let cost = next.len() + MESSAGE_OVERHEAD_BYTES;
            if cost + MESSAGE_OVERHEAD_BYTES > ENVELOPE_BYTES_MAX {
                tracing::error!(bytes = next.len(), "raft message larger than a frame, dropped");
                messages.next();
                continue;
            }
            if !packed.is_empty() && bytes + cost > FRAME_BYTES_TARGET {
                break;
            }
            bytes += cost;
            packed.extend(messages.next());
        }
        if packed.is_empty() {
            return None;
        }
        let frame = message::head(&RaftBatch { messages: packed }, 0);
        Some(frame.expect("a message over the limit was dropped, smaller ones are packed below it"))
    })
}

/// Hands the batches of one stream to the handler until it ends.
///
/// # Errors
/// The peer sent something that is not a Raft frame; its connection should be closed.
pub(crate) async fn receive(
    mut recv: RecvStream,
    from: NodeId,
    handler: &dyn Handler,
    read_timeout: Duration,
) -> Result<(), DecodeError> {
    loop {
        let header = match message::read_header(&mut recv).await {
            Ok(header) if header.body == 0 => header,
            Ok(header) => return Err(DecodeError::Length(header.body)),
            Err(ReadFailure::Gone) => return Ok(()),
            Err(ReadFailure::Frame(error)) => return Err(error),
        };
        // Between frames a stream may rest; within one it may not.
        let envelope = match timeout(read_timeout, message::read_envelope(&mut recv, header)).await {
            Ok(Ok(envelope)) => envelope,
            Ok(Err(ReadFailure::Frame(error))) => return Err(error),
            Ok(Err(ReadFailure::Gone)) | Err(_) => return Ok(()),
        };
        handler.raft(from, proto::decode(&envelope)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::frame::{HEADER_BYTES, Header};

    fn batch(sizes: &[usize]) -> RaftBatch {
        RaftBatch { messages: sizes.iter().map(|len| (GroupId(1), Bytes::from(vec![7; *len]))).collect() }
    }

    #[test]
    fn messages_are_packed_in_order_and_too_large_ones_dropped() {
        let sizes = [10, ENVELOPE_BYTES_MAX, FRAME_BYTES_TARGET, 20, 30, ENVELOPE_BYTES_MAX - 32];
        let batches = VecDeque::from([batch(&sizes[..2]), batch(&[]), batch(&sizes[2..])]);
        let mut seen = Vec::new();
        for frame in frames(batches) {
            let header = Header::decode(frame[..HEADER_BYTES].try_into().expect("header")).expect("header");
            assert_eq!((header.envelope, header.body), (frame.len() - HEADER_BYTES, 0));
            let batch: RaftBatch = proto::decode(&frame[HEADER_BYTES..]).expect("batch");
            seen.push(batch.messages.iter().map(|(_, message)| message.len()).collect::<Vec<_>>());
        }
        assert_eq!(seen, [vec![10], vec![sizes[2]], vec![20, 30], vec![sizes[5]]]);
    }
}
