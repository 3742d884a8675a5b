//! A counted extent list: `0x20 list:8 H` = its header, `0x20 list:8 P end:8` = a run of its pieces.
//!
//! A run is keyed by the end of its last piece, so that the first row at or after `offset + 1` is the one that holds
//! `offset`, without a step backwards.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{list::ListHeader, piece::Piece, row::Key};
use types::ListId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListKey(pub(crate) ListId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunKey {
    pub(crate) list: ListId,
    pub(crate) end: u64,
}

/// Any row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListRow {
    Header(ListKey),
    Run(RunKey),
}

impl ListRow {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::List, key)?;
        let list = ListId(fields.u64()?);
        let row = match fields.byte()? {
            b'H' => ListRow::Header(ListKey(list)),
            b'P' => ListRow::Run(RunKey { list, end: fields.u64()? }),
            _ => return None,
        };
        fields.end().map(|()| row)
    }
}

impl RunKey {
    /// Where the runs that reach beyond `offset` begin.
    pub(crate) fn beyond(list: ListId, offset: u64) -> Vec<u8> {
        RunKey { list, end: offset.saturating_add(1) }.encode()
    }

    /// Where the runs of a list end.
    pub(crate) fn upper(list: ListId) -> Vec<u8> {
        end_of(&KeyBytes::new(Table::List).u64(list.0).byte(b'P').done())
    }
}

impl Key for ListKey {
    type Value = ListHeader;
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::List).u64(self.0.0).byte(b'H').done()
    }
}

impl Key for RunKey {
    type Value = Vec<Piece>;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::List).u64(self.list.0).byte(b'P').u64(self.end).done()
    }
}
