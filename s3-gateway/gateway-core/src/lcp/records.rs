//! Typed records of the system bucket.
//!
//! | space | key | value |
//! | --- | --- | --- |
//! | 1 | id of a title | [`super::Title`] |
//! | 2 | id of a licence | [`super::LicenceEntry`] |
//! | 3 | time, random | a download |
//! | 4 | licence or token | counters of downloads |
//! | 5 | name | secrets, wrapped |
//! | 6 | hash of bucket and key | which title an object is |
//! | 7 | name | when what is done now and then was last begun |
//! | 8 | user | rights |
//! | 9 | what a store calls a request | [`super::Nonce`] |
//!
//! A value is a version byte and the value in postcard. What has another version was written by a newer program and is refused, never guessed at.

use super::LcpError;
use crate::error::unexpected;
use crate::store::{Store, surprise};
use bytes::Bytes;
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::record::{
    Expected, FoundRecords, IndexEntry, RECORD_CHANGES_MAX, RECORD_PAGE_MAX, RecordChange, RecordContent, RecordCursor,
    RecordKey, RecordPage, RecordScan, RecordSpace, RecordView, Revision,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;

/// How often a change is worked out anew when others change the same record. Devices of one licence are few.
const ATTEMPTS_MAX: usize = 16;

/// What is kept as a record.
pub trait Record: Serialize + DeserializeOwned + Send {
    /// Its space.
    const SPACE: RecordSpace;
    /// The version of its form.
    const VERSION: u8;

    /// Its key, at most `RECORD_KEY_BYTES_MAX` bytes.
    fn key(&self) -> Bytes;

    /// Where it stands in the indexes of its space.
    fn entries(&self) -> Vec<IndexEntry>;
}

/// A record and the revision at which it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<T> {
    /// A change of it is made against this.
    pub revision: Revision,
    /// It.
    pub value: T,
}

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// They, in order.
    pub found: Vec<Held<T>>,
    /// Where the next page begins, if there may be one.
    pub next: Option<RecordCursor>,
}

/// A change that makes a record, or changes it.
///
/// # Errors
/// [`LcpError::Damaged`]: it has no form that can be kept.
pub fn put<T: Record>(value: &T, expected: Expected) -> Result<RecordChange, LcpError> {
    let content = RecordContent { value: encode(value)?, entries: value.entries() };
    Ok(RecordChange { key: key_of::<T>(value.key()), expected, content: Some(content) })
}

/// A change that removes a record.
#[must_use]
pub fn remove<T: Record>(key: Bytes, expected: Expected) -> RecordChange {
    RecordChange { key: key_of::<T>(key), expected, content: None }
}

/// Names a record.
pub(super) fn key_of<T: Record>(key: Bytes) -> RecordKey {
    RecordKey { space: T::SPACE, key }
}

fn encode<T: Record>(value: &T) -> Result<Bytes, LcpError> {
    let bytes = postcard::to_extend(value, vec![T::VERSION]).map_err(|error| LcpError::Damaged(error.to_string()))?;
    Ok(bytes.into())
}

pub(super) fn decode<T: Record>(view: RecordView) -> Result<Held<T>, LcpError> {
    let damaged = |reason: String| LcpError::Damaged(format!("space {}: {reason}", T::SPACE.0));
    let (version, bytes) = view.content.value.split_first().ok_or_else(|| damaged("empty".into()))?;
    if *version != T::VERSION {
        return Err(damaged(format!("version {version}, this program knows {}", T::VERSION)));
    }
    let value: T = postcard::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
    if value.key() != view.key {
        return Err(damaged("it is not that of its key".into()));
    }
    Ok(Held { revision: view.revision, value })
}

impl Store {
    /// A record of the system bucket by its key.
    pub(crate) async fn record<T: Record>(&self, key: Bytes) -> Result<Option<Held<T>>, LcpError> {
        let keys = vec![key_of::<T>(key)];
        let Some(bucket) = self.system_bucket().await? else { return Ok(None) };
        match self.query(&bucket, Query::Records { bucket: bucket.id, keys }).await? {
            Ok(Answer::Records(mut found)) => found.pop().flatten().map(decode).transpose(),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(unexpected(&refusal).into()),
        }
    }

    /// Records of the system bucket by their keys, in the order of the keys, which may be any number.
    pub(crate) async fn records_of<T: Record>(&self, keys: &[Bytes]) -> Result<Vec<Option<Held<T>>>, LcpError> {
        let Some(bucket) = self.system_bucket().await? else { return Ok(keys.iter().map(|_| None).collect()) };
        let mut all = Vec::with_capacity(keys.len());
        while all.len() < keys.len() {
            let rest = &keys[all.len()..];
            let some = rest.iter().take(RECORD_CHANGES_MAX).map(|key| key_of::<T>(key.clone())).collect();
            match self.query(&bucket, Query::Records { bucket: bucket.id, keys: some }).await? {
                // Long ones come in several answers, each of one at least.
                Ok(Answer::Records(found)) if (1..=rest.len()).contains(&found.len()) => {
                    for view in found {
                        all.push(view.map(decode).transpose()?);
                    }
                }
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(unexpected(&refusal).into()),
            }
        }
        Ok(all)
    }

