//! The framing of aws-chunked bodies, checked and tamed before the S3 library reads it.
//!
//! ```text
//! HEX[;chunk-signature=SIG] CRLF  data CRLF  ...  0[;chunk-signature=SIG] CRLF  [trailers] CRLF
//! ```
//! The library holds a whole chunk in memory before it hands it on, takes a body that ends without its last chunk for
//! complete, and is generous about lengths. So chunks that are not signed are cut into smaller ones here, as they come
//! from the network; chunks that are, which must be held until their signature was checked, are bounded in size and, all
//! requests together, in number of bytes; and a body that stops early or has a malformed length is an error.

use crate::body::BodyFault;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A chunk's head with its signature has about 100 bytes.
const HEAD_BYTES_MAX: usize = 256;

/// Hexadecimal digits of a length: 4 GiB - 1 and no more, which is what the library can read.
const LENGTH_DIGITS_MAX: usize = 8;

const CRLF: &[u8] = b"\r\n";

/// Whether chunks carry signatures.
#[derive(Clone, Debug)]
pub(crate) enum FramingKind {
    /// They do not.
    Unsigned,
    /// They do.
    Signed {
        /// Largest one.
        chunk_bytes_max: usize,
        /// Shared by all requests; counts KiB.
        budget: Arc<Semaphore>,
    },
}

enum State {
    /// In the line before a chunk.
    Head(Vec<u8>),
    /// So many bytes of data follow.
    Data(u64),
    /// Behind the data; so many bytes of CRLF were seen.
    DataEnd(usize),
    /// Behind the head of the last chunk: trailers up to the end.
    Trailers,
}

/// Reads a framed body piece by piece.
pub(crate) struct Framing {
    kind: FramingKind,
    state: State,
    held: Option<OwnedSemaphorePermit>,
}

impl Framing {
    pub(crate) fn new(kind: FramingKind) -> Self {
        Framing { kind, state: State::Head(Vec::new()), held: None }
    }

    /// Checks a piece and appends what the library is to see of it.
    pub(crate) fn push(&mut self, mut piece: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), BodyFault> {
        while !piece.is_empty() {
            match &mut self.state {
                State::Head(line) => {
                    let end = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |at| at + 1);
                    line.extend_from_slice(&piece[..end]);
                    piece.advance(end);
                    if line.len() > HEAD_BYTES_MAX {
                        return Err(BodyFault::Malformed);
                    }
                    if line.ends_with(b"\n") {
                        let line = std::mem::take(line);
                        self.begin(line, out)?;
                    }
                }
                State::Data(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                    let data = piece.split_to(now);
                    *left -= now as u64;
                    if *left == 0 {
                        self.state = State::DataEnd(0);
                    }
                    match self.kind {
                        FramingKind::Unsigned => {
                            out.push_back(Bytes::from(format!("{now:x}\r\n")));
                            out.push_back(data);
                            out.push_back(Bytes::from_static(CRLF));
                        }
                        FramingKind::Signed { .. } => out.push_back(data),
                    }
                }
                State::DataEnd(seen) => {
                    if piece.first() != CRLF.get(*seen) {
                        return Err(BodyFault::Malformed);
                    }
                    piece.advance(1);
                    *seen += 1;
                    if *seen == CRLF.len() {
                        self.state = State::Head(Vec::new());
                        if matches!(self.kind, FramingKind::Signed { .. }) {
                            out.push_back(Bytes::from_static(CRLF));
                        }
                    }
                }
                State::Trailers => out.push_back(std::mem::take(&mut piece)),
            }
        }
        Ok(())
    }

    /// The body has ended.
    pub(crate) fn end(&self) -> Result<(), BodyFault> {
        match self.state {
            State::Trailers => Ok(()),
            State::Head(_) | State::Data(_) | State::DataEnd(_) => Err(BodyFault::Incomplete),
        }
    }

    /// A chunk begins. The one before it has been taken, or nobody would have asked for more.
    fn begin(&mut self, line: Vec<u8>, out: &mut VecDeque<Bytes>) -> Result<(), BodyFault> {
        self.held = None;
        let len = parse_head(&line, &self.kind).ok_or(BodyFault::Malformed)?;
        if let FramingKind::Signed { chunk_bytes_max, budget } = &self.kind {
            if len > *chunk_bytes_max as u64 {
                return Err(BodyFault::Malformed);
            }
            let share = budget.clone().try_acquire_many_owned(len.div_ceil(1024) as u32);
            self.held = Some(share.map_err(|_| BodyFault::Busy)?);
        }
        if len == 0 || matches!(self.kind, FramingKind::Signed { .. }) {
            out.push_back(Bytes::from(line));
        }
        self.state = if len == 0 { State::Trailers } else { State::Data(len) };
        Ok(())
    }
}

