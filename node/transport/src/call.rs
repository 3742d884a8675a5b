//! The calling side of one call on one stream.

use crate::config::BODY_PIECE_BYTES;
use crate::error::TransportError;
use crate::message::{self, ReadFailure};
use bytes::Bytes;
use proto::Reply;
use quinn::{Connection, RecvStream, SendStream, WriteError};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the peer may have the whole request. Outlives the future that sets it, which a deadline may cut off.
#[derive(Default)]
pub(crate) struct Sent(AtomicBool);

impl Sent {
    /// What it means that the call ended here.
    pub(crate) fn failure(&self, outcome_unknown: TransportError) -> TransportError {
        if self.0.load(Ordering::Relaxed) { outcome_unknown } else { TransportError::NotSent }
    }
}

/// Sends a request and waits for its reply, as long as the caller likes.
pub(crate) async fn exchange(
    connection: &Connection,
    head: Bytes,
    body: Bytes,
    sent: &Sent,
) -> Result<(Reply, Bytes), TransportError> {
    let (send, mut recv) = connection.open_bi().await.map_err(|_| TransportError::NotSent)?;
    let mut send = Abort { stream: send, answered: false };
    match write_request(&mut send.stream, head, body, sent).await {
        // A peer that will not read on has an answer for us.
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(_) => return Err(sent.failure(TransportError::Lost)),
    }
    let reply = read_reply(&mut recv).await.map_err(|failure| match failure {
        ReadFailure::Gone => sent.failure(TransportError::Lost),
        ReadFailure::Frame(_) => TransportError::Malformed,
    })?;
    message::take_end(&mut recv);
    send.answered = true;
    match reply {
        (Reply::Rejected(rejection), _) => Err(TransportError::Rejected(rejection)),
        reply => Ok(reply),
    }
}

async fn write_request(send: &mut SendStream, head: Bytes, mut body: Bytes, sent: &Sent) -> Result<(), WriteError> {
    let mut piece = head;
    while !body.is_empty() {
        send.write_chunk(piece).await?;
        piece = body.split_to(body.len().min(BODY_PIECE_BYTES));
    }
    // Without its last piece the peer does not execute the request.
    sent.0.store(true, Ordering::Relaxed);
    send.write_chunk(piece).await?;
    // The lengths say where the request ends; an error here means that the peer has stopped reading, which is up to it.
    let _ = send.finish();
    Ok(())
}

async fn read_reply(recv: &mut RecvStream) -> Result<(Reply, Bytes), ReadFailure> {
    let header = message::read_header(recv).await?;
    let envelope = message::read_envelope(recv, header).await?;
    let reply = proto::decode(&envelope)?;
    let body = message::read_body(recv, header).await?;
    Ok((reply, body))
}

/// Resets the stream when the call ends early: what is still queued for it must not be sent.
struct Abort {
    stream: SendStream,
    answered: bool,
}

impl Drop for Abort {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.stream.reset(0u32.into());
        }
    }
}
