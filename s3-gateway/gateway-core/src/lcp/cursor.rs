//! Where the next page of a list begins.

use bytes::Bytes;
use proto::record::{RECORD_KEY_BYTES_MAX, RecordCursor};
use std::fmt;
use std::str::FromStr;

/// A place among what is looked for, as a text that means nothing to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor(pub(super) RecordCursor);

/// What is no [`ListCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no place that was given out here")]
pub struct BadListCursor;

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", hex::encode(&self.0.entry), hex::encode(&self.0.key))
    }
}

impl FromStr for ListCursor {
    type Err = BadListCursor;

    fn from_str(text: &str) -> Result<Self, BadListCursor> {
        let (entry, key) = text.split_once('.').ok_or(BadListCursor)?;
        let bytes = |text: &str| match hex::decode(text) {
            Ok(bytes) if bytes.len() <= RECORD_KEY_BYTES_MAX => Ok(Bytes::from(bytes)),
            Ok(_) | Err(_) => Err(BadListCursor),
        };
        Ok(ListCursor(RecordCursor { entry: bytes(entry)?, key: bytes(key)? }))
    }
}

impl From<RecordCursor> for ListCursor {
    fn from(cursor: RecordCursor) -> Self {
        ListCursor(cursor)
    }
}

impl From<ListCursor> for RecordCursor {
    fn from(cursor: ListCursor) -> Self {
        cursor.0
    }
}
