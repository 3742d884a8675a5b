//! A walk through the tree in key order: one cursor a directory, rows read in batches, forward seeks that neither descend
//! again from the root nor read again what is at hand.

use crate::dentry::Dentry;
use crate::key::dentry::DentryKey;
use crate::kv::{KvError, KvRead, Row};
use crate::namespace::frag_of;
use crate::row;
use types::{FragId, Ino};

/// Rows read at first after a seek; later batches are larger.
const BATCH_ROWS_MIN: usize = 32;
/// Rows read at most at once.
const BATCH_ROWS_MAX: usize = 1024;

/// A row the walk has come to; its whole path is [`Walker::path`].
pub(super) struct Entry {
    pub(super) dentry: Dentry,
    /// The path ends in `/`; its children come only after [`Walker::enter`].
    pub(super) is_dir: bool,
}

/// A place in one directory.
struct Cursor {
    frag: FragId,
    /// Length of the directory's path.
    base: usize,
    rows: Vec<Row>,
    at: usize,
    /// Where to read on once `rows` are used up; `None` at the end.
    from: Option<Vec<u8>>,
    batch: usize,
}

impl Cursor {
    fn new(frag: FragId, base: usize) -> Self {
        let from = Some(DentryKey::lower(frag, b""));
        Cursor { frag, base, rows: Vec::new(), at: 0, from, batch: BATCH_ROWS_MIN }
    }

    /// Moves forward to the first row whose stored name is at least `stored`.
    fn skip_to(&mut self, stored: &[u8]) {
        let target = DentryKey::lower(self.frag, stored);
        self.at += self.rows[self.at..].partition_point(|(key, _)| key.as_ref() < target.as_slice());
        if self.at < self.rows.len() {
            return;
        }
        if let Some(from) = &mut self.from
            && *from < target
        {
            *from = target;
            self.batch = BATCH_ROWS_MIN;
        }
    }

    /// The row it stands at. Counts what it reads in `rows_read`.
    fn peek(&mut self, kv: &dyn KvRead, rows_read: &mut usize) -> Result<Option<&Row>, KvError> {
        if self.at == self.rows.len()
            && let Some(from) = self.from.take()
        {
            self.rows = kv.scan(&from, &DentryKey::upper(self.frag), self.batch)?;
            self.at = 0;
            *rows_read += self.rows.len() + 1;
            if self.rows.len() == self.batch {
                self.from = self.rows.last().map(|(key, _)| [key, &[0][..]].concat());
            }
            self.batch = (self.batch * 4).min(BATCH_ROWS_MAX);
        }
        Ok(self.rows.get(self.at))
    }
}

/// The walk.
pub(super) struct Walker<'a> {
    kv: &'a dyn KvRead,
    path: Vec<u8>,
    stack: Vec<Cursor>,
    rows_read: usize,
}

impl<'a> Walker<'a> {
    /// At the beginning of the bucket with this root.
    pub(super) fn new(kv: &'a dyn KvRead, root: Ino) -> Result<Self, KvError> {
        let stack = vec![Cursor::new(frag_of(kv, root)?, 0)];
        Ok(Walker { kv, path: Vec::new(), stack, rows_read: 0 })
    }

    /// The path of the entry that [`Walker::next`] has returned.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn rows_read(&self) -> usize {
        self.rows_read
    }

    /// The next row of the innermost directory entered, or of those above it.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, KvError> {
        while let Some(cursor) = self.stack.last_mut() {
            self.path.truncate(cursor.base);
            if let Some((key, value)) = cursor.peek(self.kv, &mut self.rows_read)? {
                let name = &key[DentryKey::NAME_AT..];
                self.path.extend_from_slice(name);
                let entry = Entry { dentry: row::decode::<DentryKey>(key, value)?, is_dir: name.ends_with(b"/") };
                cursor.at += 1;
                return Ok(Some(entry));
            }
            self.stack.pop();
        }
        Ok(None)
    }

    /// Goes into the directory that [`Walker::next`] has just returned.
    pub(super) fn enter(&mut self, entry: &Entry) -> Result<(), KvError> {
        let frag = frag_of(self.kv, entry.dentry.ino)?;
        self.rows_read += 1;
        self.stack.push(Cursor::new(frag, self.path.len()));
        Ok(())
    }

    /// Moves forward to the first entry that is, or leads to, a path of at least `target`.
    pub(super) fn seek(&mut self, target: &[u8]) -> Result<(), KvError> {
        while let Some(cursor) = self.stack.last()
            && !(target.len() >= cursor.base && target.starts_with(&self.path[..cursor.base]))
        {
            // The directory lies before the target as a whole, and so does its row above.
            self.stack.pop();
        }
        while let Some(cursor) = self.stack.last_mut() {
            let base = cursor.base;
            self.path.truncate(base);
            let rest = &target[base..];
            let slash = rest.iter().position(|byte| *byte == b'/');
            let name = &rest[..slash.map_or(rest.len(), |slash| slash + 1)];
            cursor.skip_to(name);
            if slash.is_none() || name.len() == rest.len() {
                return Ok(());
            }
            match cursor.peek(self.kv, &mut self.rows_read)? {
                Some((key, value)) if &key[DentryKey::NAME_AT..] == name => {
                    let dentry = row::decode::<DentryKey>(key, value)?;
                    cursor.at += 1;
                    self.path.extend_from_slice(name);
                    self.enter(&Entry { dentry, is_dir: true })?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}
