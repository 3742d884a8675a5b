//! A title: a book that is lent or sold, under one content key for good.

use super::records::Record;
use crate::keyring::WrappedKey;
use bytes::Bytes;
use drm::licence::LicenceId;
use drm::package::Kind;
use drm::splice::Layout;
use proto::record::{IndexEntry, RecordIndex, RecordSpace};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use types::{BucketId, Timestamp};

/// The space of titles.
pub const TITLES: RecordSpace = RecordSpace(1);
/// What stands for itself in the path of a URL (RFC 3986, `pchar`, less what some programs take for something else), and the slash between segments.
const PATH: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Bytes of a title's id. Stores use UUIDs, ISBNs, or numbers of their own.
const ID_BYTES_MAX: usize = 128;

/// Names a title. Ours are UUIDs; a store that brings its own titles names them itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TitleId(String);

/// What is no [`TitleId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a title has 1 to {ID_BYTES_MAX} of a-z A-Z 0-9 . _ ~ : -")]
pub struct BadTitleId;

impl TitleId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        TitleId(uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the content key is wrapped for.
    #[must_use]
    pub fn key_context(&self) -> Vec<u8> {
        [b"sago lcp content key\0".as_slice(), self.0.as_bytes()].concat()
    }
}

impl FromStr for TitleId {
    type Err = BadTitleId;

    fn from_str(text: &str) -> Result<Self, BadTitleId> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
        let holds = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(good);
        holds.then(|| TitleId(text.to_owned())).ok_or(BadTitleId)
    }
}

impl fmt::Display for TitleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The object that a title is made of, as it was at some version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its bucket.
    pub bucket: BucketId,
    /// The bucket's name.
    pub bucket_name: String,
    /// Its key.
    pub key: String,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// When it was stored.
    pub mtime: Timestamp,
    /// Bytes of it.
    pub size: u64,
}

impl Source {
    /// Whether it is the same content. One that was stored again as it was has another time, and needs no other package.
    #[must_use]
    pub fn is_like(&self, other: &Source) -> bool {
        (&self.etag, self.size) == (&other.etag, other.size)
    }
}

/// Why a title could not be protected, for those who count and sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// Neither its name nor its type is that of a book.
    Unsupported,
    /// It is not what its name or type says.
    Mislabelled,
    /// It is protected already, by LCP or another scheme.
    Protected,
    /// Its archive, its documents, its pages or its images are refused.
    Refused,
    /// Cluster or key service failed again and again, or the workers died of it.
    GivenUp,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] =
        [Fault::Unsupported, Fault::Mislabelled, Fault::Protected, Fault::Refused, Fault::GivenUp];

    /// As metrics and people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Unsupported => "unsupported",
            Fault::Mislabelled => "mislabelled",
            Fault::Protected => "protected-already",
            Fault::Refused => "refused",
            Fault::GivenUp => "given-up",
        }
    }
}

impl Source {
    /// Where its book can be downloaded with a token, below the address `base` of the gateways.
    #[must_use]
    pub fn download_url(&self, base: &str, licence: LicenceId, token: &str) -> String {
        let path = |text: &str| percent_encoding::utf8_percent_encode(text, PATH).to_string();
        let (bucket, key) = (path(&self.bucket_name), path(&self.key));
        format!("{base}/download/{bucket}/{key}?license={licence}&token={token}")
    }
}

/// Where a title stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It waits for a worker.
    Queued {
        /// Since when.
        since: Timestamp,
        /// Not before then: it was tried a moment ago, and the cluster did not do its part.
        due: Timestamp,
        /// How often it was tried before.
        tries: u32,
    },
    /// A worker protects it.
    Protecting {
        /// Which; a number that it chose for itself.
        worker: u64,
        /// It is given up if nothing is heard until then.
        until: Timestamp,
        /// Bytes of the source that it has read.
        done: u64,
        /// How often it was tried, with this time.
        tries: u32,
    },
    /// There is a package of the newest version.
    Ready,
    /// It cannot be protected, and is not offered. A new version is tried again.
    Failed {
        /// Of which kind the reason is.
        fault: Fault,
        /// Why, for the store.
        reason: String,
        /// Since when.
        at: Timestamp,
    },
    /// Its source was deleted. Licences go on as long as there is a package.
    Gone {
        /// Since when it was known.
        at: Timestamp,
    },
}

impl Standing {
    /// The number that stands for it in an index.
    #[must_use]
    pub fn number(&self) -> u8 {
        match self {
            Standing::Queued { .. } => 1,
            Standing::Protecting { .. } => 2,
            Standing::Ready => 3,
            Standing::Failed { .. } => 4,
            Standing::Gone { .. } => 5,
        }
    }