fn parse_head(line: &[u8], kind: &FramingKind) -> Option<u64> {
    let line = std::str::from_utf8(line.strip_suffix(CRLF)?).ok()?;
    let (digits, rest) = match line.split_once(';') {
        Some((digits, rest)) => (digits, Some(rest)),
        None => (line, None),
    };
    let signed = rest.and_then(|rest| rest.strip_prefix("chunk-signature="));
    let right = match kind {
        FramingKind::Unsigned => rest.is_none(),
        FramingKind::Signed { .. } => {
            signed.is_some_and(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        }
    };
    let plain = (1..=LENGTH_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (digits == "0" || !digits.starts_with('0'));
    (right && plain).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: &FramingKind, body: &[u8], piece: usize) -> Result<Vec<u8>, BodyFault> {
        let mut framing = Framing::new(kind.clone());
        let mut out = VecDeque::new();
        for part in body.chunks(piece) {
            framing.push(Bytes::copy_from_slice(part), &mut out)?;
        }
        framing.end()?;
        Ok(out.into_iter().flatten().collect())
    }

    fn signed() -> FramingKind {
        FramingKind::Signed { chunk_bytes_max: 100, budget: Arc::new(Semaphore::new(1)) }
    }

    /// The data of a framed body without signatures.
    fn data(mut framed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let end = framed.iter().position(|byte| *byte == b'\n').expect("a head");
            let len = parse_head(&framed[..=end], &FramingKind::Unsigned).expect("well formed") as usize;
            if len == 0 {
                return out;
            }
            out.extend_from_slice(&framed[end + 1..end + 1 + len]);
            framed = &framed[end + 1 + len + 2..];
        }
    }

    #[test]
    fn any_split_of_an_unsigned_body_gives_the_same_data_in_small_chunks() {
        let body = b"b\r\nhello\r\nworl\r\n1\r\nd\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        for piece in 1..body.len() {
            let out = run(&FramingKind::Unsigned, body, piece).expect("well formed");
            assert_eq!(data(&out), b"hello\r\nworld", "pieces of {piece}");
            assert!(out.ends_with(b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"));
        }
    }

    #[test]
    fn a_signed_body_passes_unchanged() {
        let signature = "a".repeat(64);
        let body = format!("5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\r\n");
        for piece in 1..body.len() {
            assert_eq!(run(&signed(), body.as_bytes(), piece).expect("well formed"), body.as_bytes());
        }
        let too_large = format!("65;chunk-signature={signature}\r\n");
        assert_eq!(run(&signed(), too_large.as_bytes(), 9), Err(BodyFault::Malformed));
    }

    #[test]
    fn hostile_framing_is_refused() {
        let cases: [(&[u8], BodyFault); 11] = [
            (b"5\r\nhello\r\n", BodyFault::Incomplete),
            (b"5\r\nhel", BodyFault::Incomplete),
            (b"5\r\nhello", BodyFault::Incomplete),
            (b"", BodyFault::Incomplete),
            (b"5\r\nhelloXX0\r\n\r\n", BodyFault::Malformed),
            (b"ffffffffffffffff\r\nx", BodyFault::Malformed),
            (b"05\r\nhello\r\n0\r\n\r\n", BodyFault::Malformed),
            (b"-1\r\n", BodyFault::Malformed),
            (b"5\nhello\r\n0\r\n\r\n", BodyFault::Malformed),
            (b"5;x=y\r\nhello\r\n0\r\n\r\n", BodyFault::Malformed),
            (&[b'1'; 300], BodyFault::Malformed),
        ];
        for (body, fault) in cases {
            assert_eq!(run(&FramingKind::Unsigned, body, 3), Err(fault), "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(run(&signed(), b"5\r\nhello\r\n0\r\n\r\n", 3), Err(BodyFault::Malformed), "signatures are missing");
    }

    #[test]
    fn signed_chunks_share_a_budget() {
        let kind = signed();
        let head = format!("5;chunk-signature={}\r\n", "a".repeat(64));
        let mut first = Framing::new(kind.clone());
        let mut out = VecDeque::new();
        first.push(Bytes::from(head.clone()), &mut out).expect("there is room for one");
        let mut second = Framing::new(kind);
        assert_eq!(second.push(Bytes::from(head), &mut out), Err(BodyFault::Busy));
    }
}
