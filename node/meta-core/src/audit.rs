//! Looks at the whole state of a group, of any size, in bounded memory, and names what contradicts itself: for `sago fsck`.
//!
//! The relations are those of [`crate::invariants`], which reads everything into memory and is what tests and simulation go by; here
//!
//! 1. one walk over all rows decodes each and holds it against the rows it names, which are looked up (`rows`);
//! 2. what is counted from elsewhere, names of inodes and references to lists and chunks, is counted again for a part of the ids at a
//!    time, in as many walks as it takes (`tally`).
//!
//! | code | what contradicts itself |
//! | --- | --- |
//! | `state-row-damaged` | a key that is none, or a value that cannot be read |
//! | `state-dentry`, `state-directory` | a name and its inode; the counts of a directory |
//! | `state-inode`, `state-content` | an inode and its names, attributes, inline bytes, pieces |
//! | `state-list`, `state-chunk` | references, depth, what is staged, condemned, garbage |
//! | `state-upload`, `state-trash`, `state-session` | uploads and parts; the trash; windows and sessions that are over |
//! | `state-record` | a record and its rows in indexes |
//! | `state-sum` | what the group or a bucket counts |
//! | `state-control` | the control group's own tables |
//!
//! Nothing is changed, and nothing is concluded from rows that cannot be read: where there are such, sums and references are not compared.

mod chunks;
mod records;
mod rows;
mod tally;

#[cfg(test)]
mod tests;

pub use chunks::{StoredChunk, chunk, chunks};

use crate::any_row::{FIRST_KEY, KEYS_END};
use crate::invariants::Broken;
use crate::key::Table;
use crate::key::control::{
    AccessKeyKey, BucketIdKey, BucketNameKey, ControlKey, DeletedBucketKey, GarbageOptionsKey, InvitationKey, MapKey,
    RestKey, UserKey, WriterSessionKey,
};
use crate::kv::{KvError, KvRead};
use crate::row::decode;
use types::{Findings, GroupId};

/// Rows read at a time.
const SCAN_ROWS: usize = 1024;
/// Ids that are counted in one walk, at about a hundred bytes each.
pub const ITEMS_MAX: usize = 2 << 20;

const ADVICE: &str = "if the same group is sound on another node, remove its state folder here and the node fetches it; if not, keep all \
                      nodes' folders and report it";

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Rows.
    pub rows: u64,
    /// Inodes.
    pub inodes: u64,
    /// Extent lists.
    pub lists: u64,
    /// Chunks that are known.
    pub chunks: u64,
    /// Chunks and lists that garbage rows name.
    pub garbage: u64,
    /// Records.
    pub records: u64,
    /// Rows that cannot be read.
    pub damaged: u64,
}

/// Audits the state of `group`. Findings are added; `progress` is told of bytes of rows as they are read, those of each walk.
///
/// `items_max` bounds the ids that are counted at once, at least 1: [`ITEMS_MAX`] takes some 200 MB; a lower one takes more walks.
///
/// # Errors
/// The store cannot be read.
pub fn audit(
    kv: &dyn KvRead,
    group: GroupId,
    items_max: usize,
    findings: &mut Findings,
    progress: &mut dyn FnMut(u64),
) -> Result<Audited, KvError> {
    if group == GroupId::CONTROL {
        return control(kv, findings, progress);
    }
    let mut walk = rows::Walk::new(kv, group, findings);
    each_row(kv, progress, |key, value| walk.row(key, value))?;
    let audited = walk.end()?;
    if audited.damaged == 0 {
        let items = audited.inodes + audited.lists + audited.chunks + audited.garbage;
        let parts = items.div_ceil(items_max.max(1) as u64).max(1);
        for part in 0..parts {
            let mut tally = tally::Tally::new(kv, part, parts)?;
            each_row(kv, progress, |key, value| tally.row(key, value))?;
            tally.end(group, findings);
        }
    }
    Ok(audited)
}

/// Goes through all rows in order.
fn each_row(
    kv: &dyn KvRead,
    progress: &mut dyn FnMut(u64),
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), KvError>,
) -> Result<(), KvError> {
    let mut from = FIRST_KEY.to_vec();
    loop {
        let rows = kv.scan(&from, &KEYS_END, SCAN_ROWS)?;
        for (key, value) in &rows {
            progress((key.len() + value.len()) as u64);
            take(key, value)?;
        }
        match rows.last() {
            Some((last, _)) if rows.len() == SCAN_ROWS => from = [last, &[0][..]].concat(),
            _ => return Ok(()),
        }
    }
}

/// The control group is small: a map, buckets, users, sessions.
fn control(kv: &dyn KvRead, findings: &mut Findings, progress: &mut dyn FnMut(u64)) -> Result<Audited, KvError> {
    let mut audited = Audited::default();
    each_row(kv, progress, |key, value| {
        audited.rows += 1;
        if !is_control_row(key, value) {
            audited.damaged += 1;
            damaged(findings, GroupId::CONTROL, key);
        }
        Ok(())
    })?;
    if audited.damaged == 0 {
        report(findings, GroupId::CONTROL, "state-control", Broken(crate::control::check(kv)?));
    }
    Ok(audited)
}

/// Whether a row of the control group can be read. A group's own row is there too: it has a time.
fn is_control_row(key: &[u8], value: &[u8]) -> bool {
    const GROUP: u8 = Table::Group as u8;
    let text = || key.get(1..).is_some_and(|name| std::str::from_utf8(name).is_ok());
    match key.first() {
        Some(&GROUP) => crate::any_row::AnyRow::decode(key, value).is_some(),
        Some(0x80) => key.len() == 1 && decode::<ControlKey>(key, value).is_ok(),
        Some(0x81) => key.len() == 1 && decode::<MapKey>(key, value).is_ok(),
        Some(0x82) => text() && decode::<BucketNameKey<'_>>(key, value).is_ok(),
        Some(0x83) => key.len() == 9 && decode::<BucketIdKey>(key, value).is_ok(),
        Some(0x84) => text() && decode::<UserKey<'_>>(key, value).is_ok(),
        Some(0x85) => text() && decode::<AccessKeyKey<'_>>(key, value).is_ok(),
        Some(0x86) => WriterSessionKey::decode(key).is_some() && decode::<WriterSessionKey>(key, value).is_ok(),
        Some(0x87) => key.len() == 1 && decode::<GarbageOptionsKey>(key, value).is_ok(),
        Some(0x88) => key.len() == 17 && decode::<InvitationKey>(key, value).is_ok(),
        Some(0x89) => RestKey::decode(key).is_some() && decode::<RestKey>(key, value).is_ok(),
        Some(0x8f) => key.len() == 9 && decode::<DeletedBucketKey>(key, value).is_ok(),
        _ => false,
    }
}

/// Reports a row that makes no sense.
fn damaged(findings: &mut Findings, group: GroupId, key: &[u8]) {
    let key: String = key.iter().take(48).map(|byte| format!("{byte:02x}")).collect();
    findings.damage("state-row-damaged", group, format!("the row {key} cannot be read"), ADVICE);
}

/// Reports what contradicts itself.
fn report(findings: &mut Findings, group: GroupId, code: &'static str, broken: Broken) {
    for what in broken.0 {
        findings.damage(code, group, what, ADVICE);
    }
}
