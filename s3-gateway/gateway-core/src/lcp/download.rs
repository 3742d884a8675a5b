//! Downloads: a stored package and one reader's licence as one file, sent as it lies.
//!
//! ```text
//! request -> token or user -> licence, read linearizably, with its counters -> title (a second old at most) -> open? within limits? -> package -> Download
//!
//! Download   E[0 .. cd_offset)           read as any object is, the same buffers go to the network
//!            licence's entry             made for this download, some four thousand bytes
//!            central directory of E      held once for all ([`shelf`])
//!            one header, the end         made for this download, some hundred bytes
//! ```
//! The licence is read anew for each request, also of a range: one that was taken back opens nothing more at any gateway from that moment on. The package is
//! always that of the version that the licence names, and an object whose size is not the package's is not sent. Nothing of a book is sent before all that is known to be right.
//!
//! Memory of a download: [`PACE`], the licence and some hundred bytes, whatever the title has.

mod body;
mod open;
mod package;
mod shelf;
mod ticket;

pub use body::DownloadBody;
pub use open::{DownloadRequest, Permit};
pub use package::OpenPackage;

use super::audit::Journal;
use super::limits::Meters;
use super::token::TokenSecrets;
use super::{LcpConfig, LcpError, Title, TitleId};
use crate::cache::Cache;
use crate::condition::ReadCondition;
use crate::download::Pace;
use crate::error::{ObjectError, Validators};
use crate::object::IfRange;
use crate::range::ByteRange;
use crate::store::Store;
use bytes::Bytes;
use drm::package::Kind;
use shelf::{Shelf, Shelved};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ticket::Ticket;
use types::Timestamp;

/// A piece in the hands of the network, the rest of the one before it, and two that are read meanwhile: 1 MiB at most for a reader who does not read. Smaller pieces
/// cost calls; with one on its way less, a single reader waits for it.
const PACE: Pace = Pace { first: 256 << 10, piece: 256 << 10, ahead: 3 };
const _: () = assert!((PACE.piece as usize).is_multiple_of(types::LEAF_BYTES) && (PACE.ahead + 1) * PACE.piece as usize <= 1 << 20);

/// How old what is known of a title or a package may be. Both change only by a new version, and old ones are kept for much longer.
const FRESH: Duration = Duration::from_secs(1);
/// Titles, and packages' places, that are known. A title has a few kilobytes, the place of a book of 5 GiB a hundred.
const KNOWN_MAX: usize = 512;

/// What all downloads of a gateway share.
pub(super) struct Downloads {
    pub(super) secrets: TokenSecrets,
    pub(super) journal: Journal,
    pub(super) meters: Meters,
    /// Held by whoever writes records and counters.
    pub(super) writing: tokio::sync::Mutex<()>,
    pub(super) gateway: String,
    entries: AtomicU64,
    titles: Arc<Cache<TitleId, Arc<Title>>>,
    shelf: Shelf,
}

impl Downloads {
    pub(super) fn new(config: &LcpConfig) -> Self {
        let instance = rand::random();
        Downloads {
            secrets: TokenSecrets::default(),
            journal: Journal::default(),
            meters: Meters::new(instance),
            writing: tokio::sync::Mutex::default(),
            gateway: format!("{}:{instance:016x}", config.gateway),
            entries: AtomicU64::new(u64::from(rand::random::<u32>()) << 32),
            titles: Cache::new(FRESH, FRESH, KNOWN_MAX),
            shelf: Shelf::new(config.directory_bytes_max, FRESH, KNOWN_MAX),
        }
    }
}

impl Downloads {
    /// Tells an entry from others of the same moment, and which of one gateway's came first.
    fn nonce(&self) -> u64 {
        self.entries.fetch_add(1, Ordering::Relaxed)
    }
}

/// A file that is ready to be sent: of one reader, or a package alone.
pub struct Download {
    store: Store,
    package: Arc<Shelved>,
    /// What of the package comes first, and what comes behind it.
    stored: u64,
    tail: [Bytes; 3],
    validators: Validators,
    media_type: String,
    file_name: String,
    ticket: Option<Ticket>,
}

/// What a client asks for of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What is demanded of it.
    pub condition: ReadCondition,
    /// Only these bytes.
    pub range: Option<ByteRange>,
    /// The range counts only if this is still the file.
    pub if_range: Option<IfRange>,
}

impl Download {
    /// Bytes of the whole. Never none.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no archive is empty")]
    pub fn len(&self) -> u64 {
        self.stored + self.tail.iter().map(|part| part.len() as u64).sum::<u64>()
    }

    /// Strong entity tag without quotes, the same at every gateway, and the last change.
    #[must_use]
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// What it is called when it is saved: the name of the source with the extension of the package.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Which bytes are to be sent; `None`: all.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`], [`ObjectError::NotModified`], [`ObjectError::RangeNotSatisfiable`].
    pub fn choose(&self, wanted: &Wanted) -> Result<Option<Range<u64>>, ObjectError> {
        wanted.condition.check(&self.validators)?;
        let size = self.len();
        match wanted.range {
            Some(range) if wanted.if_range.as_ref().is_none_or(|only| only.holds(&self.validators)) => {
                range.resolve(size).ok_or(ObjectError::RangeNotSatisfiable { size }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Begins to send bytes that [`Download::choose`] has chosen. What cannot be read at all is an error here, before anything is sent. The download is recorded
    /// when the body ends or is dropped.
    ///
    /// # Errors
    /// The cluster's. [`LcpError::Damaged`]: a range that is not within the file.
    pub async fn read(self, range: Option<Range<u64>>) -> Result<DownloadBody, LcpError> {
        let len = self.len();
        let wanted = range.clone().unwrap_or(0..len);
        if wanted.is_empty() || wanted.end > len {
            return Err(LcpError::Damaged("a range outside of the file".to_owned()));
        }
        let mut running = self.ticket.map(|ticket| ticket.begin(range, &wanted));
        let stored = wanted.start.min(self.stored)..wanted.end.min(self.stored);
        let content = self.package.read(&self.store, stored, PACE).await;
        if content.is_err()
            && let Some(running) = &mut running
        {
            running.fail();
        }
        let content = content?;
        let tail = part(self.tail, wanted.start.saturating_sub(self.stored)..wanted.end.saturating_sub(self.stored));
        Ok(DownloadBody::new(content, tail, wanted.end - wanted.start, running))
    }
}

/// A range of bytes that lie one behind the other, without copying them.
fn part(slices: [Bytes; 3], range: Range<u64>) -> [Bytes; 3] {
    let mut at = 0;
    slices.map(|slice| {
        let own = at..at + slice.len() as u64;
        at = own.end;
        let (start, end) = (range.start.clamp(own.start, own.end), range.end.clamp(own.start, own.end));
        if start < end { slice.slice((start - own.start) as usize..(end - own.start) as usize) } else { Bytes::new() }
    })
}

/// The name of a file: that of what it was made of, with the extension of the package.
fn file_name(title: &Title, kind: Kind) -> String {
    let source = title.source.as_ref().and_then(|source| source.key.rsplit('/').next());
    let name = source.or(title.name.as_deref()).filter(|name| !name.is_empty()).unwrap_or_else(|| title.id.as_str());
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{}{}", if stem.is_empty() { name } else { stem }, kind.extension())
}

fn validators(etag: &str, mtime: Timestamp) -> Validators {
    Validators { etag: etag.trim_matches('"').to_owned(), mtime }
}

#[cfg(test)]
mod tests;
