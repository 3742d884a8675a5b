//! A sealed content on its way out: segment by segment, none before its tag was checked.
//!
//! What was read and not opened yet is one piece of the download and a part of a segment at most.

use super::SealError;
use super::cipher::{NONCE_BYTES, Sealer};
use super::layout::Cut;
use crate::download::Content;
use crate::error::ObjectError;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use std::sync::Arc;

struct Opening {
    stored: BoxStream<'static, Result<Bytes, ObjectError>>,
    sealer: Arc<Sealer>,
    cut: Cut,
    /// Read, and not opened.
    pending: BytesMut,
}

/// Opens `stored`, which is the stored range of `cut`. The first segment is opened before the content is handed over.
pub(crate) async fn open(stored: Content, sealer: Arc<Sealer>, cut: Cut) -> Result<Content, ObjectError> {
    let wanted = cut.plain;
    let stored = match stored {
        Content::Whole(data) => stream::iter([Ok(data)]).boxed(),
        Content::Stream(stream) => stream,
    };
    let mut opening = Opening { stored, sealer, cut, pending: BytesMut::new() };
    let first = opening.next().await?.unwrap_or_default();
    if first.len() as u64 == wanted {
        return Ok(Content::Whole(first));
    }
    let rest = stream::try_unfold(opening, |mut opening| async move {
        Ok(opening.next().await?.map(|segment| (segment, opening)))
    });
    Ok(Content::Stream(stream::iter([Ok(first)]).chain(rest).boxed()))
}

impl Opening {
    /// The plain bytes of the next segment; `None` at the end of what is wanted.
    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.cut.plain == 0 {
            return Ok(None);
        }
        let place = self.cut.segments.next().ok_or(SealError::Damaged)?;
        while self.pending.len() < place.sealed() {
            let piece = self.stored.next().await.ok_or(SealError::Damaged)??;
            self.pending.extend_from_slice(&piece);
        }
        let mut segment = self.pending.split_to(place.sealed());
        self.sealer.open(&place, &mut segment)?;
        let skip = std::mem::take(&mut self.cut.skip).min(place.bytes);
        let take = self.cut.plain.min((place.bytes - skip) as u64) as usize;
        self.cut.plain -= take as u64;
        let start = NONCE_BYTES + skip;
        Ok(Some(segment.freeze().slice(start..start + take)))
    }
}
