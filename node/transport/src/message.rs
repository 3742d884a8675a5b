//! Frames on a QUIC stream: written with as few copies as possible, read with every length checked before it is believed.

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use proto::frame::{DecodeError, ENVELOPE_BYTES_MAX, HEADER_BYTES, Header};
use quinn::{ReadError, ReadExactError, RecvStream};
use serde::Serialize;

/// Pieces taken from QUIC in one go.
const READ_PIECES: usize = 32;

/// A message that is larger than a frame may be.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Why a frame could not be read.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// The stream or the connection ended first.
    Gone,
    /// Not a frame.
    Frame(DecodeError),
}

impl From<ReadError> for ReadFailure {
    fn from(_: ReadError) -> Self {
        ReadFailure::Gone
    }
}

impl From<ReadExactError> for ReadFailure {
    fn from(_: ReadExactError) -> Self {
        ReadFailure::Gone
    }
}

impl From<DecodeError> for ReadFailure {
    fn from(error: DecodeError) -> Self {
        ReadFailure::Frame(error)
    }
}

/// Header and envelope in one piece; the body follows as it is.
pub(crate) fn head<T: Serialize>(value: &T, body: usize) -> Result<Bytes, TooLarge> {
    let envelope = proto::encode(value);
    if envelope.len() > ENVELOPE_BYTES_MAX || body > proto::frame::BODY_BYTES_MAX {
        return Err(TooLarge);
    }
    let mut head = BytesMut::with_capacity(HEADER_BYTES + envelope.len());
    head.extend_from_slice(&Header { envelope: envelope.len(), body }.encode());
    head.extend_from_slice(&envelope);
    Ok(head.freeze())
}

/// Reads a header. Its lengths are within the limits of the protocol.
pub(crate) async fn read_header(recv: &mut RecvStream) -> Result<Header, ReadFailure> {
    let mut bytes = [0; HEADER_BYTES];
    recv.read_exact(&mut bytes).await?;
    Ok(Header::decode(&bytes)?)
}

/// Reads an envelope of the length its header promised.
pub(crate) async fn read_envelope(recv: &mut RecvStream, header: Header) -> Result<Bytes, ReadFailure> {
    let mut out = vec![0; header.envelope];
    recv.read_exact(&mut out).await?;
    Ok(Bytes::from(out))
}

/// Reads a body of the length its header promised. It is the last thing on its stream: bytes behind it are an error.
pub(crate) async fn read_body(recv: &mut RecvStream, header: Header) -> Result<Bytes, ReadFailure> {
    let mut out = BytesMut::with_capacity(header.body);
    let mut pieces: [Bytes; READ_PIECES] = Default::default();
    while out.len() < header.body {
        let count = recv.read_chunks(&mut pieces).await?.ok_or(ReadFailure::Gone)?;
        for piece in &mut pieces[..count] {
            if piece.len() > header.body - out.len() {
                return Err(DecodeError::Length(out.len() + piece.len()).into());
            }
            out.extend_from_slice(piece);
            *piece = Bytes::new();
        }
    }
    Ok(out.freeze())
}

/// Takes the end of a stream whose frame was read whole, if it has arrived already. A stream dropped before its end was taken asks
/// the peer to stop sending: a packet, its acknowledgement, and nothing gained.
pub(crate) fn take_end(recv: &mut RecvStream) {
    // An end that comes later is dealt with by that packet.
    let _ = recv.read_chunk(1, true).now_or_never();
}
