//! ZIP archives: an exact reader for what others wrote, and a writer for what is kept.
//!
//! ```text
//! { local header | data [| data descriptor] } * | central directory | [Zip64 end | locator] | end [| comment]
//! ```
//! The reader trusts the central directory, proves what it claims, and refuses whatever two readers could understand in two ways: names that leave the
//! archive, names twice, entries that lie over each other, headers that contradict each other, sizes and checksums that are not those of the data. It
//! holds the central directory in memory, and of the data a piece of [`PIECE_BYTES`].
//!
//! The writer appends only. Each entry comes with its checksum and sizes in its local header, never with a data descriptor: readers of streams need
//! them there, above all for stored entries. Who does not know them beforehand measures first ([`crate::package`] says how).
//!
//! Source: APPNOTE.TXT 6.3.10; ISO/IEC 21320-1; EPUB 3.3, section 4.3.

mod entry;
mod error;
mod limits;
mod names;
mod reader;
mod records;
mod stream;
mod writer;

pub use entry::{Entry, Method};
pub use error::{NameFault, ZipError};
pub use limits::Limits;
pub use reader::Archive;
pub use stream::{EntryReader, StoredReader};
pub use writer::{Directory, NewEntry, Writer};

pub(crate) use names::{NAME_BYTES_MAX, check_name};
pub(crate) use records::{DirectoryWalk, End, central_header, local_header};

/// How much of an entry is in memory at once, before and after inflating.
pub const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
pub(crate) mod tests;
