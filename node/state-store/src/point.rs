//! How far a state is, and the row that says so. Byte table: `docs/formats/state-store.md`.

use types::{LogIndex, Term};

/// How far a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AppliedPoint {
    /// The last entry applied.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The newest index known to be committed then.
    pub commit: LogIndex,
}

/// The version of the store's layout. Another is refused. 2: members and a rolling hash.
const VERSION: u8 = 2;

/// `version:1 | index:8 | term:8 | commit:8`.
const POINT_BYTES: usize = 25;
const _: () = assert!(POINT_BYTES == 1 + 3 * 8);

impl AppliedPoint {
    pub(crate) fn encode(self) -> [u8; POINT_BYTES] {
        let mut row = [VERSION; POINT_BYTES];
        row[1..9].copy_from_slice(&self.index.0.to_be_bytes());
        row[9..17].copy_from_slice(&self.term.0.to_be_bytes());
        row[17..].copy_from_slice(&self.commit.0.to_be_bytes());
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<AppliedPoint> {
        let (version, numbers) = row.split_first()?;
        let (numbers, rest) = numbers.as_chunks::<8>();
        let ([index, term, commit], [], VERSION) = (numbers, rest, *version) else {
            return None;
        };
        Some(AppliedPoint {
            index: LogIndex(u64::from_be_bytes(*index)),
            term: Term(u64::from_be_bytes(*term)),
            commit: LogIndex(u64::from_be_bytes(*commit)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_that_of_the_format_page_and_nothing_else_is_read() {
        let point = AppliedPoint { index: LogIndex(0x0102), term: Term(3), commit: LogIndex(4) };
        let row = point.encode();
        let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "02000000000000010200000000000000030000000000000004");
        assert_eq!(AppliedPoint::decode(&row), Some(point));
        assert_eq!(AppliedPoint::decode(&[&row[..], &[0]].concat()), None);
        for cut in 0..row.len() {
            assert_eq!(AppliedPoint::decode(&row[..cut]), None);
        }
        assert_eq!(AppliedPoint::decode(&[&[1], &row[1..]].concat()), None);
    }
}
