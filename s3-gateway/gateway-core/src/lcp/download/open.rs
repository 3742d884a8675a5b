//! From a request to a download: may it be, and of what.

use super::super::audit::{Authority, Client, DownloadEntry, Ending, Refused};
use super::super::limits::{Counted, Counter, Meter, Tally};
use super::super::records::{Held, decode, key_of};
use super::super::token::{Token, TokenFault};
use super::super::{LcpError, Lending, LicenceEntry, Package, Place, Title, TitleId};
use super::{Download, file_name, ticket::Ticket, validators};
use crate::error::ClusterError;
use drm::licence::{Licence, LicenceId, OutsideRights};
use drm::splice;
use drm::status::State;
use proto::record::RecordView;
use std::sync::Arc;
use types::Timestamp;

/// Who has allowed a download. The face has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// A token for the licence.
    Token(Token),
    /// A user of the cluster who has the right, by his name.
    User(String),
}

impl Permit {
    pub(super) fn authority(&self) -> Authority {
        match self {
            Permit::Token(token) => Authority::of_token(token.id),
            Permit::User(user) => Authority::User(user.clone()),
        }
    }
}

/// A request for a reader's file.
#[derive(Clone, Debug)]
pub struct DownloadRequest<'a> {
    /// His licence.
    pub licence: LicenceId,
    /// Bucket and key of the address, if it names them: the licence must be of that title.
    pub source: Option<(&'a str, &'a str)>,
    /// Who has allowed it.
    pub permit: Permit,
    /// Where it comes from.
    pub client: Client,
}

impl Lending {
    /// Opens the file of one reader. Nothing is counted or recorded before [`Download::read`]; a refusal is recorded here.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`]; [`LcpError::NoSuchTitle`]: the licence is of another title than the address names. [`LcpError::Closed`],
    /// [`LcpError::Token`] if it is used up, [`LcpError::TooMany`]. [`LcpError::NotReady`], [`LcpError::Elsewhere`]. The cluster's, and those of signing if the
    /// licence has to be brought to a new version of its title.
    pub async fn open(&self, request: DownloadRequest<'_>) -> Result<Download, LcpError> {
        let now = self.config.clock.now();
        let (mut licence, mut tally) = self.licence_and_counts(&request, now).await?;
        let mut title = self.known_title(&licence.title).await?;
        check_source(&title, request.source)?;
        self.check_open(&licence, &request, now)?;
        if title.package().is_some_and(|newest| newest.version > licence.version) {
            licence = self.fresh(licence.id, None).await?;
            self.check_open(&licence, &request, now)?;
        }
        if title.version(licence.version).is_none() {
            // A gateway has brought the licence to a version that was not known here a moment ago.
            title = Arc::new(self.title(&licence.title).await?.value);
        }
        let package = title.version(licence.version).ok_or(LcpError::NotReady)?;
        let mut entry = self.entry_of(&licence, &request.permit, &request.client);
        let download = self.spliced(&title, package, &licence).await?;
        entry.len = download.len();
        if self.config.title_downloads.is_some() {
            tally.title = Some(self.counted(Counted::title_minute(title.id.as_str(), now)).await?);
        }
        if let Err((error, refused)) = tally.admit(&self.config, entry.len, now) {
            self.downloads.journal.add(DownloadEntry { ending: Ending::Refused(refused), ..entry });
            return Err(error);
        }
        Ok(Download { ticket: Some(Ticket::new(self, entry, tally)), ..download })
    }

    /// The licence alone, brought up to date, for the same requests as [`Lending::open`]. It is no copy of the book, and not counted.
    ///
    /// # Errors
    /// As [`Lending::open`], but for what concerns the package.
    pub async fn open_licence(&self, request: DownloadRequest<'_>) -> Result<LicenceEntry, LcpError> {
        let now = self.config.clock.now();
        let (licence, _) = self.licence_and_counts(&request, now).await?;
        check_source(&*self.known_title(&licence.title).await?, request.source)?;
        self.check_open(&licence, &request, now)?;
        let licence = self.fresh(licence.id, None).await?;
        self.check_open(&licence, &request, now)?;
        Ok(licence)
    }

