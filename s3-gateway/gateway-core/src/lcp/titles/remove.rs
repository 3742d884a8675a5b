//! Titles that go, and whether their licences let them.

use super::SourceClaim;
use crate::lcp::records::{beginning, remove};
use crate::lcp::{LcpError, Lending, LicenceEntry, LicenceIndex, Title, TitleId};
use proto::record::{Expected, RecordScan};

/// Licences that are looked at together.
const LICENCES_PAGE: u32 = 64;

impl Lending {
    /// Removes a title with its packages. While its source is there, the next look at that makes a new title of it, under another content key.
    ///
    /// A licence that is issued at the same moment may be left without its title, as it is if this is forced.
    ///
    /// # Errors
    /// [`LcpError::InUse`]: licences are open, and it is not `forced`; [`LcpError::NoSuchTitle`]; or the cluster's.
    pub async fn remove_title(&self, id: &TitleId, forced: bool) -> Result<(), LcpError> {
        if !forced && self.has_open_licences(id).await? {
            return Err(LcpError::InUse);
        }
        let removed = self
            .store
            .change_by(|| async {
                let held = self.title(id).await?;
                let mut changes =
                    vec![remove::<Title>(id.as_str().to_owned().into(), Expected::Revision(held.revision))];
                let claim = held.value.source.as_ref();
                changes.extend(claim.map(|source| {
                    remove::<SourceClaim>(SourceClaim::key_of(source.bucket, &source.key), Expected::Any)
                }));
                Ok((changes, held.value))
            })
            .await?;
        // What is left after a crash here belongs to no title, and the next sweep removes it.
        self.delete_packages(&removed.packages).await;
        Ok(())
    }

    /// Whether a licence of the title can still be used.
    pub(in crate::lcp) async fn has_open_licences(&self, title: &TitleId) -> Result<bool, LcpError> {
        let now = self.config.clock.now();
        self.any_licence(title, |licence| licence.status.state_at(now).is_open()).await
    }

    /// Whether there is a licence of the title at all.
    pub(in crate::lcp) async fn has_licences(&self, title: &TitleId) -> Result<bool, LcpError> {
        self.any_licence(title, |_| true).await
    }

    async fn any_licence(&self, title: &TitleId, is: impl Fn(&LicenceEntry) -> bool) -> Result<bool, LcpError> {
        let prefix = LicenceEntry::prefix_of(title.as_str());
        let mut scan = RecordScan { by: Some(LicenceIndex::Title.index()), ..beginning(&prefix, LICENCES_PAGE) };
        loop {
            let page = self.store.records::<LicenceEntry>(scan.clone()).await?;
            if page.found.iter().any(|held| held.value.title == *title && is(&held.value)) {
                return Ok(true);
            }
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(false),
            }
        }
    }
}
