//! ListObjects: a page of keys in S3's order.
//!
//! A listing is a sequence of items: each key that begins with the prefix, or, where the delimiter occurs behind the prefix, the
//! key cut behind it (a rolled-up prefix, once). Byte order of the rows is the order of the items, so a page is a
//! walk from the first item greater than `after` on. With the delimiter `/` a directory is an item of its own: nobody
//! looks inside, and an empty one that mkdir made shows too. With any other delimiter the walk leaps over all keys that
//! share a rolled-up prefix.

mod walker;

#[cfg(test)]
mod tests;

use crate::key::successor;
use crate::kv::{KvError, KvRead};
use crate::object::hint_of;
use bytes::Bytes;
use proto::meta::{ListedObject, Listing};
use types::Ino;
use walker::{Entry, Walker};

/// Keys in one page, as S3 has it.
const LIST_KEYS_MAX: usize = 1000;
/// Bytes of keys in one page; keys made through a mount may be far longer than S3's.
const LIST_BYTES_MAX: usize = 1 << 20;
/// Rows read for one page. A walk through more (a forest of empty directories) ends the page early.
const LIST_ROWS_MAX: usize = 100_000;

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) prefix: &'a [u8],
    pub(crate) delimiter: &'a [u8],
    pub(crate) after: &'a [u8],
    pub(crate) max: u32,
}

/// Where `needle` begins in `text`.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [] => None,
        [byte] => text.iter().position(|other| other == byte),
        _ => text.windows(needle.len()).position(|window| window == needle),
    }
}

/// The length of the rolled-up prefix that `key` belongs to, if it does.
pub(crate) fn rolled_up(key: &[u8], prefix: &[u8], delimiter: &[u8]) -> Option<usize> {
    let rest = key.strip_prefix(prefix)?;
    find(rest, delimiter).map(|at| prefix.len() + at + delimiter.len())
}

/// The least key an item greater than `after` can stand for; `None` if there is none.
pub(crate) fn lower_bound(prefix: &[u8], delimiter: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    if after < prefix || after.is_empty() {
        return Some(prefix.to_vec());
    }
    match rolled_up(after, prefix, delimiter) {
        Some(len) => successor(&after[..len]),
        None => Some([after, &[0]].concat()),
    }
}

/// A page that is being filled.
#[derive(Default)]
struct Page {
    listing: Listing,
    /// The last item.
    last: Vec<u8>,
    /// The last directory entered since.
    entered: Vec<u8>,
    /// Whether the next page may begin behind that: not below a rolled-up prefix that was not shown yet.
    resumable: bool,
    items: usize,
    bytes: usize,
}

impl Page {
    fn is_full(&self, max: usize) -> bool {
        self.items >= max || self.bytes > LIST_BYTES_MAX
    }

    fn count(&mut self, item: &[u8]) {
        self.items += 1;
        self.bytes += item.len();
        self.last.clear();
        self.last.extend_from_slice(item);
        self.entered.clear();
        self.resumable = true;
    }

    fn enter(&mut self, path: &[u8], resumable: bool) {
        self.entered.clear();
        self.entered.extend_from_slice(path);
        self.resumable = resumable;
    }

    /// Ends the page behind its last item.
    fn end(mut self) -> Listing {
        self.listing.next = Some(self.last.into());
        self.listing
    }

    /// Ends the page where the walk is. A directory's own object is the first thing in it, so whoever begins behind the
    /// path of one, another row having been seen since, misses nothing.
    fn end_early(mut self) -> Listing {
        self.listing.next = Some(if self.entered.is_empty() { self.last.into() } else { self.entered.into() });
        self.listing
    }
}

/// A page of the bucket with this root directory.
pub(crate) fn page(kv: &dyn KvRead, root: Ino, request: &Request<'_>) -> Result<Listing, KvError> {
    let max = LIST_KEYS_MAX.min(request.max as usize);
    let Request { prefix, delimiter, after, .. } = *request;
    let mut page = Page::default();
    let Some(from) = lower_bound(prefix, delimiter, after).filter(|_| max > 0) else { return Ok(page.listing) };
    let mut walker = Walker::new(kv, root)?;
    walker.seek(&from)?;
    while let Some(entry) = walker.next()? {
        let path = walker.path();
        if !path.starts_with(prefix) {
            break;
        }
        let rolled = rolled_up(path, prefix, delimiter);
        if entry.is_dir && (rolled.is_none() || delimiter != b"/") {
            if walker.rows_read() > LIST_ROWS_MAX && page.resumable {
                return Ok(page.end_early());
            }
            page.enter(path, rolled.is_none());
            walker.enter(&entry)?;
            continue;
        }
        if page.is_full(max) {
            return Ok(page.end());
        }
        match rolled {
            Some(len) => {
                let item = Bytes::copy_from_slice(&path[..len]);
                page.count(&item);
                page.listing.prefixes.push(item.clone());
                if !entry.is_dir {
                    let Some(next) = successor(&item) else { break };
                    walker.seek(&next)?;
                }
            }
            None => {
                page.count(path);
                let object = listed(kv, path, &entry)?;
                page.listing.objects.push(object);
            }
        }
    }
    Ok(page.listing)
}

fn listed(kv: &dyn KvRead, path: &[u8], entry: &Entry) -> Result<ListedObject, KvError> {
    let hint = hint_of(kv, &entry.dentry)?;
    let etag = hint.etag.render(entry.dentry.ino, hint.change);
    Ok(ListedObject { key: Bytes::copy_from_slice(path), size: hint.size, mtime: hint.mtime, etag })
}
