//! What users may do with protected content beside what is their own: records of the system bucket, remembered for a moment.
//!
//! ```text
//! records of sago-lcp   space 8   key: the user's name   value: version byte, then what that version has
//! ```
//! Who has no record has no right. A record that cannot be read is an error: it gives no right either.

use crate::error::{BucketError, ClusterError};
use crate::list::bucket_refusal;
use crate::store::{Store, surprise};
use crate::system::SYSTEM_BUCKET;
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::record::{
    Expected, FoundRecords, RECORD_PAGE_MAX, RecordChange, RecordContent, RecordCursor, RecordKey, RecordScan,
    RecordSpace, RecordView,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The space of the records of rights in the system bucket.
pub const RIGHTS_SPACE: RecordSpace = RecordSpace(8);

/// Buckets named in one user's rights. Whoever reads more of them may read all.
pub const RIGHT_BUCKETS_MAX: usize = 1024;

/// Times that a change is tried anew because somebody else was first.
const RACES_MAX: usize = 16;

/// Names of users that can be asked about.
const USER_BYTES_MAX: usize = 64;

/// History: 1 = plain reads, lending, downloads.
const VERSION: u8 = 1;

/// A right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read plain bytes of the marked bucket of this name, or of all of them, as far as buckets are the user's to read.
    PlainRead(Option<String>),
    /// To ask for licences and to change them.
    Lend,
    /// To download on behalf of readers.
    Download,
}

/// In which marked buckets a user may read plain bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlainRead {
    /// In those of these names.
    Named(BTreeSet<String>),
    /// In all.
    All,
}

/// The rights of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Where plain bytes may be read.
    pub plain_read: PlainRead,
    /// Whether licences may be asked for and changed.
    pub lend: bool,
    /// Whether downloads may be made on behalf of readers.
    pub download: bool,
}

impl Default for Rights {
    /// None.
    fn default() -> Self {
        Rights { plain_read: PlainRead::Named(BTreeSet::new()), lend: false, download: false }
    }
}

impl Rights {
    /// Whether plain bytes of the marked bucket of this name may be read.
    #[must_use]
    pub fn reads_plain(&self, bucket: &str) -> bool {
        match &self.plain_read {
            PlainRead::Named(names) => names.contains(bucket),
            PlainRead::All => true,
        }
    }

    fn add(&mut self, right: &Right) -> Result<(), RightsError> {
        match right {
            Right::PlainRead(None) => self.plain_read = PlainRead::All,
            Right::PlainRead(Some(bucket)) => {
                if let PlainRead::Named(names) = &mut self.plain_read {
                    names.insert(bucket.clone());
                    if names.len() > RIGHT_BUCKETS_MAX {
                        return Err(RightsError::TooMany);
                    }
                }
            }
            Right::Lend => self.lend = true,
            Right::Download => self.download = true,
        }
        Ok(())
    }

    fn remove(&mut self, right: &Right) -> Result<(), RightsError> {
        match (right, &mut self.plain_read) {
            (Right::PlainRead(None), plain_read) => *plain_read = PlainRead::Named(BTreeSet::new()),
            (Right::PlainRead(Some(bucket)), PlainRead::Named(names)) => {
                names.remove(bucket);
            }
            (Right::PlainRead(Some(_)), PlainRead::All) => return Err(RightsError::All),
            (Right::Lend, _) => self.lend = false,
            (Right::Download, _) => self.download = false,
        }
        Ok(())
    }

    fn to_bytes(&self) -> Result<Bytes, ClusterError> {
        postcard::to_extend(self, vec![VERSION]).map(Bytes::from).map_err(|error| surprise(&error))
    }

    fn from_bytes(value: &[u8]) -> Result<Self, ClusterError> {
        let rights = value.split_first().and_then(|(version, rest)| match version {
            &VERSION => postcard::take_from_bytes::<Rights>(rest).ok().filter(|(_, behind)| behind.is_empty()),
            _ => None,
        });
        let form = "the rights of a user are of a form that this program does not know";
        rights.map(|(rights, _)| rights).ok_or_else(|| ClusterError::Unexpected(form.into()))
    }
}

/// Rights were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RightsError {
    /// Not a user's name.
    #[error("not a name of a user")]
    User,
    /// There is no system bucket, so nobody has any right.
    #[error("the cluster keeps no rights yet, since nothing has made its bucket {SYSTEM_BUCKET}")]
    NoSystem,
    /// Too many buckets are named.
    #[error("a user's rights may name {RIGHT_BUCKETS_MAX} buckets at most")]
    TooMany,
    /// The right holds for all buckets and cannot be taken for one.
    #[error("the user may read all buckets: take that right as a whole, and give those that are to stay")]
    All,
    /// The cluster's fault.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl From<ClusterError> for RightsError {
    fn from(error: ClusterError) -> Self {
        RightsError::Bucket(error.into())
    }
}

impl Store {
    /// The rights of a user, as this process knew them at most [`crate::StoreConfig::cache_stale`] ago.
    ///
    /// # Errors
    /// [`BucketError`]: they are not known, and nothing may be allowed by them.
    pub async fn rights_of(&self, user: &str) -> Result<Arc<Rights>, BucketError> {
        let Some(bucket) = self.system_bucket().await?.filter(|_| is_user(user)) else { return Ok(Arc::default()) };
        let (store, name) = (self.clone(), user.to_owned());
        let ask = || async move {
            let found = store.ask_rights(&bucket, &name).await?;
            Ok(Some(found.map(|(rights, _)| Arc::new(rights)).unwrap_or_default()))
        };
        Ok(self.rights.get(&user.to_owned(), ask).await?.unwrap_or_default())
    }

