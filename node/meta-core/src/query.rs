//! Queries: reads of one consistent state.

use crate::chunk;
use crate::content;
use crate::dentry::{self, Dentry};
use crate::epoch;
use crate::garbage;
use crate::inode::{self, Inode, What};
use crate::key::dentry::DentryKey;
use crate::key::upload::UploadIndexKey;
use crate::kv::{KvError, KvRead};
use crate::listing::{self, lower_bound, rolled_up};
use crate::row::{self, Corrupt};
use crate::txn::{Step, settle};
use crate::{bucket, group, object, posix, record, trash, upload, xattr};
use bytes::Bytes;
use proto::meta::{Answer, DirEntry, PartListing, PartView, Query, Refusal, UploadListing};
use proto::object::{Attr, ContentView, ObjectView};
use types::{BucketId, GroupId, Ino, PARTS_MAX, Timestamp, UploadId};

/// Entries in one page of a directory or of an audit.
const PAGE_ENTRIES_MAX: u32 = 1024;
/// Uploads in one page, as S3 has it.
const PAGE_UPLOADS_MAX: u32 = 1000;
/// Bytes of names and metadata in one page, well below an envelope.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Index rows read at a time.
const SCAN_ROWS: usize = 256;

/// Answers a query of a metadata group.
///
/// # Errors
/// The outer result: the store failed, the replica must stop. The inner one: the answer is a refusal.
pub fn query(kv: &dyn KvRead, group: GroupId, query: &Query) -> Result<Result<Answer, Refusal>, KvError> {
    if group == GroupId::CONTROL {
        return Ok(Err(Refusal::Invalid));
    }
    settle(answer(kv, group, query))
}

fn answer(kv: &dyn KvRead, group: GroupId, query: &Query) -> Step<Answer> {
    Ok(match query {
        Query::Object { bucket, key, content } => {
            let (view, content) = object_view(kv, *bucket, key, *content)?;
            Answer::Object(view, content)
        }
        Query::ListObjects { bucket, prefix, delimiter, after, max } => {
            let root = bucket::load(kv, *bucket)??.root;
            Answer::Listing(listing::page(kv, root, &listing::Request { prefix, delimiter, after, max: *max })?)
        }
        Query::ListUploads { bucket, prefix, delimiter, after, max } => {
            bucket::load(kv, *bucket)??;
            Answer::Uploads(uploads(kv, *bucket, prefix, delimiter, after.as_ref(), *max)?)
        }
        Query::ListParts { bucket, key, upload, after, max } => {
            Answer::Parts(part_listing(kv, *bucket, key, *upload, *after, *max)?)
        }
        Query::BucketRoot { bucket } => {
            let root = bucket::load(kv, *bucket)??.root;
            Answer::Attr(required(kv, root)?.attr(root))
        }
        Query::Lookup { parent, name } => Answer::Attr(lookup(kv, *parent, name)?),
        Query::GetAttr { ino } => Answer::Attr(named(kv, *ino)?.attr(*ino)),
        Query::ReadDir { ino, after, max } => Answer::Entries(read_dir(kv, *ino, after, *max)?),
        Query::Content { ino, offset, len } => {
            let inode = named(kv, *ino)?;
            let content = inode.content().ok_or(Refusal::IsDirectory)?;
            Answer::Content(content::view(kv, *ino, content, inode.change, *offset, *len)?)
        }
        Query::GetXattr { ino, name } => {
            named(kv, *ino)?;
            let value = xattr::get(kv, *ino, name)?.ok_or(Refusal::NoXattr)?;
            Answer::Xattrs(vec![(name.clone(), value)])
        }
        Query::ListXattrs { ino } => {
            named(kv, *ino)?;
            Answer::Xattrs(xattr::list(kv, *ino)?)
        }
        Query::Usage { bucket } => Answer::Usage(bucket::load(kv, *bucket)??.usage()),
        Query::UnderReplicated { after, max } => {
            let max = (*max).min(PAGE_ENTRIES_MAX) as usize;
            Answer::UnderReplicated(chunk::under_replicated(kv, *after, max)?)
        }
        Query::Whole { after, max } => {
            let (chunks, next) = chunk::whole(kv, *after, (*max).min(PAGE_ENTRIES_MAX) as usize)?;
            Answer::Whole { chunks, next }
        }
        Query::ListTrash { bucket, filter, after, max } => {
            let max = (*max).min(PAGE_ENTRIES_MAX) as usize;
            Answer::Trash(trash::list(kv, *bucket, filter, *after, max)?)
        }
        Query::BucketStatus { bucket } => {
            Answer::BucketStatus(bucket::load(kv, *bucket)??.status(group::load(kv)?.time))
        }
        Query::GroupBuckets { after, max } => {
            let max = (*max).min(PAGE_ENTRIES_MAX) as usize;
            Answer::GroupBuckets(bucket::list(kv, *after, max)?)
        }
        Query::JudgeChunks { chunks } => Answer::Judged(garbage::judge(kv, group, chunks)?),
        Query::Condemned { after, max } => {
            let max = (*max).min(PAGE_ENTRIES_MAX) as usize;
            Answer::Condemned(garbage::condemned(kv, *after, max)?)
        }
        Query::Garbage => Answer::Garbage(garbage::status(kv)?),
        Query::SessionsOver { first, last } => {
            if first > last {
                return Err(Refusal::Invalid.into());
            }
            Answer::SessionsOver(epoch::are_over(kv, &crate::group::load(kv)?, &(*first..=*last))?)
        }
        Query::Records { bucket, keys } => {
            bucket::load(kv, *bucket)??;
            Answer::Records(record::get(kv, *bucket, keys)?)
        }
        Query::ScanRecords { bucket, scan } => {
            bucket::load(kv, *bucket)??;
            Answer::RecordPage(record::scan(kv, *bucket, scan)?)
        }
    })
}

