//! The bytes of a download on their way to the network.

use super::super::LcpError;
use super::ticket::Running;
use crate::download::Content;
use crate::error::ObjectError;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What is sent, piece by piece: first what is stored, then the tail. The pieces are the buffers that were read, or slices of those that all downloads share.
///
/// A piece counts as sent when the next one is asked for, or when it was the last: then the network has taken it, or the client has gone and nobody can tell.
pub struct DownloadBody {
    front: Option<Bytes>,
    stored: Option<BoxStream<'static, Result<Bytes, ObjectError>>>,
    tail: std::array::IntoIter<Bytes, 3>,
    /// Bytes that were not handed out yet.
    left: u64,
    /// Bytes of the piece that was handed out last, if it was not counted yet.
    out: u64,
    running: Option<Running>,
}

impl DownloadBody {
    pub(super) fn new(content: Content, tail: [Bytes; 3], len: u64, running: Option<Running>) -> Self {
        let (front, stored) = match content {
            Content::Whole(data) => (Some(data), None),
            Content::Stream(pieces) => (None, Some(pieces)),
        };
        DownloadBody { front, stored, tail: tail.into_iter(), left: len, out: 0, running }
    }

    /// Bytes that were not handed out yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    fn next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ObjectError>>> {
        if let Some(front) = self.front.take().filter(|front| !front.is_empty()) {
            return Poll::Ready(Some(Ok(front)));
        }
        if let Some(stored) = &mut self.stored {
            if let Some(piece) = ready!(stored.poll_next_unpin(cx)) {
                return Poll::Ready(Some(piece));
            }
            self.stored = None;
        }
        Poll::Ready(self.tail.by_ref().find(|part| !part.is_empty()).map(Ok))
    }

    /// Counts the piece that was handed out last.
    fn count(&mut self) {
        let out = std::mem::take(&mut self.out);
        if let Some(running) = self.running.as_mut().filter(|_| out > 0) {
            running.deliver(out);
        }
    }

    fn end(&mut self) {
        (self.front, self.stored, self.running) = (None, None, None);
        self.tail.by_ref().for_each(drop);
    }
}

impl Stream for DownloadBody {
    type Item = Result<Bytes, LcpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.count();
        if let Some(Err(spent)) = this.running.as_mut().map(Running::go_on) {
            this.end();
            return Poll::Ready(Some(Err(spent.into())));
        }
        match ready!(this.next_piece(cx)) {
            None => Poll::Ready(None),
            Some(Ok(piece)) => {
                this.out = piece.len() as u64;
                this.left = this.left.saturating_sub(this.out);
                if this.left == 0 {
                    // Nobody asks for more: the length was announced.
                    this.count();
                    this.end();
                }
                Poll::Ready(Some(Ok(piece)))
            }
            Some(Err(error)) => {
                if let Some(running) = &mut this.running {
                    running.fail();
                }
                this.end();
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}
