//! What clients do, as data: small alphabets of names, so that operations meet.

use crate::event::Millis;
use crate::random::Random;
use bytes::Bytes;
use std::fmt;
use types::UploadId;

/// Names there are.
pub const NAMES: u64 = 7;

/// A name of the one directory everything lies in; S3 sees it as a key, a mount as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub u8);

impl Name {
    fn draw(random: &mut Random) -> Name {
        Name(random.below(NAMES) as u8)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Bytes::from(format!("f{}", self.0))
    }
}

/// What a PUT asks of what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match` of the entity tag this client saw last under that name.
    Seen,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// S3: store `len` bytes.
    Put(Name, usize, Condition),
    /// S3: read everything.
    Get(Name),
    /// S3: delete.
    Delete(Name),
    /// S3: delete everything.
    DeleteAll,
    /// S3: copy by reference.
    Copy(Name, Name),
    /// S3: list everything.
    List,
    /// S3: upload in parts of these lengths; complete it, or give it up.
    Multipart(Name, Vec<usize>, bool),
    /// S3: give up an upload that another client may have begun.
    Abort(Name, UploadId),
    /// Operator: bring back what was deleted last under a name, over what is there or not.
    Restore(Name, bool),
    /// Operator: purge what has lain in the trash longest, of a name or of all.
    Purge(Option<Name>),
    /// Mount: make a file; exclusively or not.
    Create(Name, usize, bool),
    /// Mount: rename; over what is there or not.
    Rename(Name, Name, bool),
    /// Mount: another name.
    Link(Name, Name),
    /// Mount: remove a name.
    Unlink(Name),
    /// Mount: append.
    Append(Name, usize),
    /// Mount: change the permission bits.
    Chmod(Name, u32),
    /// Mount: cut or extend.
    Resize(Name, u64),
    /// Mount: set an extended attribute.
    SetXattr(Name),
    /// Mount: read it.
    GetXattr(Name),
    /// Mount: attributes.
    Stat(Name),
    /// Mount: read the directory.
    ReadDir,
    /// A request numbered so far ahead that the session's window is full.
    FarAhead(Name),
    /// Change records, one of them on a condition.
    PutRecords(u8, Condition),
    /// Read all records by their keys.
    GetRecords,
    /// The first page of them, by an index or by their keys.
    ScanRecords(bool),
    /// The repair worker: one page of chunks that lack a copy.
    Repair,
}

impl Operation {
    /// One of them; `bytes_max` bounds a chunk.
    #[must_use]
    pub fn draw(random: &mut Random, bytes_max: usize) -> Operation {
        let name = Name::draw(random);
        let other = Name::draw(random);
        let len = len(random, bytes_max);
        match random.below(1000) {
            0..190 => Operation::Put(name, len, Condition::None),
            190..240 => Operation::Put(name, len, Condition::Absent),
            240..280 => Operation::Put(name, len, Condition::Seen),
            280..420 => Operation::Get(name),
            420..450 => {
                let condition = *random.pick(&[Condition::None, Condition::Absent, Condition::Seen]).expect("three");
                Operation::PutRecords(name.0, condition)
            }
            450..458 => Operation::GetRecords,
            458..470 => Operation::ScanRecords(random.chance(500)),
            470..490 => Operation::Restore(name, random.chance(500)),
            490..500 => Operation::Purge(Some(name)),
            500..550 => Operation::Delete(name),
            550..590 => Operation::Copy(name, other),
            590..630 => Operation::List,
            630..665 => {
                let parts = (0..random.between(1, 4)).map(|_| 1 + random.below(bytes_max as u64) as usize).collect();
                Operation::Multipart(name, parts, random.chance(800))
            }
            665..700 => Operation::Create(name, len, random.chance(500)),
            700..740 => Operation::Rename(name, other, random.chance(300)),
            740..765 => Operation::Link(name, other),
            765..790 => Operation::Unlink(name),
            790..850 => Operation::Append(name, 1 + random.below(bytes_max as u64) as usize),
            850..870 => Operation::Chmod(name, random.below(0o1000) as u32),
            870..895 => Operation::Resize(name, random.below(2 * bytes_max as u64)),
            895..915 => Operation::SetXattr(name),
            915..930 => Operation::GetXattr(name),
            930..965 => Operation::Stat(name),
            965..997 => Operation::ReadDir,
            _ => Operation::FarAhead(name),
        }
    }
}

/// Nothing, or up to three chunks.
fn len(random: &mut Random, bytes_max: usize) -> usize {
    let chunks = if random.chance(250) { 3 } else { 1 };
    if random.chance(50) { 0 } else { 1 + random.below(chunks * bytes_max as u64) as usize }
}

/// An operation as it is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOperation {
    /// Names it, and the bytes it writes; the same whichever others are left out.
    pub number: u64,
    /// Whose.
    pub client: u64,
    /// Not before.
    pub at: Millis,
    /// What.
    pub operation: Operation,
}

impl fmt::Display for PlannedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlannedOperation { number, client, at, operation } = self;
        write!(f, "{at:>6} ms  operation {number} of client {client}: {operation:?}")
    }
}
