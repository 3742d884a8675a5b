//! A request body between hyper and the S3 library: timed, its framing tamed, small documents checked against the
//! digests that came with them, and every fault noted where the gateway finds it again.
//!
//! The library passes errors on as text; so what went wrong is kept in [`BodyWatch`], which travels with the request.

use crate::framing::Framing;
use bytes::Bytes;
use gateway_core::BodyError;
use gateway_core::checksum::{Checksum, ChecksumAlgorithm, Digests};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What went wrong with a body on this side of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// It ended before its length.
    #[error("incomplete body")]
    Incomplete,
    /// Nothing came for too long.
    #[error("stalled body")]
    Stalled,
    /// Its framing is malformed.
    #[error("malformed body")]
    Malformed,
    /// No memory for it now.
    #[error("too many bodies at once")]
    Busy,
    /// A document over its limit.
    #[error("document too large")]
    TooLarge,
    /// It does not have the MD5 of its header.
    #[error("wrong MD5")]
    Md5,
    /// It does not have the checksum of its header.
    #[error("wrong checksum {0}")]
    Checksum(ChecksumAlgorithm),
}

/// What the request said would be checked while its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignedBody {
    /// Nothing.
    Plain,
    /// One SHA-256 of all of it.
    Hash,
    /// A signature for each chunk, or for the trailers.
    Chunks,
}

/// What became of a request body.
#[derive(Debug)]
pub(crate) struct BodyWatch {
    fault: Mutex<Option<BodyFault>>,
    begun: AtomicBool,
    signed: SignedBody,
}

impl BodyWatch {
    pub(crate) fn new(signed: SignedBody) -> Arc<Self> {
        Arc::new(BodyWatch { fault: Mutex::new(None), begun: AtomicBool::new(false), signed })
    }

    pub(crate) fn fault(&self) -> Option<BodyFault> {
        *self.fault.lock()
    }

    /// Whether anybody has asked for a byte of it.
    pub(crate) fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Why the library's stream failed: what was noted here, or else what the library itself checks.
    pub(crate) fn error(&self) -> BodyError {
        match (self.fault(), self.signed) {
            (Some(BodyFault::Incomplete), _) => BodyError::Incomplete,
            (Some(BodyFault::Stalled), _) => BodyError::Stalled,
            (Some(BodyFault::Busy), _) => BodyError::Busy,
            (Some(BodyFault::TooLarge), _) => BodyError::TooLong,
            (Some(BodyFault::Malformed | BodyFault::Md5 | BodyFault::Checksum(_)), _) => BodyError::Malformed,
            (None, SignedBody::Plain) => BodyError::Malformed,
            (None, SignedBody::Hash) => BodyError::PayloadHash,
            (None, SignedBody::Chunks) => BodyError::Signature,
        }
    }
}

/// How a body is read.
pub(crate) enum Reading {
    /// As it comes.
    Plain,
    /// With its framing tamed.
    Framed(Framing),
    /// As a document.
    Document(Document),
}

/// A body that the library takes whole: bounded, and with digests that it must have.
pub(crate) struct Document {
    pub(crate) left: usize,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) running: Digests,
}

impl Document {
    fn push(&mut self, data: &[u8]) -> Result<(), BodyFault> {
        self.left = self.left.checked_sub(data.len()).ok_or(BodyFault::TooLarge)?;
        if self.md5.is_some() || self.checksum.is_some() {
            self.running.update(data);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyFault> {
        let (md5, checksum) = std::mem::replace(&mut self.running, Digests::new(None)).finish();
        if self.md5.is_some_and(|claimed| claimed != md5) {
            return Err(BodyFault::Md5);
        }
        match &self.checksum {
            Some(claimed) if Some(claimed) != checksum.as_ref() => Err(BodyFault::Checksum(claimed.algorithm)),
            _ => Ok(()),
        }
    }
}

/// The rest of a body, which outlives the request that did not want it.
pub(crate) type SharedIncoming = Arc<Mutex<Incoming>>;

/// A request body as the library gets it.
pub(crate) struct RequestBody {
    inner: SharedIncoming,
    reading: Reading,
    out: VecDeque<Bytes>,
    watch: Arc<BodyWatch>,
    pause_max: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl RequestBody {
    pub(crate) fn new(inner: SharedIncoming, reading: Reading, watch: Arc<BodyWatch>, pause_max: Duration) -> Self {
        RequestBody { inner, reading, out: VecDeque::new(), watch, pause_max, pause: None, ended: false }
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.ended = true;
        self.out.clear();
        self.watch.fault.lock().get_or_insert(fault);
        Poll::Ready(Some(Err(fault)))
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        self.watch.begun.store(true, Ordering::Relaxed);
        loop {
            let polled = Pin::new(&mut *self.inner.lock()).poll_frame(cx);
            let Poll::Ready(frame) = polled else {
                let pause_max = self.pause_max;
                let pause =
                    self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + pause_max)));
                ready!(pause.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyFault::Stalled)));
            };
            self.pause = None;
            match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyFault::Incomplete))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_http_trailers) => {}
                },
            }
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), BodyFault> {
        match &mut self.reading {
            Reading::Framed(framing) => return framing.push(data, &mut self.out),
            Reading::Document(document) => document.push(&data)?,
            Reading::Plain => {}
        }
        self.out.push_back(data);
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyFault> {
        match &mut self.reading {
            Reading::Plain => Ok(()),
            Reading::Framed(framing) => framing.end(),
            Reading::Document(document) => document.end(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(this.poll_inner(cx)) {
                Some(Ok(data)) => {
                    if let Err(fault) = this.push(data) {
                        return this.fail(fault);
                    }
                }
                Some(Err(fault)) => return this.fail(fault),
                None => {
                    if let Err(fault) = this.end() {
                        return this.fail(fault);
                    }
                    this.ended = true;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.out.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.reading {
            Reading::Plain | Reading::Document(_) => self.inner.lock().size_hint(),
            Reading::Framed(_) => SizeHint::default(),
        }
    }
}
