//! How much was downloaded: of a token, of a licence on a day, of a title in a minute; and what is too much.
//!
//! ```text
//! Meter of this gateway --every flush--> Counter, a record: what each gateway has sent --read with each licence--> Meter
//!   own: sent from here                                                                                            others: sent from elsewhere
//! ```
//! All counts are bytes, compared with copies of the title: whoever asks for a range, gives up, or goes on where he stopped uses no more than he was sent. A
//! gateway writes its own total, so a write that is repeated counts nothing twice, and two gateways never lose each other's. Gateways learn of each other with
//! the next request after a flush.
//!
//! A copy that a title's minute allows is counted when it is asked for, and what was not sent is given back: a thousand readers who begin at once are no fewer.

mod counter;

pub(super) use counter::Counter;

use super::audit::Refused;
use super::token::{Token, TokenFault};
use super::{LcpConfig, LcpError};
use crate::error::ClusterError;
use bytes::Bytes;
use drm::licence::LicenceId;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use types::Timestamp;

/// Meters held. With their keys they are 16 MiB; more are in use only if as many licences are downloaded within a minute.
const METERS_MAX: usize = 1 << 16;
/// One that nobody has used for so long is forgotten once it is written.
const METER_IDLE: Duration = Duration::from_secs(60);
/// How often a look for idle ones is worth it when there is no room.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const DAY_SECONDS: i64 = 24 * 3600;
const MINUTE_SECONDS: i64 = 60;

/// What is counted, and until when it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Key of the counter: the time until which it matters comes first, so that old ones are found.
    pub(super) key: Bytes,
    pub(super) until: Timestamp,
}

impl Counted {
    fn new(kind: u8, id: &[u8], until: i64) -> Self {
        let until = Timestamp::from_secs(until, 0);
        let key = [super::title::time_entry(until).as_slice(), &[kind], id].concat();
        Counted { key: key.into(), until }
    }

    pub(super) fn token(token: &Token) -> Self {
        Counted::new(b't', &token.id.0, token.expires.secs())
    }

    pub(super) fn licence_day(licence: LicenceId, now: Timestamp) -> Self {
        Counted::new(b'l', &licence.to_bytes(), period_end(now, DAY_SECONDS))
    }

    pub(super) fn title_minute(title: &str, now: Timestamp) -> Self {
        Counted::new(b'm', &Sha256::digest(title.as_bytes()), period_end(now, MINUTE_SECONDS))
    }
}

/// The first second behind the day or minute of a time.
fn period_end(now: Timestamp, seconds: i64) -> i64 {
    (now.secs().div_euclid(seconds) + 1).saturating_mul(seconds)
}

/// One count, as this gateway knows it.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) counted: Counted,
    own: AtomicU64,
    others: AtomicU64,
    /// Whether it waits to be written.
    waits: AtomicBool,
    used: Mutex<Instant>,
}

impl Meter {
    /// Bytes from all gateways, as far as this one knows.
    pub(super) fn bytes(&self) -> u64 {
        self.own.load(Ordering::Relaxed).saturating_add(self.others.load(Ordering::Relaxed))
    }

    /// Bytes from this one.
    pub(super) fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }
}

/// The meters of a gateway.
pub(super) struct Meters {
    /// Tells this life of this gateway from all others.
    pub(super) instance: u64,
    known: Mutex<HashMap<Bytes, Arc<Meter>>>,
    waiting: Mutex<Vec<Arc<Meter>>>,
    looked: Mutex<Option<Instant>>,
}

impl Meters {
    pub(super) fn new(instance: u64) -> Self {
        Meters { instance, known: Mutex::default(), waiting: Mutex::default(), looked: Mutex::default() }
    }

    /// The meter of a count whose record, if there is one, was just read.
    pub(super) fn meter(&self, counted: Counted, record: Option<&Counter>) -> Result<Arc<Meter>, ClusterError> {
        let (own, others) = record.map_or((0, 0), |record| record.split(self.instance));
        let mut known = self.known.lock();
        if let Some(meter) = known.get(&counted.key) {
            meter.others.store(others, Ordering::Relaxed);
            *meter.used.lock() = Instant::now();
            return Ok(meter.clone());
        }
        if known.len() >= METERS_MAX {
            self.make_room(&mut known)?;
        }
        let (own, others) = (AtomicU64::new(own), AtomicU64::new(others));
        let used = Mutex::new(Instant::now());
        let meter = Arc::new(Meter { counted: counted.clone(), own, others, waits: AtomicBool::new(false), used });
        known.insert(counted.key, meter.clone());
        Ok(meter)
    }