    /// As people read it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Standing::Queued { .. } => "queued",
            Standing::Protecting { .. } => "protecting",
            Standing::Ready => "ready",
            Standing::Failed { .. } => "failed",
            Standing::Gone { .. } => "gone",
        }
    }
}

/// Where a package lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the system bucket.
    Here {
        /// The object's key.
        key: String,
        /// How it is made up, for the splice.
        layout: Layout,
        /// What kind it is.
        kind: Kind,
    },
    /// Somewhere else; the store encrypted it.
    There {
        /// Its address.
        href: String,
    },
}

/// A title as it is sent: encrypted, without a licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Counts the versions of the title, from 1.
    pub version: u32,
    /// Where it lies.
    pub place: Place,
    /// Bytes of it.
    pub len: u64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// Its media type.
    pub media_type: String,
    /// When it was made.
    pub made: Timestamp,
    /// The entity tag of the source that it was made of; `None`: the store encrypted it.
    pub source_etag: Option<String>,
    /// When the next version took its place.
    pub replaced: Option<Timestamp>,
}

/// A title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// Its id.
    pub id: TitleId,
    /// Another id, by which the store knows it.
    pub alt_id: Option<String>,
    /// What the book is called.
    pub name: Option<String>,
    /// What it is made of; `None`: it came encrypted.
    pub source: Option<Source>,
    /// The content key, wrapped for [`TitleId::key_context`]. The same for all versions, or licences that were sold would not open the next one.
    pub content_key: WrappedKey,
    /// Where it stands.
    pub standing: Standing,
    /// Its packages, the newest last; at most [`Title::PACKAGES_MAX`].
    pub packages: Vec<Package>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// Indexes of titles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TitleIndex {
    /// By source: [`Title::source_entry`].
    Source,
    /// By the store's other id: [`Title::alt_entry`].
    Alt,
    /// By where it stands, then by time: what waits by when it is due, what is being protected by when its lease is over, all else by its last change.
    Standing,
    /// By bucket, then by title.
    Bucket,
    /// By media type of the newest package.
    Format,
}

impl TitleIndex {
    /// Its number.
    #[must_use]
    pub fn index(self) -> RecordIndex {
        RecordIndex(match self {
            TitleIndex::Source => 1,
            TitleIndex::Alt => 2,
            TitleIndex::Standing => 3,
            TitleIndex::Bucket => 4,
            TitleIndex::Format => 5,
        })
    }

    fn entry(self, entry: impl Into<Bytes>) -> IndexEntry {
        IndexEntry { index: self.index(), entry: entry.into() }
    }
}

impl Title {
    /// Versions of a title that are kept. Licences name one, and are brought to the newest when they are next asked for.
    pub const PACKAGES_MAX: usize = 8;

    /// The newest package.
    #[must_use]
    pub fn package(&self) -> Option<&Package> {
        self.packages.last()
    }

    /// The package of a version.
    #[must_use]
    pub fn version(&self, version: u32) -> Option<&Package> {
        self.packages.iter().find(|package| package.version == version)
    }

    /// The index entry of a source. Keys can be longer than entries, so it is a hash.
    #[must_use]
    pub fn source_entry(bucket: BucketId, key: &str) -> Bytes {
        let hash = Sha256::new().chain_update(bucket.0.to_be_bytes()).chain_update(key.as_bytes()).finalize();
        Bytes::copy_from_slice(&hash)
    }

    /// The index entry of a media type: what can be that long is no media type.
    #[must_use]
    pub fn format_entry(media_type: &str) -> Bytes {
        Bytes::copy_from_slice(&media_type.as_bytes()[..media_type.len().min(128)])
    }

    /// The index entry of another id.
    #[must_use]
    pub fn alt_entry(alt_id: &str) -> Bytes {
        Bytes::copy_from_slice(&Sha256::digest(alt_id.as_bytes()))
    }
}

impl Standing {
    /// By which time those of one standing are sorted; `updated` is that of the title.
    fn sorted_by(&self, updated: Timestamp) -> Timestamp {
        match self {
            Standing::Queued { due, .. } => *due,
            Standing::Protecting { until, .. } => *until,
            Standing::Ready | Standing::Failed { .. } | Standing::Gone { .. } => updated,
        }
    }
}

/// A time in the order of its bytes.
pub(crate) fn time_entry(at: Timestamp) -> [u8; 8] {
    (at.0 as u64 ^ 1 << 63).to_be_bytes()
}