    /// How many a look finds, counted up to `max`.
    pub(crate) async fn count_records<T: Record>(&self, scan: RecordScan, max: u64) -> Result<u64, LcpError> {
        let mut scan = RecordScan { max: RECORD_PAGE_MAX, ..scan };
        let mut count = 0;
        loop {
            let (keys, next) = self.record_keys::<T>(scan.clone()).await?;
            count += keys.len() as u64;
            match next {
                Some(next) if count < max => scan.after = Some(next),
                _ => return Ok(count.min(max)),
            }
        }
    }

    /// Records of the system bucket by their keys, of several spaces at once; `RECORD_CHANGES_MAX` at most. All are of one moment.
    pub(super) async fn views(&self, keys: Vec<RecordKey>) -> Result<Vec<Option<RecordView>>, LcpError> {
        let wanted = keys.len();
        let Some(bucket) = self.system_bucket().await? else { return Ok(vec![None; wanted]) };
        match self.query(&bucket, Query::Records { bucket: bucket.id, keys }).await? {
            Ok(Answer::Records(found)) if found.len() == wanted => Ok(found),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(unexpected(&refusal).into()),
        }
    }

    /// The keys of a page of a look through a space, and where the next page begins.
    pub(crate) async fn record_keys<T: Record>(
        &self,
        scan: RecordScan,
    ) -> Result<(Vec<Bytes>, Option<RecordCursor>), LcpError> {
        let scan = RecordScan { space: T::SPACE, keys_only: true, ..scan };
        let Some(bucket) = self.system_bucket().await? else { return Ok((Vec::new(), None)) };
        match self.query(&bucket, Query::ScanRecords { bucket: bucket.id, scan }).await? {
            Ok(Answer::RecordPage(RecordPage { found: FoundRecords::Keys(keys), next })) => {
                Ok((keys.into_iter().map(|(key, _)| key).collect(), next))
            }
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(unexpected(&refusal).into()),
        }
    }

    /// A page of a look through a space.
    pub(crate) async fn records<T: Record>(&self, scan: RecordScan) -> Result<Page<T>, LcpError> {
        let scan = RecordScan { space: T::SPACE, keys_only: false, ..scan };
        let Some(bucket) = self.system_bucket().await? else { return Ok(Page { found: Vec::new(), next: None }) };
        match self.query(&bucket, Query::ScanRecords { bucket: bucket.id, scan }).await? {
            Ok(Answer::RecordPage(RecordPage { found: FoundRecords::Views(views), next })) => {
                Ok(Page { found: views.into_iter().map(decode).collect::<Result<_, _>>()?, next })
            }
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(unexpected(&refusal).into()),
        }
    }

    /// Changes records of the system bucket, all or none. `false`: one was not as expected, and nothing was changed.
    pub(crate) async fn change_records(&self, changes: Vec<RecordChange>) -> Result<bool, LcpError> {
        let bucket = match self.system_bucket().await? {
            Some(bucket) => bucket,
            None => self.ensure_system_bucket().await?,
        };
        match self.command(&bucket, Command::PutRecords { bucket: bucket.id, changes }).await? {
            Ok(Outcome::Records(_)) => Ok(true),
            Ok(other) => Err(surprise(&other).into()),
            Err(Refusal::RecordRace(_)) => Ok(false),
            Err(refusal) => Err(unexpected(&refusal).into()),
        }
    }

    /// Reads what `plan` needs, works out changes and makes them; as often as others were faster. `plan` gives the changes and what the caller gets once they
    /// are made; no changes are made at once.
    pub(crate) async fn change_by<T, F>(&self, plan: impl Fn() -> F + Send) -> Result<T, LcpError>
    where
        F: Future<Output = Result<(Vec<RecordChange>, T), LcpError>> + Send,
    {
        for _ in 0..ATTEMPTS_MAX {
            let (changes, outcome) = plan().await?;
            if changes.is_empty() || self.change_records(changes).await? {
                return Ok(outcome);
            }
        }
        Err(LcpError::Contention)
    }
}

/// All of a space, from its first key.
#[must_use]
pub fn whole(max: u32) -> RecordScan {
    RecordScan { space: RecordSpace(0), by: None, from: Bytes::new(), to: None, after: None, keys_only: false, max }
}

/// What begins so, in an index or by keys.
#[must_use]
pub fn beginning(prefix: &[u8], max: u32) -> RecordScan {
    RecordScan { from: Bytes::copy_from_slice(prefix), to: above(prefix), ..whole(max) }
}

/// The least text above all that begin so; `None` if there is none.
fn above(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut bytes = prefix[..=kept].to_vec();
    bytes[kept] += 1;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_ends_before_the_next() {
        assert_eq!(above(b"ab"), Some(Bytes::from_static(b"ac")));
        assert_eq!(above(&[1, 255, 255]), Some(Bytes::from_static(&[2])));
        assert_eq!(above(&[255]), None);
        assert_eq!(above(b""), None);
    }
}
