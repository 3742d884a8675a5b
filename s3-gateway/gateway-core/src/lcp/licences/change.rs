//! Changes of a licence by its store.

use crate::lcp::records::put;
use crate::lcp::{LcpError, Lending, LicenceEntry};
use drm::licence::field::Fault;
use drm::licence::{BadGrant, Change, Licence, LicenceId, Rights};
use drm::rfc3339::whole_seconds;
use proto::record::Expected;
use types::Timestamp;

/// What becomes of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit<T> {
    /// It stays.
    #[default]
    Keep,
    /// There is none any more.
    Lift,
    /// It is this.
    Set(T),
}

impl<T> Limit<T> {
    fn of(self, current: Option<T>) -> Option<T> {
        match self {
            Limit::Keep => current,
            Limit::Lift => None,
            Limit::Set(value) => Some(value),
        }
    }
}

/// What becomes of the rights of a licence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RightsChange {
    /// Pages that may be printed.
    pub print: Limit<u64>,
    /// Characters that may be copied.
    pub copy: Limit<u64>,
    /// The first moment.
    pub start: Limit<Timestamp>,
    /// The last moment.
    pub end: Limit<Timestamp>,
}

/// What becomes of a licence; by default all stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LicenceChange {
    /// Its rights.
    pub rights: RightsChange,
    /// How the store calls the reader.
    pub user: Option<String>,
    /// The store.
    pub provider: Option<String>,
}

impl Lending {
    /// Changes a licence, whose readers see that there is a new one. What is so already is changed without a trace.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`]; [`LcpError::Closed`]: it is final; [`LcpError::Grant`]: what cannot stand in a licence, or ends before it begins;
    /// [`LcpError::Signing`].
    pub async fn change_licence(&self, id: LicenceId, changed: &LicenceChange) -> Result<LicenceEntry, LcpError> {
        self.store
            .change_by(|| async move {
                let held = self.licence(id).await?;
                let licence = held.value;
                if licence.is_final() {
                    return Err(LcpError::Closed(licence.status.state.name()));
                }
                let stored = licence.read()?;
                let change = of_document(&licence, &stored, changed)?;
                if change == Change::default() {
                    return Ok((Vec::new(), licence));
                }
                let (now, title) = (self.config.clock.now(), self.title_behind(&licence).await?);
                let mut next = self.amended(&licence, title.as_ref(), change, now)?;
                if next.status.end != licence.status.end {
                    next.status.max_end = self.config.policy.max_end(next.issued, next.status.end);
                }
                next.user = changed.user.clone().unwrap_or(next.user);
                Ok((vec![put(&next, Expected::Revision(held.revision))?], next))
            })
            .await
    }
}

/// What is to be another in the document.
fn of_document(licence: &LicenceEntry, stored: &Licence, changed: &LicenceChange) -> Result<Change, LcpError> {
    let (terms, wanted) = (stored.terms(), &changed.rights);
    let rights = Rights {
        print: wanted.print.of(terms.rights.print),
        copy: wanted.copy.of(terms.rights.copy),
        start: wanted.start.of(terms.rights.start).map(whole_seconds),
        end: wanted.end.of(terms.rights.end).map(whole_seconds),
        extensions: terms.rights.extensions.clone(),
    };
    if rights != terms.rights && matches!((rights.start, rights.end), (Some(start), Some(end)) if end <= start) {
        return Err(BadGrant::Field(Fault::Order.of("rights.end")).into());
    }
    Ok(Change {
        rights: (rights != terms.rights).then_some(rights),
        user_id: changed.user.clone().filter(|user| *user != licence.user),
        provider_uri: changed.provider.clone().filter(|uri| *uri != terms.provider),
        ..Change::default()
    })
}
