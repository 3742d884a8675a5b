//! An inode and what belongs to it: `0x11 ino:8` and then `I` = the inode, `D` = inline data, `X name` = an extended
//! attribute.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{inode::Inode, row::Key};
use bytes::Bytes;
use types::Ino;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InodeKey(pub(crate) Ino);

/// Inline data; the value is the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InlineKey(pub(crate) Ino);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct XattrKey {
    pub(crate) ino: Ino,
    pub(crate) name: Bytes,
}

/// Any row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InodeRow {
    Inode(InodeKey),
    Inline(InlineKey),
    Xattr(XattrKey),
}

impl InodeRow {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Inode, key)?;
        let ino = Ino(fields.u64()?);
        match fields.byte()? {
            b'I' => fields.end().map(|()| InodeRow::Inode(InodeKey(ino))),
            b'D' => fields.end().map(|()| InodeRow::Inline(InlineKey(ino))),
            b'X' => {
                let name = Bytes::copy_from_slice(fields.rest());
                (!name.is_empty()).then_some(InodeRow::Xattr(XattrKey { ino, name }))
            }
            _ => None,
        }
    }
}

fn key(ino: Ino, kind: u8) -> KeyBytes {
    KeyBytes::new(Table::Inode).u64(ino.0).byte(kind)
}

impl XattrKey {
    /// The range of all extended attributes of an inode.
    pub(crate) fn range(ino: Ino) -> (Vec<u8>, Vec<u8>) {
        let start = key(ino, b'X').done();
        let end = end_of(&start);
        (start, end)
    }
}

impl Key for InodeKey {
    type Value = Inode;
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        key(self.0, b'I').done()
    }
}

impl Key for InlineKey {
    type Value = Bytes;

    fn encode(&self) -> Vec<u8> {
        key(self.0, b'D').done()
    }
}

impl Key for XattrKey {
    type Value = Bytes;

    fn encode(&self) -> Vec<u8> {
        key(self.ino, b'X').bytes(&self.name).done()
    }
}
