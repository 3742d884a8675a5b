//! `BUCKET/KEY`.

use crate::exit::{Done, Failure, Kind};

/// Where a file is, or a prefix of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPath {
    /// The bucket.
    pub bucket: String,
    /// Key or prefix; may be empty.
    pub key: String,
}

impl ObjectPath {
    /// A bucket with or without a key. A leading `s3://` is taken off.
    ///
    /// # Errors
    /// No bucket.
    pub fn parse(text: &str) -> Done<Self> {
        let text = text.strip_prefix("s3://").unwrap_or(text);
        let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
        if bucket.is_empty() {
            return Err(Failure::new(Kind::Usage, format!("{text:?} is not BUCKET/KEY")));
        }
        Ok(ObjectPath { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// A bucket with a key.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn parse_key(text: &str) -> Done<Self> {
        let path = ObjectPath::parse(text)?;
        if path.key.is_empty() {
            return Err(Failure::new(Kind::Usage, format!("{text:?} names no key: BUCKET/KEY")));
        }
        Ok(path)
    }

    /// The part of the key behind its last `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_keys_are_told_apart() {
        let path = ObjectPath::parse("s3://books/a//b c").expect("a path");
        assert_eq!((path.bucket.as_str(), path.key.as_str(), path.name()), ("books", "a//b c", "b c"));
        assert_eq!(ObjectPath::parse("books").expect("a bucket").key, "");
        for text in ["", "/a", "s3:///a"] {
            assert!(ObjectPath::parse(text).is_err(), "{text}");
        }
        assert!(ObjectPath::parse_key("books/").is_err());
        assert_eq!(ObjectPath::parse_key("books/a/").expect("a directory").key, "a/");
    }
}