    /// Forgets meters that are idle, not more often than each second: nobody becomes idle in less, and to look at all of them takes a millisecond.
    fn make_room(&self, known: &mut HashMap<Bytes, Arc<Meter>>) -> Result<(), ClusterError> {
        let mut looked = self.looked.lock();
        if looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            *looked = Some(Instant::now());
            known.retain(|_, meter| !is_idle(meter));
        }
        if known.len() < METERS_MAX { Ok(()) } else { Err(ClusterError::Busy) }
    }

    /// Counts bytes.
    pub(super) fn add(&self, meter: &Arc<Meter>, bytes: u64) {
        meter.own.fetch_add(bytes, Ordering::Relaxed);
        self.wait(meter);
    }

    /// Gives back bytes that were counted here and not sent.
    pub(super) fn give_back(&self, meter: &Arc<Meter>, bytes: u64) {
        // Never more than was counted: whoever gives back has counted it before.
        meter.own.fetch_sub(bytes, Ordering::Relaxed);
        self.wait(meter);
    }

    fn wait(&self, meter: &Arc<Meter>) {
        if !meter.waits.swap(true, Ordering::AcqRel) {
            self.waiting.lock().push(meter.clone());
        }
    }

    /// Takes up to `max` meters that are to be written. What is counted from now on has them written once more.
    pub(super) fn take(&self, max: usize) -> Taken<'_> {
        let mut waiting = self.waiting.lock();
        let count = max.min(waiting.len());
        let meters: Vec<_> = waiting.drain(..count).collect();
        drop(waiting);
        meters.iter().for_each(|meter| meter.waits.store(false, Ordering::Release));
        Taken { from: self, meters, written: false }
    }

    /// Forgets those that do not matter any more.
    pub(super) fn sweep(&self) {
        self.known.lock().retain(|_, meter| !is_idle(meter));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.lock().len()
    }
}

/// Meters that are being written. Unless they were, they wait again when this is dropped.
pub(super) struct Taken<'a> {
    from: &'a Meters,
    pub(super) meters: Vec<Arc<Meter>>,
    written: bool,
}

impl Taken<'_> {
    pub(super) fn written(mut self) {
        self.written = true;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.written {
            self.meters.iter().for_each(|meter| self.from.wait(meter));
        }
    }
}

fn is_idle(meter: &Arc<Meter>) -> bool {
    // Nobody else can come by it while the map is locked.
    Arc::strong_count(meter) == 1 && !meter.waits.load(Ordering::Acquire) && meter.used.lock().elapsed() >= METER_IDLE
}

/// What one download counts on.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) token: Option<Arc<Meter>>,
    pub(super) licence: Option<Arc<Meter>>,
    pub(super) title: Option<Arc<Meter>>,
}

impl Tally {
    /// Whether another download of a title of `len` bytes may begin.
    pub(super) fn admit(&self, config: &LcpConfig, len: u64, now: Timestamp) -> Result<(), (LcpError, Refused)> {
        if self.token.as_ref().is_some_and(|token| token.bytes() >= copies(config.token_downloads, len)) {
            return Err((TokenFault::Spent.into(), Refused::TokenSpent));
        }
        for (meter, max, refused) in [
            (&self.licence, config.licence_downloads, Refused::LicenceLimit),
            (&self.title, config.title_downloads, Refused::TitleLimit),
        ] {
            let (Some(meter), Some(max)) = (meter, max) else { continue };
            if meter.bytes() >= copies(max, len) {
                let left = meter.counted.until.secs().saturating_sub(now.secs()).max(1);
                let retry_seconds = u32::try_from(left).unwrap_or(u32::MAX);
                return Err((LcpError::TooMany { retry_seconds }, refused));
            }
        }
        Ok(())
    }

    /// The bytes at which a download in progress ends, since the token is used by others at once. Whoever is admitted alone can read to the end.
    pub(super) fn token_bytes_max(config: &LcpConfig, len: u64) -> u64 {
        copies(config.token_downloads.saturating_add(1), len)
    }
}

fn copies(count: u32, len: u64) -> u64 {
    u64::from(count).saturating_mul(len.max(1))
}

#[cfg(test)]
mod tests;
