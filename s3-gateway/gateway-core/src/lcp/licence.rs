//! A licence as it is kept.

use super::records::Record;
use super::title::time_entry;
use super::{LcpError, TitleId};
use bytes::Bytes;
use drm::licence::{Licence, LicenceId, Link};
use drm::status;
use proto::record::{IndexEntry, RecordIndex, RecordSpace};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use types::Timestamp;

/// The space of licences.
pub const LICENCES: RecordSpace = RecordSpace(2);

/// A licence: what one reader was granted, and what became of it. Document and status change together, in one command.
///
/// Neither the passphrase nor its hash nor the user key is here; what the document says of the reader beyond his id is encrypted in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceEntry {
    /// Its id.
    pub id: LicenceId,
    /// The title.
    pub title: TitleId,
    /// The version of the title that the document names.
    pub version: u32,
    /// How the store calls the reader.
    pub user: String,
    /// When it was first issued.
    pub issued: Timestamp,
    /// The document, as it was signed: always these bytes are sent.
    pub document: String,
    /// The links that it alone has, besides those of the store.
    pub links: Vec<Link>,
    /// Where it stands, its devices and events.
    pub status: status::Record,
    /// Chosen by who asked for it: the same request made again is the same licence.
    pub nonce: Option<[u8; 16]>,
}

/// Indexes of licences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenceIndex {
    /// By title, then by issue.
    Title,
    /// By reader, then by issue.
    User,
    /// By issue.
    Issued,
    /// By where it stands (but for expiry), then by issue.
    State,
    /// By how many devices have registered.
    Devices,
    /// By its end; only loans.
    End,
}

impl LicenceIndex {
    /// Its number.
    #[must_use]
    pub fn index(self) -> RecordIndex {
        RecordIndex(match self {
            LicenceIndex::Title => 1,
            LicenceIndex::User => 2,
            LicenceIndex::Issued => 3,
            LicenceIndex::State => 4,
            LicenceIndex::Devices => 5,
            LicenceIndex::End => 6,
        })
    }

    fn entry(self, parts: &[&[u8]]) -> IndexEntry {
        IndexEntry { index: self.index(), entry: parts.concat().into() }
    }
}

impl LicenceEntry {
    /// What index entries of a title or a reader begin with. Ids can be longer than entries, so it is a hash.
    #[must_use]
    pub fn prefix_of(id: &str) -> [u8; 32] {
        Sha256::digest(id.as_bytes()).into()
    }

    /// What index entries of a state begin with.
    #[must_use]
    pub fn state_number(state: status::State) -> u8 {
        match state {
            status::State::Ready => 1,
            status::State::Active => 2,
            status::State::Returned => 3,
            status::State::Revoked => 4,
            status::State::Expired => 5,
            status::State::Cancelled => 6,
        }
    }

    /// Whether it was given back or taken back. What has only ended can be renewed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.status.state.is_open()
    }

    /// The document, read.
    ///
    /// # Errors
    /// [`LcpError::Damaged`].
    pub fn document_json(&self) -> Result<serde_json::Value, LcpError> {
        serde_json::from_str(&self.document).map_err(|error| LcpError::Damaged(error.to_string()))
    }

    /// What the document says.
    ///
    /// # Errors
    /// [`LcpError::Damaged`]: it is none.
    pub fn read(&self) -> Result<Licence, LcpError> {
        Ok(Licence::parse(self.document.as_bytes())?)
    }

    /// The key of a licence's record.
    #[must_use]
    pub fn key_of(id: LicenceId) -> Bytes {
        id.to_string().into_bytes().into()
    }
}

impl Record for LicenceEntry {
    const SPACE: RecordSpace = LICENCES;
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        LicenceEntry::key_of(self.id)
    }

    fn entries(&self) -> Vec<IndexEntry> {
        let issued = time_entry(self.issued);
        let devices = u32::try_from(self.status.devices().len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut entries = vec![
            LicenceIndex::Title.entry(&[&LicenceEntry::prefix_of(self.title.as_str()), &issued]),
            LicenceIndex::User.entry(&[&LicenceEntry::prefix_of(&self.user), &issued]),
            LicenceIndex::Issued.entry(&[&issued]),
            LicenceIndex::State.entry(&[&[LicenceEntry::state_number(self.status.state)], &issued]),
            LicenceIndex::Devices.entry(&[&devices]),
        ];
        entries.extend(self.status.end.map(|end| LicenceIndex::End.entry(&[&time_entry(end)])));
        entries
    }
}
