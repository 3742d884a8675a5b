//! Where the scrub of a disk stands, kept in its directory so that a restart goes on from there.
//!
//! `scrub` is text, replaced by renaming a new file over it, without a flush: an older or a missing one costs reading some chunks
//! once more. A damaged one is as good as none.
//!
//! ```text
//! sago-scrub 1
//! after <chunk id, 32 hex digits, or ->
//! passes <number>
//! finished <seconds since 1970, 0 = never>
//! begun <seconds since 1970>
//! chunks <number>
//! bytes <number>
//! damaged <number>
//! crc32c <8 hex digits: of all bytes above this line>
//! ```

use crate::record::crc32c;
use std::io;
use std::path::Path;
use types::ChunkId;

pub(crate) const NAME: &str = "scrub";
pub(crate) const NEW_NAME: &str = "scrub.new";
const FIRST_LINE: &str = "sago-scrub 1";

/// Where a scrub stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// The pass goes on behind this chunk; from the first one if there is none.
    pub after: Option<ChunkId>,
    /// Passes that came to their end.
    pub passes: u64,
    /// When the last of them did, seconds since 1970; 0: never.
    pub finished: u64,
    /// When the present one began, seconds since 1970.
    pub begun: u64,
    /// Chunks looked at in it.
    pub chunks: u64,
    /// Bytes read in it.
    pub bytes: u64,
    /// Damaged replicas found in it.
    pub damaged: u64,
}

impl ScrubState {
    /// The text of the file.
    #[must_use]
    pub(crate) fn encode(&self) -> String {
        let after = self.after.map_or_else(|| "-".to_owned(), |chunk| format!("{:032x}", chunk.0));
        let ScrubState { passes, finished, begun, chunks, bytes, damaged, .. } = self;
        let body = format!(
            "{FIRST_LINE}\nafter {after}\npasses {passes}\nfinished {finished}\nbegun {begun}\nchunks {chunks}\nbytes {bytes}\ndamaged {damaged}\n"
        );
        let crc = crc32c(body.as_bytes());
        format!("{body}crc32c {crc:08x}\n")
    }

    /// What a file says; `None` if it is not one.
    pub(crate) fn decode(text: &str) -> Option<ScrubState> {
        let body = text.get(..text.rfind("crc32c ")?)?;
        let crc = text[body.len()..].strip_prefix("crc32c ")?.strip_suffix('\n')?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let after = match lines.next()?.strip_prefix("after ")? {
            "-" => None,
            hex => Some(ChunkId(u128::from_str_radix(hex, 16).ok()?)),
        };
        let mut number = |name: &str| lines.next()?.strip_prefix(name)?.trim().parse::<u64>().ok();
        Some(ScrubState {
            after,
            passes: number("passes")?,
            finished: number("finished")?,
            begun: number("begun")?,
            chunks: number("chunks")?,
            bytes: number("bytes")?,
            damaged: number("damaged")?,
        })
    }

    /// Whether what is kept in a data directory can be read.
    pub(crate) fn is_readable(directory: &Path) -> bool {
        std::fs::read_to_string(directory.join(NAME)).is_ok_and(|text| ScrubState::decode(&text).is_some())
    }

    /// What is kept in a data directory; the default if that is nothing.
    pub(crate) fn load(directory: &Path) -> ScrubState {
        let text = std::fs::read_to_string(directory.join(NAME));
        text.ok().and_then(|text| ScrubState::decode(&text)).unwrap_or_default()
    }

    /// Keeps it.
    pub(crate) fn save(&self, directory: &Path) -> io::Result<()> {
        std::fs::write(directory.join(NEW_NAME), self.encode())?;
        std::fs::rename(directory.join(NEW_NAME), directory.join(NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ScrubState {
        let after = Some(ChunkId(0xab << 64));
        ScrubState { after, passes: 3, finished: 1_700_000_000, begun: 1_700_000_001, chunks: 9, bytes: 8, damaged: 1 }
    }

    #[test]
    fn a_state_survives_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(ScrubState::load(folder.path()), ScrubState::default());
        state().save(folder.path()).expect("a write");
        assert_eq!(ScrubState::load(folder.path()), state());
        let text = state().encode();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let read = String::from_utf8(bytes).ok().and_then(|text| ScrubState::decode(&text));
            assert_eq!(read, None, "byte {at}");
        }
        assert_eq!(ScrubState::decode(""), None);
    }

    #[test]
    fn the_file_has_the_documented_text() {
        let text = ScrubState { after: None, ..state() }.encode();
        let body =
            "sago-scrub 1\nafter -\npasses 3\nfinished 1700000000\nbegun 1700000001\nchunks 9\nbytes 8\ndamaged 1\n";
        assert_eq!(text, format!("{body}crc32c {:08x}\n", crc32c(body.as_bytes())));
    }
}
