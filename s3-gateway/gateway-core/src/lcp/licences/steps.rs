//! What devices and stores do to a licence, and what becomes of its status.

use super::document::newer;
use crate::lcp::records::put;
use crate::lcp::{LcpError, Lending, LicenceEntry};
use drm::licence::{Change, LicenceId, Rights};
use drm::status::{self, Device, EventKind, Policy, Refusal, Step};
use proto::record::Expected;
use types::Timestamp;

/// What became of a licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// It.
    pub licence: LicenceEntry,
    /// What happened; `None`: nothing, it had happened before.
    pub event: Option<EventKind>,
    /// Whether a device has registered just now that is one more than the store thinks usual.
    pub is_over_soft: bool,
}

/// What a step needs of the signer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signing {
    /// If its end moves the document must say so.
    Needed,
    /// It closes the licence, with its document or without: nobody shall be kept from taking a licence back by a certificate that has ended.
    Wanted,
}

impl Lending {
    /// A device registers. Idempotent for each device.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`], [`LcpError::Refused`].
    pub async fn register(&self, id: LicenceId, device: &Device) -> Result<Stepped, LcpError> {
        let policy = &self.config.policy;
        let step = |licence: &LicenceEntry, now| status::register(&licence.status, policy, device, now);
        let mut stepped = self.step(id, Signing::Needed, step).await?;
        let is_new = stepped.event == Some(EventKind::Register);
        stepped.is_over_soft = is_new && policy.is_over_soft(&stepped.licence.status);
        Ok(stepped)
    }

    /// A reader renews his loan: to an end that he asks for, or as the policy says. With an end it can be asked for twice.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`], [`LcpError::Refused`], [`LcpError::Signing`].
    pub async fn renew(&self, id: LicenceId, device: &Device, end: Option<Timestamp>) -> Result<Stepped, LcpError> {
        let policy = &self.config.policy;
        let step = |licence: &LicenceEntry, now| status::renew(&licence.status, policy, device, end, now);
        self.step(id, Signing::Needed, step).await
    }

    /// The store gives a loan a later end, whatever its policy allows to readers, and also after its end. It can be asked for twice.
    ///
    /// # Errors
    /// As for [`Lending::renew`]; [`Refusal::RenewDate`] if that is no later end.
    pub async fn extend(&self, id: LicenceId, end: Timestamp) -> Result<Stepped, LcpError> {
        let policy = Policy { renew_days: Some(0), renew_expired: true, ..Policy::default() };
        let step = |licence: &LicenceEntry, now| {
            let free = status::Record { max_end: None, ..licence.status.clone() };
            status::renew(&free, &policy, &Device::default(), Some(end), now)
        };
        self.step(id, Signing::Needed, step).await
    }

    /// A reader gives his loan back.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`], [`LcpError::Refused`].
    pub async fn return_licence(&self, id: LicenceId, device: &Device) -> Result<Stepped, LcpError> {
        self.step(id, Signing::Wanted, |licence, now| status::return_licence(&licence.status, device, now)).await
    }

    /// The store takes a licence back. One that no device has registered is cancelled.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`], [`LcpError::Refused`].
    pub async fn revoke(&self, id: LicenceId) -> Result<Stepped, LcpError> {
        self.step(id, Signing::Wanted, |licence, now| status::revoke(&licence.status, now)).await
    }

    /// The store takes back a licence that no device has registered, and no other.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`], [`LcpError::Refused`].
    pub async fn cancel(&self, id: LicenceId) -> Result<Stepped, LcpError> {
        self.step(id, Signing::Wanted, |licence, now| status::cancel(&licence.status, now)).await
    }

    /// Works a step out of the licence as it is, and takes it.
    async fn step<S>(&self, id: LicenceId, signing: Signing, decide: S) -> Result<Stepped, LcpError>
    where
        S: Fn(&LicenceEntry, Timestamp) -> Result<Step, Refusal> + Send + Sync,
    {
        let decide = &decide;
        self.store
            .change_by(|| async move {
                let held = self.licence(id).await?;
                let now = self.config.clock.now();
                let step = decide(&held.value, now)?;
                let event = step.event.as_ref().map(|event| event.kind);
                let licence = match event {
                    Some(_) => self.taken(&held.value, step, signing, now).await?,
                    None => return Ok((Vec::new(), Stepped { licence: held.value, event, is_over_soft: false })),
                };
                let change = put(&licence, Expected::Revision(held.revision))?;
                Ok((vec![change], Stepped { licence, event, is_over_soft: false }))
            })
            .await
    }

    async fn taken(
        &self,
        licence: &LicenceEntry,
        mut step: Step,
        signing: Signing,
        now: Timestamp,
    ) -> Result<LicenceEntry, LcpError> {
        let title = self.title_behind(licence).await?;
        let mut next = licence.clone();
        if step.new_end.is_some() || newer(licence, title.as_ref()).is_some() {
            let rights = step.new_end.map(|end| rights_to(licence, end)).transpose()?;
            match self.amended(licence, title.as_ref(), Change { rights, ..Change::default() }, now) {
                Ok(amended) => next = amended,
                Err(LcpError::Signing(error)) if signing == Signing::Wanted || step.new_end.is_none() => {
                    tracing::warn!(licence = %licence.id, %error, "a licence changes without its document, since it cannot be signed");
                    step.new_end = None;
                }
                Err(error) => return Err(error),
            }
        }
        // What the document says of its last change stands in the status already; the signer may have moved it.
        step.licence_updated = None;
        next.status.apply(step);
        // The latest end is never before the end that the store has given.
        next.status.max_end = next.status.max_end.map(|max| next.status.end.map_or(max, |end| end.max(max)));
        Ok(next)
    }
}

/// The rights of a licence, until another end.
fn rights_to(licence: &LicenceEntry, end: Timestamp) -> Result<Rights, LcpError> {
    let stored = licence.read()?;
    Ok(Rights { end: Some(end), ..stored.terms().rights.clone() })
}
