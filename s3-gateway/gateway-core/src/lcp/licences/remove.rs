//! Licences that are forgotten.

use super::nonce::Nonce;
use crate::lcp::records::remove;
use crate::lcp::{LcpError, Lending, LicenceEntry};
use drm::licence::LicenceId;
use proto::record::Expected;

impl Lending {
    /// Removes a licence that has ended, with all that is known of it. There is no way back, and its status document is gone: a reader's app that asks again is
    /// told that there is no such licence.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`]; [`LcpError::Open`]: it holds still, and could never be taken back.
    pub async fn remove_licence(&self, id: LicenceId) -> Result<(), LcpError> {
        self.store
            .change_by(|| async move {
                let held = self.licence(id).await?;
                if held.value.status.state_at(self.config.clock.now()).is_open() {
                    return Err(LcpError::Open);
                }
                let mut changes =
                    vec![remove::<LicenceEntry>(LicenceEntry::key_of(id), Expected::Revision(held.revision))];
                changes.extend(held.value.nonce.map(|nonce| remove::<Nonce>(Nonce::key_of(nonce), Expected::Any)));
                Ok((changes, ()))
            })
            .await
    }
}