impl Record for Title {
    const SPACE: RecordSpace = TITLES;
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        Bytes::copy_from_slice(self.id.0.as_bytes())
    }

    fn entries(&self) -> Vec<IndexEntry> {
        let sorted_by = self.standing.sorted_by(self.updated);
        let standing = [&[self.standing.number()], time_entry(sorted_by).as_slice()].concat();
        let mut entries = vec![TitleIndex::Standing.entry(standing)];
        if let Some(source) = &self.source {
            entries.push(TitleIndex::Source.entry(Title::source_entry(source.bucket, &source.key)));
            entries.push(TitleIndex::Bucket.entry(source.bucket.0.to_be_bytes().to_vec()));
        }
        entries.extend(self.alt_id.iter().map(|alt_id| TitleIndex::Alt.entry(Title::alt_entry(alt_id))));
        let format = self.package().map(|package| package.media_type.as_str());
        entries.extend(format.map(|format| TitleIndex::Format.entry(Title::format_entry(format))));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_words_without_surprises() {
        for good in ["a", "9788954692014", "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10", "urn:isbn:1"] {
            assert_eq!(good.parse::<TitleId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        let long = "a".repeat(ID_BYTES_MAX + 1);
        for bad in ["", "a/b", "책", "a b", "a\n", long.as_str()] {
            assert_eq!(bad.parse::<TitleId>(), Err(BadTitleId), "{bad:?}");
        }
    }

    fn sample() -> Title {
        let layout = Layout { len: 9, sha256: [3; 32], cd_offset: 7, cd_size: 2, entries: 1, zip64: false };
        let place = Place::Here { key: "packages/t/1-0".into(), layout, kind: Kind::Pdf };
        let package = Package {
            version: 1,
            place,
            len: 9,
            sha256: [3; 32],
            media_type: "application/pdf+lcp".into(),
            made: Timestamp(5),
            source_etag: Some("e".into()),
            replaced: None,
        };
        let there = Place::There { href: "https://a".into() };
        Title {
            id: TitleId("t".into()),
            alt_id: Some("a".into()),
            name: None,
            source: Some(Source {
                bucket: BucketId(258),
                bucket_name: "b".into(),
                key: "k".into(),
                etag: "e".into(),
                mtime: Timestamp(1),
                size: 2,
            }),
            content_key: WrappedKey { kek: "k1".into(), sealed: vec![7, 8] },
            standing: Standing::Protecting { worker: 6, until: Timestamp(4), done: 2, tries: 1 },
            packages: vec![package.clone(), Package { version: 2, place: there, source_etag: None, ..package }],
            created: Timestamp(0),
            updated: Timestamp(-1),
        }
    }

    #[test]
    fn titles_have_these_bytes_and_stand_in_these_indexes() {
        let change = super::super::records::put(&sample(), proto::record::Expected::Any).expect("it can be kept");
        let content = change.content.expect("it is put");
        let expected = concat!(
            "010174010161000182020162016b01650202026b3102070801060802010201000e7061636b616765732f742f312d3009030303030303030303030303",
            "030303030303030303030303030303030303030307020100010903030303030303030303030303030303030303030303030303030303030303031361",
            "70706c69636174696f6e2f7064662b6c63700a0101650002010968747470733a2f2f6109030303030303030303030303030303030303030303030303",
            "0303030303030303136170706c69636174696f6e2f7064662b6c63700a00000001"
        );
        assert_eq!(hex::encode(&content.value), expected);
        let entries: Vec<_> = content.entries.iter().map(|entry| (entry.index.0, hex::encode(&entry.entry))).collect();
        let source = hex::encode(Sha256::digest(b"\0\0\0\0\0\0\x01\x02k"));
        let alt = hex::encode(Sha256::digest(b"a"));
        let expected = [
            (3, "028000000000000004".to_owned()),
            (1, source),
            (4, "0000000000000102".to_owned()),
            (2, alt),
            (5, hex::encode("application/pdf+lcp")),
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn the_address_of_a_download_has_any_key() {
        let source = Source {
            bucket: BucketId(1),
            bucket_name: "books".to_owned(),
            key: "시/a b?.epub".to_owned(),
            etag: String::new(),
            mtime: Timestamp::default(),
            size: 0,
        };
        let licence: LicenceId = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id");
        let url = source.download_url("https://b.example", licence, "T");
        assert_eq!(url, format!("https://b.example/download/books/%EC%8B%9C/a%20b%3F.epub?license={licence}&token=T"));
    }

    #[test]
    fn times_sort_as_their_bytes_do() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX].map(|at| time_entry(Timestamp(at)));
        assert!(times.is_sorted());
    }
}
