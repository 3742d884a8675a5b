//! Content that is cut off or written over as a whole goes to the trash too, in an inode of its own.

use super::{Reason, TrashRow, path_of};
use crate::content::{Body, Content};
use crate::inode::{Inode, What};
use crate::key::inode::InlineKey;
use crate::key::trash::TrashKey;
use crate::list::Runs;
use crate::txn::{Step, Txn};
use crate::xattr;
use bytes::Bytes;
use proto::object::{ETag, NewExtent};
use types::Ino;

/// Where the content of a file with several names is kept, which does not know them: `lost+found/GROUP.NUMBER` of its inode.
const NAMELESS: &str = "lost+found";

/// Whether extents cover all of `0..size` without a gap. Malformed ones are refused later.
fn cover(extents: &[NewExtent], size: u64) -> bool {
    let mut at = 0u64;
    for new in extents {
        if new.extent.file_offset != at {
            return false;
        }
        at = at.saturating_add(u64::from(new.extent.len));
    }
    at >= size
}

impl Txn<'_> {
    /// Whether a write leaves nothing of the content that is there.
    pub(crate) fn replaces_all(
        &self,
        ino: Ino,
        inode: &Inode,
        inline: Option<&Bytes>,
        extents: &[NewExtent],
        append: bool,
    ) -> Step<bool> {
        let What::File(content) = &inode.what else { return Ok(false) };
        let Some(data) = inline else { return Ok(!append && cover(extents, content.size)) };
        let pieces = match &content.body {
            Body::Direct(pieces) => !pieces.is_empty(),
            Body::List(list) => Runs::new(self.rows(), *list, &(0..u64::MAX)).next()?.is_some(),
        };
        if pieces || u64::from(content.inline) != content.size {
            return Ok(true);
        }
        // A small file that only grew is sent whole.
        let before = if content.inline > 0 { self.require(&InlineKey(ino))? } else { Bytes::new() };
        Ok(!data.starts_with(&before))
    }

    /// Takes the whole content off a file. What its author did not begin a few minutes ago goes to the trash, all else is dropped.
    pub(crate) fn replace_content(&mut self, ino: Ino, inode: &mut Inode) -> Step<()> {
        let scratch = self.is_scratch(inode.content_author, inode.content_begun, Reason::Truncated);
        if inode.size() > 0 && inode.nlink > 0 && !scratch {
            self.keep_content(ino, inode)?;
        }
        inode.content_begun = self.now;
        inode.content_author = self.session.unwrap_or_default();
        Ok(())
    }

    /// Moves the content, with copies of all attributes, to an inode in the trash.
    fn keep_content(&mut self, ino: Ino, inode: &mut Inode) -> Step<()> {
        let What::File(content) = &mut inode.what else { return Ok(()) };
        self.check_breaker(inode.bucket)?;
        let size = content.size;
        let moved = std::mem::replace(content, Content::empty(ETag::Posix));
        let kept_ino = self.next_ino();
        if moved.inline > 0 {
            let data = self.require(&InlineKey(ino))?;
            self.remove(&InlineKey(ino));
            self.write(&InlineKey(kept_ino), &data);
        }
        let xattrs = xattr::list(self.rows(), ino)?;
        self.write_xattrs(kept_ino, &xattrs);
        let kept = Inode { nlink: 0, parent: None, what: What::File(moved), ..inode.clone() };
        self.put_inode(kept_ino, &kept);

        let row = self.kept_row(ino, inode)?;
        self.write(&TrashKey { bucket: inode.bucket, time: self.now, ino: kept_ino }, &row);
        self.count_usage(inode.bucket, Some(size), Some(0))?;
        self.count_trash(inode.bucket, None, Some(size))?;
        self.count_deletion(inode.bucket)
    }

    fn kept_row(&self, ino: Ino, inode: &Inode) -> Step<TrashRow> {
        let session = self.session.unwrap_or_default();
        let (parent, name, path) = match &inode.parent {
            Some(place) => (place.dir, place.name.clone(), path_of(self.rows(), place)?),
            None => {
                let name = format!("{}.{}", ino.group().0, ino.counter());
                (Ino::default(), Bytes::from(name.clone()), Bytes::from(format!("{NAMELESS}/{name}")))
            }
        };
        Ok(TrashRow { parent, name, path, session, reason: Reason::Truncated, scratch: false })
    }
}
