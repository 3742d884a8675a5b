//! Titles in lists, and how many stand where.

use crate::lcp::licences::SKIP_MAX;
use crate::lcp::records::{Page, beginning, whole};
use crate::lcp::title::TitleIndex;
use crate::lcp::{LcpError, Lending, Title};
use proto::record::{RecordCursor, RecordScan};
use types::BucketId;

/// Titles in one page.
const PAGE_MAX: u32 = 1000;
/// So many of one standing are counted; who has more sees this.
const COUNT_MAX: u64 = 100_000;

/// Which titles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TitleFilter {
    /// All, by id.
    All,
    /// Those whose sources are in this bucket.
    Bucket(BucketId),
    /// Those that stand so: [`crate::lcp::Standing::number`].
    Standing(u8),
    /// Those whose newest package is of this media type.
    Format(String),
    /// Those that the store knows by this id.
    Alt(String),
}

impl TitleFilter {
    fn scan(&self, max: u32) -> RecordScan {
        let (index, prefix) = match self {
            TitleFilter::All => return whole(max),
            TitleFilter::Bucket(bucket) => (TitleIndex::Bucket, bucket.0.to_be_bytes().to_vec()),
            TitleFilter::Standing(number) => (TitleIndex::Standing, vec![*number]),
            TitleFilter::Format(format) => (TitleIndex::Format, Title::format_entry(format).to_vec()),
            TitleFilter::Alt(alt_id) => (TitleIndex::Alt, Title::alt_entry(alt_id).to_vec()),
        };
        RecordScan { by: Some(index.index()), ..beginning(&prefix, max) }
    }

    /// An index entry may be a prefix or a hash of what is asked for.
    fn holds(&self, title: &Title) -> bool {
        match self {
            TitleFilter::Format(format) => title.package().is_some_and(|package| package.media_type == *format),
            TitleFilter::Alt(alt_id) => title.alt_id.as_ref() == Some(alt_id),
            TitleFilter::All | TitleFilter::Bucket(_) | TitleFilter::Standing(_) => true,
        }
    }
}

/// How many titles stand where; each is counted up to a hundred thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TitleCounts {
    /// They wait for a worker.
    pub queued: u64,
    /// A worker protects them.
    pub protecting: u64,
    /// They can be lent.
    pub ready: u64,
    /// They cannot be protected.
    pub failed: u64,
    /// Their sources were deleted.
    pub gone: u64,
}

impl Lending {
    /// A page of titles, of at most a thousand.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn titles(
        &self,
        filter: &TitleFilter,
        after: Option<RecordCursor>,
        max: u32,
    ) -> Result<Page<Title>, LcpError> {
        let scan = RecordScan { after, ..filter.scan(max.clamp(1, PAGE_MAX)) };
        let mut page = self.store.records::<Title>(scan).await?;
        page.found.retain(|held| filter.holds(&held.value));
        Ok(page)
    }

    /// Titles behind the first `skip` of them: for those who count pages.
    ///
    /// # Errors
    /// [`LcpError::Invalid`]: `skip` is over [`SKIP_MAX`]. The cluster's.
    pub async fn titles_from(&self, filter: &TitleFilter, skip: u64, max: u32) -> Result<Page<Title>, LcpError> {
        if skip > SKIP_MAX {
            let reason = format!("only the first {SKIP_MAX} titles have pages with numbers");
            return Err(LcpError::invalid("page", reason));
        }
        let (mut left, mut after) = (skip, None);
        while left > 0 {
            let scan = RecordScan { after, ..filter.scan(left.min(u64::from(PAGE_MAX)) as u32) };
            let (passed, next) = self.store.record_keys::<Title>(scan).await?;
            left -= passed.len() as u64;
            after = next;
            if after.is_none() {
                return Ok(Page { found: Vec::new(), next: None });
            }
        }
        self.titles(filter, after, max).await
    }

    /// How many titles stand where.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn title_counts(&self) -> Result<TitleCounts, LcpError> {
        let mut counts = TitleCounts::default();
        let all = [&mut counts.queued, &mut counts.protecting, &mut counts.ready, &mut counts.failed, &mut counts.gone];
        for (number, count) in (1u8..).zip(all) {
            let scan = TitleFilter::Standing(number).scan(1);
            *count = self.store.count_records::<Title>(scan, COUNT_MAX).await?;
        }
        Ok(counts)
    }
}
