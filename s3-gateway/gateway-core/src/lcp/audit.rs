//! The record of each download: who was sent what, when, from where; and who was refused.
//!
//! ```text
//! download ends --> Journal (bounded, in memory) --64 at a time, every 250 ms--> records, by time --after keep_audit--> removed
//! ```
//! A download never waits for its record. If the cluster takes none for so long that the journal is full, what comes then is counted as dropped; refusals have
//! half of the journal, so that nobody hides a download behind a thousand requests that are refused.
//!
//! Bytes are those that the network has taken, as far as the gateway can tell: what lies in the buffers of the machine when a client goes away counts as sent.

mod expiry;
mod journal;
mod query;
mod writer;

pub(super) use journal::Journal;
pub use query::DownloadFilter;

use super::TitleId;
use super::records::Record;
use super::title::time_entry;
use super::token::TokenId;
use bytes::Bytes;
use drm::licence::LicenceId;
use proto::record::{IndexEntry, RecordIndex, RecordSpace};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use types::Timestamp;

/// The space of downloads.
pub const DOWNLOADS: RecordSpace = RecordSpace(3);
/// Bytes that are kept of what a client says of itself.
const AGENT_BYTES_MAX: usize = 200;

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The address, as the gateway sees it.
    pub address: Option<IpAddr>,
    /// `User-Agent`, as it was sent.
    pub agent: Option<String>,
}

/// On whose authority something was downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authority {
    /// A token's; its id.
    Token(String),
    /// A user's of the cluster, who has the right.
    User(String),
}

impl Authority {
    pub(super) fn of_token(id: TokenId) -> Self {
        Authority::Token(id.to_string())
    }
}

/// Why a download was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refused {
    /// The licence does not begin yet.
    NotYetValid,
    /// Its end has passed.
    Expired,
    /// The reader gave it back.
    Returned,
    /// The store took it back.
    Revoked,
    /// It was given or taken back before it was used.
    Cancelled,
    /// The token was used up.
    TokenSpent,
    /// The licence had all its downloads of the day.
    LicenceLimit,
    /// The title had all its downloads of the minute.
    TitleLimit,
}

impl Refused {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refused::NotYetValid => "not yet valid",
            Refused::Expired => "expired",
            Refused::Returned => "returned",
            Refused::Revoked => "revoked",
            Refused::Cancelled => "cancelled",
            Refused::TokenSpent => "token used up",
            Refused::LicenceLimit => "licence limit",
            Refused::TitleLimit => "title limit",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// All that was asked for was sent.
    Sent,
    /// The client went away before.
    Left,
    /// The content could not be read on.
    Failed,
    /// Nothing was sent, or no more.
    Refused(Refused),
}

impl Ending {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Ending::Sent => "sent",
            Ending::Left => "left",
            Ending::Failed => "failed",
            Ending::Refused(refused) => refused.name(),
        }
    }
}

/// One request, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadEntry {
    /// When it began.
    pub at: Timestamp,
    /// Tells it from others of the same moment; of those from one gateway the later has the greater one.
    pub nonce: u64,
    /// How long it took.
    pub millis: u32,
    /// The licence.
    pub licence: LicenceId,
    /// The title.
    pub title: TitleId,
    /// The version of the title.
    pub version: u32,
    /// How the store calls the reader.
    pub user: String,
    /// Who allowed it.
    pub authority: Authority,
    /// The gateway: its name, and the number of its life.
    pub gateway: String,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What the client says of itself; at most 200 bytes, without control characters.
    pub agent: Option<String>,
    /// First and last byte that was asked for, if not all.
    pub range: Option<(u64, u64)>,
    /// Bytes of the whole.
    pub len: u64,
    /// Bytes sent.
    pub sent: u64,
    /// How it ended.
    pub ending: Ending,
}

/// Indexes of downloads, each followed by the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DownloadIndex {
    Licence,
    Title,
    User,
}

impl DownloadIndex {
    fn index(self) -> RecordIndex {
        RecordIndex(match self {
            DownloadIndex::Licence => 1,
            DownloadIndex::Title => 2,
            DownloadIndex::User => 3,
        })
    }

    /// What entries of that id begin with. Ids can be longer than entries, so it is a hash.
    fn prefix(id: &str) -> [u8; 32] {
        Sha256::digest(id.as_bytes()).into()
    }

    fn entry(self, id: &str, at: Timestamp) -> IndexEntry {
        let entry = [DownloadIndex::prefix(id).as_slice(), &time_entry(at)].concat();
        IndexEntry { index: self.index(), entry: entry.into() }
    }
}

impl DownloadEntry {
    /// What is kept of what a client says of itself.
    pub(super) fn agent_of(client: &Client) -> Option<String> {
        let text: String =
            client.agent.as_deref()?.chars().filter(|char| !char.is_control()).take(AGENT_BYTES_MAX).collect();
        let end = text.floor_char_boundary(AGENT_BYTES_MAX);
        (end > 0).then(|| text[..end].to_owned())
    }
}

impl Record for DownloadEntry {
    const SPACE: RecordSpace = DOWNLOADS;
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        [time_entry(self.at), self.nonce.to_be_bytes()].concat().into()
    }

    fn entries(&self) -> Vec<IndexEntry> {
        vec![
            DownloadIndex::Licence.entry(&self.licence.to_string(), self.at),
            DownloadIndex::Title.entry(self.title.as_str(), self.at),
            DownloadIndex::User.entry(&self.user, self.at),
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that is like many.
    pub(in crate::lcp) fn entry(at: i64, nonce: u64) -> DownloadEntry {
        DownloadEntry {
            at: Timestamp(at),
            nonce,
            millis: 5,
            licence: "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id"),
            title: "title".parse().expect("an id"),
            version: 1,
            user: "독자".to_owned(),
            authority: Authority::Token("07".repeat(15)),
            gateway: "gw:0000000000000001".to_owned(),
            address: "2001:db8::1".parse().ok(),
            agent: Some("Thorium".to_owned()),
            range: Some((0, 9)),
            len: 100,
            sent: 10,
            ending: Ending::Sent,
        }
    }

    #[test]
    fn what_a_client_says_of_itself_is_short_and_clean() {
        let agent = |text: &str| DownloadEntry::agent_of(&Client { address: None, agent: Some(text.to_owned()) });
        assert_eq!(agent("Thorium\r\nX: 1\u{7f}"), Some("ThoriumX: 1".to_owned()));
        assert_eq!(agent("\n"), None);
        assert_eq!(agent(&"a".repeat(1000)).map(|text| text.len()), Some(AGENT_BYTES_MAX));
        assert_eq!(agent(&"책".repeat(1000)).map(|text| text.len()), Some(AGENT_BYTES_MAX / 3 * 3));
    }

    #[test]
    fn keys_sort_by_time() {
        let mut keys = [entry(-1, 9), entry(0, 1), entry(0, 2), entry(1, 0)].map(|entry| entry.key());
        assert!(keys.is_sorted());
        keys.reverse();
        assert!(!keys.is_sorted());
    }
}