    /// A licence with what is counted of it, of one moment and as all gateways have left it.
    async fn licence_and_counts(
        &self,
        request: &DownloadRequest<'_>,
        now: Timestamp,
    ) -> Result<(LicenceEntry, Tally), LcpError> {
        let token = match &request.permit {
            Permit::Token(token) if token.licence != request.licence => {
                return Err(TokenFault::OtherLicence.into());
            }
            Permit::Token(token) => Some(Counted::token(token)),
            Permit::User(_) => None,
        };
        let day = self.config.licence_downloads.map(|_| Counted::licence_day(request.licence, now));
        let mut keys = vec![key_of::<LicenceEntry>(LicenceEntry::key_of(request.licence))];
        keys.extend([&token, &day].into_iter().flatten().map(|counted| key_of::<Counter>(counted.key.clone())));
        let mut views = self.store.views(keys).await?.into_iter();
        let licence = views.next().flatten().ok_or(LcpError::NoSuchLicence)?;
        let mut meter = |counted: Option<Counted>| match counted {
            Some(counted) => self.meter(counted, views.next().flatten()).map(Some),
            None => Ok(None),
        };
        let tally = Tally { token: meter(token)?, licence: meter(day)?, title: None };
        Ok((decode::<LicenceEntry>(licence)?.value, tally))
    }

    async fn counted(&self, counted: Counted) -> Result<Arc<Meter>, LcpError> {
        let mut views = self.store.views(vec![key_of::<Counter>(counted.key.clone())]).await?;
        self.meter(counted, views.pop().flatten())
    }

    fn meter(&self, counted: Counted, view: Option<RecordView>) -> Result<Arc<Meter>, LcpError> {
        let record: Option<Held<Counter>> = view.map(decode).transpose()?;
        Ok(self.downloads.meters.meter(counted, record.as_ref().map(|held| &held.value))?)
    }

    /// A title, as it was a second ago at most.
    pub(super) async fn known_title(&self, id: &TitleId) -> Result<Arc<Title>, LcpError> {
        let (this, asked) = (self.clone(), id.clone());
        let ask = || async move {
            match this.title(&asked).await {
                Ok(held) => Ok(Some(Arc::new(held.value))),
                Err(LcpError::NoSuchTitle) => Ok(None),
                Err(LcpError::Cluster(error)) => Err(error),
                Err(other) => Err(ClusterError::Unexpected(other.to_string())),
            }
        };
        self.downloads.titles.get(id, ask).await?.ok_or(LcpError::NoSuchTitle)
    }

    /// Whether a licence allows a download at `now`. A refusal is recorded.
    fn check_open(
        &self,
        licence: &LicenceEntry,
        request: &DownloadRequest<'_>,
        now: Timestamp,
    ) -> Result<(), LcpError> {
        let Some(refused) = closed(licence, now)? else { return Ok(()) };
        let entry = self.entry_of(licence, &request.permit, &request.client);
        self.downloads.journal.add(DownloadEntry { ending: Ending::Refused(refused), ..entry });
        Err(LcpError::Closed(refused.name()))
    }

    /// A package with a licence in it.
    async fn spliced(&self, title: &Title, package: &Package, licence: &LicenceEntry) -> Result<Download, LcpError> {
        let Place::Here { key, layout, kind } = &package.place else { return Err(LcpError::Elsewhere) };
        let shelved = self.downloads.shelf.take(&self.store, key, layout, *kind).await?;
        let frame = splice::frame(layout, kind.licence_path(), licence.document.as_bytes())?;
        let directory = shelved.directory.clone();
        Ok(Download {
            store: self.store.clone(),
            package: Arc::new(shelved),
            stored: frame.stored,
            tail: [frame.before.into(), directory, frame.after.into()],
            validators: validators(&frame.etag, licence.status.licence_updated),
            media_type: package.media_type.clone(),
            file_name: file_name(title, *kind),
            ticket: None,
        })
    }
}

fn check_source(title: &Title, source: Option<(&str, &str)>) -> Result<(), LcpError> {
    let Some((bucket, key)) = source else { return Ok(()) };
    let own = title.source.as_ref().is_some_and(|own| own.bucket_name == bucket && own.key == key);
    own.then_some(()).ok_or(LcpError::NoSuchTitle)
}

/// Why a licence allows no download at `now`, if it does not.
fn closed(licence: &LicenceEntry, now: Timestamp) -> Result<Option<Refused>, LcpError> {
    Ok(match licence.status.state_at(now) {
        State::Ready | State::Active => {
            let document = Licence::parse(licence.document.as_bytes())?;
            match document.terms().rights.hold_at(now) {
                Ok(()) => None,
                Err(OutsideRights::NotYet { .. }) => Some(Refused::NotYetValid),
                Err(OutsideRights::Ended { .. }) => Some(Refused::Expired),
            }
        }
        State::Expired => Some(Refused::Expired),
        State::Returned => Some(Refused::Returned),
        State::Revoked => Some(Refused::Revoked),
        State::Cancelled => Some(Refused::Cancelled),
    })
}
