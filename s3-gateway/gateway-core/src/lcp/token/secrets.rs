//! The secrets that tokens are signed with: two generations in one record, wrapped by the key service.
//!
//! The newest signs, both check. To rotate is to add a generation and to let the older of two go: tokens of the one that stays are good as before, and after a
//! second rotation they are not. Gateways look at the record again after [`FRESH`], and at once for a generation that they do not know.

use super::super::records::{Held, Record, put};
use super::super::{LcpError, Lending};
use crate::keyring::{SecretKey, WrappedKey};
use bytes::Bytes;
use parking_lot::Mutex;
use proto::record::{Expected, IndexEntry, RecordSpace, Revision};
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use types::Timestamp;

/// The space of secrets.
const SECRETS: RecordSpace = RecordSpace(5);
const KEY: &[u8] = b"download-tokens";
/// Generations that check.
const GENERATIONS_MAX: usize = 2;
/// For so long what was read is used without asking.
const FRESH: Duration = Duration::from_secs(5);
/// A token of an unknown generation has the record read again if it was read longer ago: anybody can make such a token up.
const FRESH_FOR_UNKNOWN: Duration = Duration::from_secs(1);

/// One secret, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Generation {
    number: u32,
    wrapped: WrappedKey,
    since: Timestamp,
}

/// The record: the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Generations(Vec<Generation>);

impl Record for Generations {
    const SPACE: RecordSpace = SECRETS;
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        Bytes::from_static(KEY)
    }

    fn entries(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}

/// What a secret is wrapped for.
fn context(number: u32) -> Vec<u8> {
    [b"sago lcp token secret\0".as_slice(), &number.to_be_bytes()].concat()
}

/// The secrets of a moment, the newest first.
struct Known {
    revision: Option<Revision>,
    keys: Vec<(u32, hmac::Key)>,
    read: Instant,
}

/// The secrets as this gateway last read them.
#[derive(Default)]
pub(in super::super) struct TokenSecrets {
    known: Mutex<Option<Arc<Known>>>,
    /// Held by whoever reads them, so that others wait for him instead of reading as well.
    reading: tokio::sync::Mutex<()>,
}

impl TokenSecrets {
    fn younger_than(&self, age: Duration) -> Option<Arc<Known>> {
        self.known.lock().clone().filter(|known| known.read.elapsed() < age)
    }
}

impl Lending {
    /// The secret that signs; the first one is made.
    pub(super) async fn newest_secret(&self) -> Result<(u32, hmac::Key), LcpError> {
        let mut known = self.secrets(FRESH).await?;
        if known.keys.is_empty() {
            self.add_generation(|held| held.is_none()).await?;
            known = self.secrets(Duration::ZERO).await?;
        }
        known.keys.first().cloned().ok_or_else(|| LcpError::Damaged("no secret for tokens".to_owned()))
    }

    /// The secret of a generation; `None` if there is none or it does not count any more.
    pub(super) async fn secret_of(&self, number: u32) -> Result<Option<hmac::Key>, LcpError> {
        let find = |known: &Known| known.keys.iter().find(|(own, _)| *own == number).map(|(_, key)| key.clone());
        match find(&*self.secrets(FRESH).await?) {
            Some(key) => Ok(Some(key)),
            None => Ok(find(&*self.secrets(FRESH_FOR_UNKNOWN).await?)),
        }
    }

    /// Has tokens signed with a new secret from now on. Those of the secret before it stay good, those of older ones end. Gives the new secret's number.
    ///
    /// # Errors
    /// The cluster's and the key service's. After an unknown outcome there may be a new secret, or not.
    pub async fn rotate_token_secret(&self) -> Result<u32, LcpError> {
        self.add_generation(|_| true).await?;
        let known = self.secrets(Duration::ZERO).await?;
        Ok(known.keys.first().map_or(0, |(number, _)| *number))
    }