/// An inode that a caller named.
fn named(kv: &dyn KvRead, ino: Ino) -> Step<Inode> {
    Ok(inode::load(kv, ino)?.ok_or(Refusal::StaleInode)?)
}

/// An inode that a row refers to.
fn required(kv: &dyn KvRead, ino: Ino) -> Step<Inode> {
    Ok(row::require(kv, &crate::key::inode::InodeKey(ino))?)
}

fn object_view(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: &[u8],
    wanted: Option<(u64, u64)>,
) -> Step<(ObjectView, Option<ContentView>)> {
    let (ino, inode) = object::load(kv, bucket, key)??;
    let view = ObjectView { attr: inode.object_attr(ino), xattrs: xattr::list(kv, ino)? };
    let content = match (&inode.what, wanted) {
        (What::File(content), Some((offset, len))) => Some(content::view(kv, ino, content, inode.change, offset, len)?),
        // A symbolic link is an object without bytes.
        (_, Some(_)) => Some(ContentView { change: inode.change, ..ContentView::default() }),
        (_, None) => None,
    };
    Ok((view, content))
}

fn lookup(kv: &dyn KvRead, parent: Ino, name: &[u8]) -> Step<Attr> {
    let frag = named(kv, parent)?.directory()?.frag();
    let (dir, file) = posix::find(kv, frag, name)?;
    let found = dir.or(file).ok_or(Refusal::NotFound)?;
    Ok(dentry::inode_of(kv, &found)?.attr(found.ino))
}

