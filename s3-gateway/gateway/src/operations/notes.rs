//! What became of objects, told to those who make titles of them.

use futures::{StreamExt as _, stream};
use gateway_core::lcp::Lending;
use std::time::Duration;

/// Longest wait for a note. It is worth a moment, so that a title is there when the client hears of its object; what comes to nothing the next sweep makes up for.
const NOTE_MAX: Duration = Duration::from_secs(5);
/// Notes of one request at a time: one that deletes has up to a thousand.
const NOTES_AT_ONCE: usize = 16;

/// Has titles follow their sources, if this gateway lends books.
pub(crate) struct Notes(Option<Lending>);

impl Notes {
    pub(crate) fn new(lending: Option<Lending>) -> Self {
        Notes(lending)
    }

    /// Something was stored, replaced or deleted at these keys. Never fails the request that did it.
    pub(super) async fn note(&self, bucket: &str, keys: &[&str]) {
        let Some(lending) = &self.0 else { return };
        let notes = stream::iter(keys).for_each_concurrent(NOTES_AT_ONCE, |key| async move {
            if let Err(error) = lending.note_object(bucket, key).await {
                tracing::warn!(
                    bucket,
                    key,
                    error = &error as &dyn std::error::Error,
                    "a title is left to the next sweep"
                );
            }
        });
        if tokio::time::timeout(NOTE_MAX, Box::pin(notes)).await.is_err() {
            tracing::warn!(bucket, keys = keys.len(), "titles are left to the next sweep");
        }
    }
}
