//! Packages as objects of the system bucket.
//!
//! ```text
//! packages/{id of the title}/{version}-{random}
//! ```
//! No key is used twice, so an object that a record does not name now is one that no record will name.

use super::part::system;
use crate::error::ObjectError;
use crate::lcp::{Lending, Package, Place, TitleId};
use crate::store::Store;
use crate::system::SYSTEM_BUCKET;
use drm::package::Protected;
use proto::object::Precondition;
use types::Timestamp;

/// What keys of packages begin with.
pub(super) const PREFIX: &str = "packages/";

/// A key for a package of that version.
pub(super) fn key_for(title: &TitleId, version: u32) -> String {
    format!("{PREFIX}{title}/{version}-{:016x}", rand::random::<u64>())
}

/// The title that an object of the system bucket is a package of, or was to be.
pub(super) fn title_in(key: &str) -> Option<TitleId> {
    key.strip_prefix(PREFIX)?.split_once('/')?.0.parse().ok()
}

/// As it stands in the record.
pub(super) fn package_of(protected: &Protected, key: &str, version: u32, etag: &str, now: Timestamp) -> Package {
    Package {
        version,
        place: Place::Here { key: key.to_owned(), layout: protected.layout.clone(), kind: protected.kind },
        len: protected.layout.len,
        sha256: protected.layout.sha256,
        media_type: protected.kind.media_type().to_owned(),
        made: now,
        source_etag: Some(etag.to_owned()),
        replaced: None,
    }
}

impl Store {
    /// Deletes an object that no record names any more; if that fails the next sweep does it.
    pub(super) async fn delete_package(&self, key: &str) {
        match self.delete(&system(), SYSTEM_BUCKET, key, Precondition::default()).await {
            Ok(_) | Err(ObjectError::NoSuchKey) => {}
            Err(error) => tracing::debug!(key, %error, "a package is left to the sweep"),
        }
    }
}

impl Lending {
    /// Deletes packages that no record names any more.
    pub(in crate::lcp) async fn delete_packages(&self, packages: &[Package]) {
        for package in packages {
            if let Place::Here { key, .. } = &package.place {
                self.store.delete_package(key).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_title() {
        let title = TitleId::random();
        let key = key_for(&title, 3);
        assert_eq!(title_in(&key), Some(title));
        for other in ["packages/", "packages/x", "packages//1-0", "other/x/1-0", "packages/책/1-0"] {
            assert_eq!(title_in(other), None, "{other}");
        }
    }
}
