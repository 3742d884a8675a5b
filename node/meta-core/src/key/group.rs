//! The group's own row: `0x01`.

use super::{KeyBytes, Table};
use crate::{group::Counters, row::Key};

pub(crate) struct GroupKey;

impl Key for GroupKey {
    type Value = Counters;
    // 2: leaps, garbage, the floor of sessions. 3: whether the time stands still, whether a recovery holds garbage.
    const VERSION: u8 = 3;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Group).done()
    }
}