fn read_dir(kv: &dyn KvRead, ino: Ino, after: &[u8], max: u32) -> Step<Vec<DirEntry>> {
    let frag = named(kv, ino)?.directory()?.frag();
    // Behind `after`, and behind the marker, whose name is empty.
    let mut start = DentryKey::lower(frag, after);
    start.push(0);
    let max = max.min(PAGE_ENTRIES_MAX) as usize;
    let mut entries = Vec::with_capacity(max);
    let mut bytes = 0;
    for (key, value) in kv.scan(&start, &DentryKey::upper(frag), max)? {
        let found: Dentry = row::decode::<DentryKey>(&key, &value)?;
        let cursor = key.slice(DentryKey::NAME_AT..);
        let name = cursor.strip_suffix(b"/").map_or(cursor.len(), <[u8]>::len);
        let attr = dentry::inode_of(kv, &found)?.attr(found.ino);
        bytes += 2 * cursor.len() + size_of::<Attr>();
        entries.push(DirEntry { name: cursor.slice(..name), cursor, attr });
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(entries)
}

fn uploads(
    kv: &dyn KvRead,
    bucket: BucketId,
    prefix: &[u8],
    delimiter: &[u8],
    after: Option<&(Bytes, Option<UploadId>)>,
    max: u32,
) -> Step<UploadListing> {
    let max = max.min(PAGE_UPLOADS_MAX) as usize;
    let mut page = UploadListing::default();
    let end = UploadIndexKey::upper(bucket);
    let Some(mut from) = uploads_from(bucket, prefix, delimiter, after).filter(|_| max > 0) else {
        return Ok(page);
    };
    let mut bytes = 0;
    loop {
        let rows = kv.scan(&from, &end, SCAN_ROWS)?;
        let full = rows.len() == SCAN_ROWS;
        let mut leap = None;
        for (row_key, value) in &rows {
            let found = UploadIndexKey::decode(row_key).ok_or_else(|| KvError::from(Corrupt::Row(row_key.to_vec())))?;
            if !found.key.starts_with(prefix) {
                return Ok(page);
            }
            if page.uploads.len() + page.prefixes.len() == max || bytes > PAGE_BYTES_MAX {
                page.truncated = true;
                return Ok(page);
            }
            bytes += found.key.len();
            if let Some(len) = rolled_up(&found.key, prefix, delimiter) {
                let rolled = Bytes::from(found.key).slice(..len);
                leap = Some(crate::key::successor(&rolled));
                page.prefixes.push(rolled);
                break;
            }
            let begun: Timestamp = row::decode::<UploadIndexKey>(row_key, value)?;
            page.uploads.push((found.key.into(), found.upload, begun));
        }
        from = match (leap, rows.last()) {
            (Some(Some(next)), _) => UploadIndexKey::lower(bucket, &next),
            (None, Some((last, _))) if full => [last, &[0][..]].concat(),
            _ => return Ok(page),
        };
    }
}

/// Where a page of uploads begins.
fn uploads_from(
    bucket: BucketId,
    prefix: &[u8],
    delimiter: &[u8],
    after: Option<&(Bytes, Option<UploadId>)>,
) -> Option<Vec<u8>> {
    let Some((key, upload)) = after.filter(|(key, _)| key.as_ref() >= prefix) else {
        return Some(UploadIndexKey::lower(bucket, prefix));
    };
    if rolled_up(key, prefix, delimiter).is_some() {
        return lower_bound(prefix, delimiter, key).map(|next| UploadIndexKey::lower(bucket, &next));
    }
    Some(match upload {
        Some(upload) => {
            let at = UploadIndexKey { bucket, key: key.to_vec(), upload: *upload };
            let mut from = row::Key::encode(&at);
            from.push(0);
            from
        }
        None => UploadIndexKey::after_key(bucket, key),
    })
}

fn part_listing(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: &[u8],
    upload: UploadId,
    after: u16,
    max: u32,
) -> Step<PartListing> {
    bucket::load(kv, bucket)??;
    let begun = upload::load(kv, bucket, key, upload)??;
    let max = max.min(u32::from(PARTS_MAX)) as usize;
    let mut page = PartListing { xattrs: begun.xattrs, ..PartListing::default() };
    if max == 0 {
        return Ok(page);
    }
    let mut bytes = 0;
    for (number, part) in upload::parts(kv, upload, after, max + 1)? {
        if page.parts.len() == max || bytes > PAGE_BYTES_MAX {
            page.truncated = true;
            break;
        }
        bytes += 64 + part.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        page.parts.push(PartView {
            part: number,
            size: part.size,
            md5: part.md5,
            mtime: part.mtime,
            xattrs: part.xattrs,
        });
    }
    Ok(page)
}