    /// Wraps the secrets anew that are not wrapped under the newest key-encryption key. Gives how many there were.
    ///
    /// # Errors
    /// The cluster's and the key service's.
    pub async fn rewrap_token_secrets(&self) -> Result<usize, LcpError> {
        let this = self;
        let plan = || async move {
            let Some(Held { revision, mut value }) = this.store.record::<Generations>(Bytes::from_static(KEY)).await?
            else {
                return Ok((Vec::new(), 0));
            };
            let mut rewrapped = 0;
            for generation in &mut value.0 {
                if !this.keys.is_newest(&generation.wrapped).await? {
                    let context = context(generation.number);
                    let secret = this.keys.unwrap(&context, &generation.wrapped).await?;
                    generation.wrapped = this.keys.wrap(&context, &secret).await?;
                    rewrapped += 1;
                }
            }
            let changes = if rewrapped > 0 { vec![put(&value, Expected::Revision(revision))?] } else { Vec::new() };
            Ok((changes, rewrapped))
        };
        self.store.change_by(plan).await
    }

    /// Adds a generation if what there is asks for it.
    async fn add_generation(
        &self,
        wanted: impl Fn(Option<&Generations>) -> bool + Send + Sync,
    ) -> Result<(), LcpError> {
        let (this, wanted) = (self, &wanted);
        let plan = || async move {
            let held = this.store.record::<Generations>(Bytes::from_static(KEY)).await?;
            if !wanted(held.as_ref().map(|held| &held.value)) {
                return Ok((Vec::new(), ()));
            }
            let expected = held.as_ref().map_or(Expected::Absent, |held| Expected::Revision(held.revision));
            let mut generations = held.map_or_else(Vec::new, |held| held.value.0);
            let number = generations.first().map_or(1, |newest| newest.number.wrapping_add(1));
            let wrapped = this.keys.wrap(&context(number), &SecretKey::new(rand::random())).await?;
            generations.insert(0, Generation { number, wrapped, since: this.config.clock.now() });
            generations.truncate(GENERATIONS_MAX);
            Ok((vec![put(&Generations(generations), expected)?], ()))
        };
        self.store.change_by(plan).await
    }

    /// The secrets, read not longer than `age` ago.
    async fn secrets(&self, age: Duration) -> Result<Arc<Known>, LcpError> {
        let secrets = &self.downloads.secrets;
        if let Some(known) = secrets.younger_than(age) {
            return Ok(known);
        }
        let asked = Instant::now();
        let _alone = secrets.reading.lock().await;
        let before = secrets.known.lock().clone();
        if let Some(known) = before.clone().filter(|known| known.read >= asked) {
            return Ok(known);
        }
        let read = Instant::now();
        let held = self.store.record::<Generations>(Bytes::from_static(KEY)).await?;
        let revision = held.as_ref().map(|held| held.revision);
        let keys = match before.filter(|known| known.revision == revision) {
            Some(known) => known.keys.clone(),
            None => self.unwrapped(held.map_or_else(Vec::new, |held| held.value.0)).await?,
        };
        let known = Arc::new(Known { revision, keys, read });
        *secrets.known.lock() = Some(known.clone());
        Ok(known)
    }

    async fn unwrapped(&self, generations: Vec<Generation>) -> Result<Vec<(u32, hmac::Key)>, LcpError> {
        let mut keys = Vec::new();
        for Generation { number, wrapped, .. } in generations {
            let secret = self.keys.unwrap(&context(number), &wrapped).await?;
            keys.push((number, hmac::Key::new(hmac::HMAC_SHA256, secret.expose())));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::records::encode;
    use super::*;

    #[test]
    fn the_bytes_of_the_record_are_pinned() {
        let wrapped = |kek: &str, sealed: &[u8]| WrappedKey { kek: kek.to_owned(), sealed: sealed.to_vec() };
        let since = Timestamp(1_777_629_600_000_000_005);
        let generations = Generations(vec![
            Generation { number: 8, wrapped: wrapped("kek:2", &[1, 2]), since },
            Generation { number: 7, wrapped: wrapped("kek:1", &[3]), since: Timestamp(0) },
        ]);
        // Made by another program.
        let pinned = "010208056b656b3a320201028a80c2a3feacb4ab3107056b656b3a31010300";
        assert_eq!(hex::encode(encode(&generations).expect("a value")), pinned);
        assert_eq!(context(7), *b"sago lcp token secret\0\0\0\0\x07");
    }
}
