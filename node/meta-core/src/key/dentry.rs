//! A directory entry: `0x10 frag:8 name`, a directory's name with `/` behind it.
//!
//! Names hold no `/`, so comparing a file with anything below directory `d` is comparing it with `d/`: iteration of
//! one fragment is S3's order, and object `a` may stand beside directory `a/`. The empty file name is the
//! object whose key is the directory's own path.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{dentry::Dentry, row::Key};
use types::FragId;

/// What follows the fragment in the key is kept as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DentryKey {
    pub(crate) frag: FragId,
    stored: Vec<u8>,
}

impl DentryKey {
    /// Bytes in front of the stored name.
    pub(crate) const NAME_AT: usize = 9;

    pub(crate) fn file(frag: FragId, name: &[u8]) -> Self {
        DentryKey { frag, stored: name.to_vec() }
    }

    pub(crate) fn dir(frag: FragId, name: &[u8]) -> Self {
        let mut stored = name.to_vec();
        stored.push(b'/');
        DentryKey { frag, stored }
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Dentry, key)?;
        let frag = FragId(fields.u64()?);
        let stored = fields.rest().to_vec();
        let slashes = stored.iter().filter(|byte| **byte == b'/').count();
        (slashes == 0 || (slashes == 1 && stored.ends_with(b"/"))).then_some(DentryKey { frag, stored })
    }

    /// The name without the mark of a directory.
    pub(crate) fn name(&self) -> &[u8] {
        self.stored.strip_suffix(b"/").unwrap_or(&self.stored)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.stored.ends_with(b"/")
    }

    /// Where the rows of a fragment whose stored name is at least `stored` begin.
    pub(crate) fn lower(frag: FragId, stored: &[u8]) -> Vec<u8> {
        KeyBytes::new(Table::Dentry).u64(frag.0).bytes(stored).done()
    }

    /// Where the rows of a fragment end.
    pub(crate) fn upper(frag: FragId) -> Vec<u8> {
        end_of(&Self::lower(frag, b""))
    }
}

impl Key for DentryKey {
    type Value = Dentry;

    fn encode(&self) -> Vec<u8> {
        Self::lower(self.frag, &self.stored)
    }
}
