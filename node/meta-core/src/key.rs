//! The keys of all rows: one byte names the table, then come big-endian fields, so that plain iteration is the order
//! that queries need.
//!
//! The bytes are a format: docs/formats/rows.md has the table, the golden test below pins it. Tag 0x00 belongs to the
//! store itself (applied index and the like).

pub(crate) mod bucket;
pub(crate) mod chunk;
pub(crate) mod control;
pub(crate) mod dentry;
pub(crate) mod garbage;
pub(crate) mod group;
pub(crate) mod inode;
pub(crate) mod list;
pub(crate) mod record;
pub(crate) mod session;
pub(crate) mod trash;
pub(crate) mod upload;

#[cfg(test)]
mod tests;

/// The tables, by their tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Table {
    Group = 0x01,
    Bucket = 0x02,
    Dentry = 0x10,
    Inode = 0x11,
    List = 0x20,
    Chunk = 0x30,
    UnderReplicated = 0x31,
    Staged = 0x32,
    ClosedEpoch = 0x33,
    Condemned = 0x34,
    Upload = 0x40,
    UploadIndex = 0x41,
    Part = 0x42,
    Sweep = 0x43,
    Trash = 0x50,
    Garbage = 0x51,
    Session = 0x60,
    Answer = 0x61,
    Ended = 0x62,
    Record = 0x70,
    RecordIndex = 0x71,
    Control = 0x80,
    Map = 0x81,
    BucketName = 0x82,
    BucketId = 0x83,
    User = 0x84,
    AccessKey = 0x85,
    WriterSession = 0x86,
    GarbageOptions = 0x87,
    Invitation = 0x88,
    Rest = 0x89,
    DeletedBucket = 0x8f,
}

/// Builds a key.
pub(crate) struct KeyBytes(Vec<u8>);

impl KeyBytes {
    pub(crate) fn new(table: Table) -> Self {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(table as u8);
        KeyBytes(bytes)
    }

    pub(crate) fn byte(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A signed number with its sign bit flipped, so that negative ones sort first.
    pub(crate) fn i64(self, value: i64) -> Self {
        self.u64((value as u64) ^ (1 << 63))
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Bytes of any length in front of further fields: 0x00 becomes 0x00 0xff and 0x00 0x00 ends them, which keeps the
    /// order of the plain bytes.
    pub(crate) fn escaped(self, value: &[u8]) -> Self {
        self.escaped_open(value).bytes(&[0, 0])
    }

    /// As [`Self::escaped`] without the end: a lower bound of all keys whose field is `value` or greater.
    pub(crate) fn escaped_open(mut self, value: &[u8]) -> Self {
        for byte in value {
            self.0.push(*byte);
            if *byte == 0 {
                self.0.push(0xff);
            }
        }
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a key apart; every method returns `None` when the bytes do not fit.
pub(crate) struct Fields<'k>(&'k [u8]);

impl<'k> Fields<'k> {
    pub(crate) fn new(table: Table, key: &'k [u8]) -> Option<Self> {
        let (tag, rest) = key.split_first()?;
        (*tag == table as u8).then_some(Fields(rest))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.u64().map(|bits| (bits ^ (1 << 63)) as i64)
    }

    pub(crate) fn id16(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    pub(crate) fn escaped(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            match self.byte()? {
                0 => match self.byte()? {
                    0 => return Some(value),
                    0xff => value.push(0),
                    _ => return None,
                },
                byte => value.push(byte),
            }
        }
    }

    pub(crate) fn rest(self) -> &'k [u8] {
        self.0
    }

    /// `Some` when nothing is left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The least bytes greater than all that begin with `prefix`; `None` if there are none.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

/// As [`successor`] for keys of a table, whose tag is never 0xff.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    successor(prefix).expect("a table's tag is below 0xff")
}
