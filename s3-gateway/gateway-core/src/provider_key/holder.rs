//! The pair that is used now, and the one that takes its place.

use super::{ProviderKey, ProviderKeyError};
use drm::certificate::OutsideValidity;
use drm::licence::{Issued, SigningError, Unsigned};
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::Timestamp;

/// Days before the end of the certificate from which on people are told: time to ask for a new one, and for the holidays that come between.
pub const END_NEAR_DAYS: i64 = 30;
/// Seconds between two warnings.
const WARNING_SECONDS: i64 = 86_400;

/// The provider's certificate and key as they were last read. Whoever signs gets one pair and keeps it until he is done.
pub struct ProviderKeys {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ProviderKey>>,
    pub(super) warned: Mutex<Option<Timestamp>>,
}

impl ProviderKeys {
    /// Reads both files. A certificate that is not valid at `now` is taken, so that what was issued can still be served, and issues nothing:
    /// [`ProviderKeys::may_issue`].
    ///
    /// # Errors
    /// [`ProviderKeyError`]: they cannot be used, or do not belong together.
    pub fn open(certificate: &Path, key: &Path, now: Timestamp) -> Result<Self, ProviderKeyError> {
        let current = Arc::new(ProviderKey::load(certificate, key)?);
        let keys = ProviderKeys {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(current),
            warned: Mutex::new(None),
        };
        keys.look(now);
        Ok(keys)
    }

    /// The pair of now.
    #[must_use]
    pub fn current(&self) -> Arc<ProviderKey> {
        self.current.read().clone()
    }

    /// Signs a licence at `now`.
    ///
    /// # Errors
    /// [`SigningError`], above all that the certificate is not valid at `now`.
    pub fn sign(&self, unsigned: Unsigned, now: Timestamp) -> Result<Issued, SigningError> {
        unsigned.sign(&*self.current(), now)
    }

    /// Whether anything is issued at `now`.
    ///
    /// # Errors
    /// [`OutsideValidity`].
    pub fn may_issue(&self, now: Timestamp) -> Result<(), OutsideValidity> {
        self.current().certificate.may_issue(now)
    }

    /// Reads both files anew, and says whether the certificate is another one. After an error everything is as before.
    ///
    /// # Errors
    /// [`ProviderKeyError`], also [`ProviderKeyError::Dates`] for a certificate that is not valid at `now`: the old one may be.
    pub fn reload(&self, now: Timestamp) -> Result<bool, ProviderKeyError> {
        let new = ProviderKey::load(&self.certificate, &self.key)?;
        let mut current = self.current.write();
        if new.certificate == current.certificate {
            return Ok(false);
        }
        let dates = new.certificate.may_issue(now);
        dates.map_err(|source| ProviderKeyError::Dates { path: self.certificate.clone(), source })?;
        *current = Arc::new(new);
        drop(current);
        *self.warned.lock() = None;
        self.look(now);
        Ok(true)
    }

    /// Whole days until the certificate ends, for a metric; negative when it has ended.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.current().certificate.days_left(now)
    }

    /// The same, and tells people once a day if it ends within [`END_NEAR_DAYS`], or if nothing is issued.
    pub fn look(&self, now: Timestamp) -> i64 {
        let current = self.current();
        let certificate = &current.certificate;
        let (days, valid) = (certificate.days_left(now), certificate.may_issue(now));
        if (valid.is_ok() && days >= END_NEAR_DAYS) || !self.is_time_to_warn(now) {
            return days;
        }
        let (subject, serial, file) = (certificate.subject(), certificate.serial(), self.certificate.display());
        match valid {
            Ok(()) => tracing::warn!(subject, serial, %file, days, "the certificate that signs licences ends soon"),
            Err(why) => {
                tracing::error!(subject, serial, %file, %why, "no licences are issued: the certificate is not valid")
            }
        }
        days
    }

    fn is_time_to_warn(&self, now: Timestamp) -> bool {
        let mut warned = self.warned.lock();
        let due = warned.is_none_or(|last| now.secs().saturating_sub(last.secs()) >= WARNING_SECONDS);
        if due {
            *warned = Some(now);
        }
        due
    }
}

impl fmt::Debug for ProviderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderKeys").field("current", &self.current()).finish_non_exhaustive()
    }
}
