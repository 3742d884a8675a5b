//! Content keys under a new key-encryption key.

use crate::keyring::KeyError;
use crate::lcp::records::{put, whole};
use crate::lcp::{LcpError, Lending, Title, TitleId};
use proto::record::{Expected, RecordScan};

/// Titles that are looked at together.
const PAGE: u32 = 64;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RewrappedTitles {
    /// Titles seen.
    pub seen: u64,
    /// Of them, those whose content key was wrapped anew.
    pub rewrapped: u64,
    /// Of them, those whose key is damaged, or wrapped under a key that is not here. They stay as they are.
    pub refused: u64,
}

impl Lending {
    /// Wraps anew the content keys that are not under the newest key-encryption key. What they encrypt stays as it is. Can be broken off and repeated; when it
    /// has found nothing to do, the older keys are not needed for titles.
    ///
    /// # Errors
    /// The key service does not answer, or the cluster; what was done until then is done.
    pub async fn rewrap_titles(
        &self,
        progress: &mut (dyn FnMut(&RewrappedTitles) + Send),
    ) -> Result<RewrappedTitles, LcpError> {
        let (mut done, mut scan) = (RewrappedTitles::default(), whole(PAGE));
        loop {
            let page = self.store.records::<Title>(scan.clone()).await?;
            for held in &page.found {
                done.seen += 1;
                if self.keys.is_newest(&held.value.content_key).await? {
                    continue;
                }
                match self.rewrap(&held.value.id).await {
                    Ok(rewrapped) => done.rewrapped += u64::from(rewrapped),
                    Err(LcpError::Key(error @ (KeyError::Damaged | KeyError::NoSuchKek { .. }))) => {
                        tracing::warn!(title = %held.value.id, %error, "a content key was not wrapped anew");
                        done.refused += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            progress(&done);
            match page.next {
                Some(next) => scan = RecordScan { after: Some(next), ..scan },
                None => return Ok(done),
            }
        }
    }

    /// Whether there was still something to do. A title that is being protected meanwhile stays so: a worker knows its own by its number.
    async fn rewrap(&self, id: &TitleId) -> Result<bool, LcpError> {
        let plan = || async {
            let held = match self.title(id).await {
                Err(LcpError::NoSuchTitle) => return Ok((Vec::new(), false)),
                found => found?,
            };
            let mut title = held.value;
            if self.keys.is_newest(&title.content_key).await? {
                return Ok((Vec::new(), false));
            }
            let key = self.content_key(&title).await?;
            title.content_key = self.wrap(&title.id, &key).await?;
            Ok((vec![put(&title, Expected::Revision(held.revision))?], true))
        };
        self.store.change_by(plan).await
    }
}
