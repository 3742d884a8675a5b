//! What a download counts and leaves behind.

use super::super::audit::{Client, DownloadEntry, Ending, Refused};
use super::super::limits::Tally;
use super::super::token::TokenFault;
use super::super::{Clock, Lending, LicenceEntry};
use super::Downloads;
use crate::metrics;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;

/// Of a download that is allowed and has not begun. Nothing comes of it if it never does.
pub(super) struct Ticket {
    downloads: Arc<Downloads>,
    entry: DownloadEntry,
    tally: Tally,
    token_bytes_max: u64,
    clock: Clock,
}

impl Ticket {
    pub(super) fn new(lending: &Lending, entry: DownloadEntry, tally: Tally) -> Self {
        let token_bytes_max = Tally::token_bytes_max(&lending.config, entry.len);
        Ticket {
            downloads: lending.downloads.clone(),
            entry,
            tally,
            token_bytes_max,
            clock: lending.config.clock.clone(),
        }
    }

    /// Bytes are going to be sent: `range` as it was asked for, `wanted` as it is.
    pub(super) fn begin(mut self, range: Option<Range<u64>>, wanted: &Range<u64>) -> Running {
        self.entry.range = range.map(|range| (range.start, range.end.saturating_sub(1)));
        self.entry.at = self.clock.now();
        let asked = wanted.end - wanted.start;
        if let Some(title) = &self.tally.title {
            self.downloads.meters.add(title, asked);
        }
        Running { ticket: self, asked, began: Instant::now(), ending: Ending::Left }
    }
}

/// Of a download in progress. It is recorded when this is dropped, if anything was sent.
pub(super) struct Running {
    ticket: Ticket,
    asked: u64,
    began: Instant,
    ending: Ending,
}

impl Running {
    /// Counts bytes that the network has taken.
    pub(super) fn deliver(&mut self, bytes: u64) {
        let Ticket { downloads, entry, tally, .. } = &mut self.ticket;
        entry.sent += bytes;
        [&tally.token, &tally.licence].into_iter().flatten().for_each(|meter| downloads.meters.add(meter, bytes));
        if entry.sent == self.asked {
            self.ending = Ending::Sent;
        }
    }

    /// Whether more may be sent.
    ///
    /// # Errors
    /// [`TokenFault::Spent`]: others have used the token at the same time.
    pub(super) fn go_on(&mut self) -> Result<(), TokenFault> {
        let Ticket { tally, token_bytes_max, .. } = &self.ticket;
        if tally.token.as_ref().is_some_and(|token| token.bytes() >= *token_bytes_max) {
            self.ending = Ending::Refused(Refused::TokenSpent);
            return Err(TokenFault::Spent);
        }
        Ok(())
    }

    /// The content cannot be read on.
    pub(super) fn fail(&mut self) {
        self.ending = Ending::Failed;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Ticket { downloads, entry, tally, .. } = &mut self.ticket;
        if let Some(title) = &tally.title {
            downloads.meters.give_back(title, self.asked - entry.sent.min(self.asked));
        }
        metrics::download_ended(self.ending.name(), entry.sent);
        if entry.sent == 0 {
            return;
        }
        let millis = u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX);
        downloads.journal.add(DownloadEntry { millis, ending: self.ending, ..entry.clone() });
    }
}

impl Lending {
    /// What is recorded of a request for a licence, as far as it is known before it is carried out.
    pub(super) fn entry_of(&self, licence: &LicenceEntry, permit: &super::Permit, client: &Client) -> DownloadEntry {
        DownloadEntry {
            at: self.config.clock.now(),
            nonce: self.downloads.nonce(),
            millis: 0,
            licence: licence.id,
            title: licence.title.clone(),
            version: licence.version,
            user: licence.user.clone(),
            authority: permit.authority(),
            gateway: self.downloads.gateway.clone(),
            address: client.address,
            agent: DownloadEntry::agent_of(client),
            range: None,
            len: 0,
            sent: 0,
            ending: Ending::Left,
        }
    }
}
