//! A disk as the control group knows it.

use crate::DiskId;
use serde::{Deserialize, Serialize};

/// Bytes of a class.
pub const CLASS_BYTES_MAX: usize = 32;
/// The weight of a disk of which nothing was said. Any number would do as long as all disks have the same.
pub const DISK_WEIGHT_DEFAULT: u32 = 100;

/// What may be done with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum DiskState {
    /// It takes new copies and gives those it has.
    #[default]
    Active,
    /// Its copies move away; until they have, it gives them and takes the chunks of its groups.
    Draining,
    /// It gives what it has and takes no copies, by an operator's word.
    ReadOnly,
    /// Given up by an operator: what was on it is made anew elsewhere. For good.
    Failed,
    /// Its node reported that it returns errors: what was on it is made anew elsewhere, until the node reports that it is well again, after a
    /// restart that checked it.
    Broken,
    /// Its node reported that it is full: as [`Self::ReadOnly`], until the node reports that there is room again.
    Full,
}

/// A disk of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskEntry {
    /// Its id.
    pub id: DiskId,
    /// What kind of disk it is, in the operator's words (`ssd`, `durable`); empty for none. At most [`CLASS_BYTES_MAX`] bytes.
    pub class: String,
    /// Its share of all copies, in whatever unit all disks use, such as GiB. 0 takes none.
    pub weight: u32,
    /// What may be done with it.
    pub state: DiskState,
}

impl DiskEntry {
    /// A disk like all others.
    #[must_use]
    pub fn new(id: DiskId) -> Self {
        DiskEntry { id, class: String::new(), weight: DISK_WEIGHT_DEFAULT, state: DiskState::Active }
    }

    /// Whether `class` may be the name of a class: `a-z 0-9 -`, or empty.
    #[must_use]
    pub fn is_class(class: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        class.len() <= CLASS_BYTES_MAX && class.bytes().all(fits)
    }
}
