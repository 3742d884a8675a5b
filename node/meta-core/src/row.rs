//! Rows: a typed key, and a value behind a version byte.
//!
//! A key type names the type of its value, so that no row can be read as another. Values are postcard. A
//! value this version cannot read is a broken store: the replica stops rather than guess.

use crate::kv::{Kv, KvError, KvRead};
use serde::{Serialize, de::DeserializeOwned};

/// The key of a row.
pub(crate) trait Key {
    /// What the row holds.
    type Value: Serialize + DeserializeOwned;
    /// The version byte in front of the value.
    const VERSION: u8 = 1;
    /// The bytes of the key.
    fn encode(&self) -> Vec<u8>;
}

/// The store contradicts itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Corrupt {
    /// The value of a row cannot be read.
    #[error("row {0:02x?} cannot be read")]
    Row(Vec<u8>),
    /// A row that must be there is not.
    #[error("row {0:02x?} is missing")]
    Missing(Vec<u8>),
}

impl From<Corrupt> for KvError {
    fn from(corrupt: Corrupt) -> Self {
        KvError(Box::new(corrupt))
    }
}

pub(crate) fn encode<K: Key>(value: &K::Value) -> Vec<u8> {
    let out = vec![K::VERSION];
    postcard::to_extend(value, out).expect("serialising plain data into memory cannot fail")
}

pub(crate) fn decode<K: Key>(key: &[u8], bytes: &[u8]) -> Result<K::Value, KvError> {
    let value = match bytes.split_first() {
        Some((version, rest)) if *version == K::VERSION => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Some(value),
            _ => None,
        },
        _ => None,
    };
    value.ok_or_else(|| Corrupt::Row(key.to_vec()).into())
}

pub(crate) fn read<K: Key>(kv: &dyn KvRead, key: &K) -> Result<Option<K::Value>, KvError> {
    let key = key.encode();
    kv.get(&key)?.map(|bytes| decode::<K>(&key, &bytes)).transpose()
}

/// Reads a row that must be there.
pub(crate) fn require<K: Key>(kv: &dyn KvRead, key: &K) -> Result<K::Value, KvError> {
    match read(kv, key)? {
        Some(value) => Ok(value),
        None => Err(Corrupt::Missing(key.encode()).into()),
    }
}

pub(crate) fn write<K: Key>(kv: &mut dyn Kv, key: &K, value: &K::Value) {
    kv.put(&key.encode(), &encode::<K>(value));
}
