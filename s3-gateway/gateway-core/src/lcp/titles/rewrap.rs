//! Content keys under a new key-encryption key.

use crate::lcp::records::{put, whole};
use crate::lcp::{LcpError, Lending, Title, TitleId};
use proto::record::{Expected, RecordScan};

/// Titles that are looked at together.
const PAGE: u32 = 64;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rewrapped {
    /// Titles seen.
    pub seen: u64,
    /// Keys that were wrapped anew.
    pub rewrapped: u64,
}

impl Lending {
    /// Wraps anew the content keys that are not under the newest key-encryption key. What they encrypt stays as it is. Can be broken off and repeated.
    ///
    /// # Errors
    /// The key service's, at the first key that it cannot give back; or the cluster's.
    pub async fn rewrap_titles(&self, progress: &mut (dyn FnMut(&Rewrapped) + Send)) -> Result<Rewrapped, LcpError> {
        let (mut done, mut scan) = (Rewrapped::default(), whole(PAGE));
        loop {
            let page = self.store.records::<Title>(scan.clone()).await?;
            for held in &page.found {
                done.seen += 1;
                if !self.keys.is_newest(&held.value.content_key).await? {
                    done.rewrapped += u64::from(self.rewrap(&held.value.id).await?);
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