    /// Gives a user a right, for good; one that the user has stays. For operators.
    ///
    /// # Errors
    /// [`RightsError`].
    pub async fn grant(&self, user: &str, right: &Right) -> Result<Rights, RightsError> {
        self.change_rights(user, |rights| rights.add(right)).await
    }

    /// Takes a right from a user; one that the user does not have is no error. For operators.
    ///
    /// # Errors
    /// [`RightsError`].
    pub async fn revoke(&self, user: &str, right: &Right) -> Result<Rights, RightsError> {
        self.change_rights(user, |rights| rights.remove(right)).await
    }

    /// All users that have rights, by name.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn list_rights(&self) -> Result<Vec<(String, Rights)>, BucketError> {
        let Some(bucket) = self.system_bucket().await? else { return Ok(Vec::new()) };
        let (mut all, mut after): (_, Option<RecordCursor>) = (Vec::new(), None);
        loop {
            let (from, max) = (Bytes::new(), RECORD_PAGE_MAX);
            let scan = RecordScan { space: RIGHTS_SPACE, by: None, from, to: None, after, keys_only: false, max };
            let page = match self.query(&bucket, Query::ScanRecords { bucket: bucket.id, scan }).await? {
                Ok(Answer::RecordPage(page)) => page,
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal)),
            };
            let FoundRecords::Views(views) = page.found else { return Err(surprise(&page.found).into()) };
            for view in views {
                let user = String::from_utf8_lossy(&view.key).into_owned();
                all.push((user, Rights::from_bytes(&view.content.value)?));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn change_rights(
        &self,
        user: &str,
        change: impl Fn(&mut Rights) -> Result<(), RightsError>,
    ) -> Result<Rights, RightsError> {
        if !is_user(user) {
            return Err(RightsError::User);
        }
        let bucket = self.system_bucket().await?.ok_or(RightsError::NoSystem)?;
        for _ in 0..RACES_MAX {
            let (mut rights, expected) = match self.ask_rights(&bucket, user).await? {
                Some((rights, record)) => (rights, Expected::Revision(record.revision)),
                None => (Rights::default(), Expected::Absent),
            };
            change(&mut rights)?;
            let content = match rights == Rights::default() {
                true => None,
                false => Some(RecordContent { value: rights.to_bytes()?, entries: Vec::new() }),
            };
            let change = RecordChange { key: key(user), expected, content };
            let command = Command::PutRecords { bucket: bucket.id, changes: vec![change] };
            match self.command(&bucket, command).await? {
                Ok(Outcome::Records(_)) => {
                    self.rights.forget(&user.to_owned());
                    return Ok(rights);
                }
                Err(Refusal::RecordRace(_)) => {}
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal).into()),
            }
        }
        Err(ClusterError::Busy.into())
    }

    async fn ask_rights(&self, bucket: &BucketInfo, user: &str) -> Result<Option<(Rights, RecordView)>, ClusterError> {
        let query = Query::Records { bucket: bucket.id, keys: vec![key(user)] };
        let mut found = match self.cluster.query(bucket.group, query).await.map_err(ClusterError::from) {
            Ok(Ok(Answer::Records(found))) if found.len() == 1 => found,
            Ok(Ok(other)) => return Err(surprise(&other)),
            // Nobody has written into it yet.
            Ok(Err(Refusal::NoSuchBucket)) | Err(ClusterError::Level { .. }) => return Ok(None),
            Ok(Err(refusal)) => return Err(crate::error::unexpected(&refusal)),
            Err(error) => return Err(error),
        };
        let Some(record) = found.pop().flatten() else { return Ok(None) };
        Ok(Some((Rights::from_bytes(&record.content.value)?, record)))
    }
}

fn key(user: &str) -> RecordKey {
    RecordKey { space: RIGHTS_SPACE, key: Bytes::copy_from_slice(user.as_bytes()) }
}

fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_have_these_bytes_and_nothing_else_is_taken_for_them() {
        let names = BTreeSet::from(["books".to_owned()]);
        let rights = Rights { plain_read: PlainRead::Named(names), lend: false, download: true };
        assert_eq!(rights.to_bytes().as_deref(), Ok(&b"\x01\x00\x01\x05books\x00\x01"[..]));
        assert_eq!(Rights::from_bytes(b"\x01\x00\x01\x05books\x00\x01"), Ok(rights));
        for bad in [&b""[..], b"\x02\x01\x00\x00", b"\x01\x01\x00\x00\x00", b"\x01\x01\x00", b"\x01\x02\x00\x00"] {
            assert!(Rights::from_bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_right_for_all_is_taken_as_a_whole() {
        let mut rights = Rights::default();
        let one = Right::PlainRead(Some("a".into()));
        assert_eq!(rights.add(&one), Ok(()));
        assert!(rights.reads_plain("a") && !rights.reads_plain("b"));
        assert_eq!(rights.add(&Right::PlainRead(None)), Ok(()));
        assert!(rights.reads_plain("b"));
        assert_eq!(rights.remove(&one), Err(RightsError::All));
        assert_eq!(rights.remove(&Right::PlainRead(None)), Ok(()));
        assert_eq!(rights, Rights::default());
    }
}
