//! The rows of a group in one file, readable without RocksDB: for backups of the metadata.
//!
//! A head that says whose rows they are and as of when, the rows in their order with their lengths, and a BLAKE3 of everything. The reader
//! believes no length: it takes memory only for bytes that are there, and refuses what is longer than any row. What it has handed out is
//! to be trusted once it has come to the end.
//!
//! Byte table: `docs/formats/meta-export.md`.

use bytes::Bytes;
use meta_core::kv::{KvError, KvRead, Row};
use std::io::{self, Read, Write};
use types::{ClusterId, GroupId, LogIndex, Term, Timestamp};

const MAGIC: [u8; 8] = *b"SAGOMETA";
/// The version of the file. Another is refused.
const VERSION: u32 = 1;
const HASH_BYTES: usize = 32;
/// `magic:8 | version:4 | cluster:16 | group:4 | index:8 | term:8 | time:8`, before its hash.
const HEAD_BYTES: usize = 56;
const _: () = assert!(HEAD_BYTES == 8 + 4 + 16 + 4 + 8 + 8 + 8);

/// The longest key and value that are read. Keys hold a name or an S3 key, escaped, or an upload's; the largest value is the placement map
/// of a thousand nodes, about a MiB.
const KEY_BYTES_MAX: u32 = 64 << 10;
const VALUE_BYTES_MAX: u32 = 64 << 20;
/// Rows read from a store at a time.
const SCAN_ROWS: usize = 1024;

/// Whose rows they are, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportHead {
    /// The cluster.
    pub cluster: ClusterId,
    /// The group.
    pub group: GroupId,
    /// The last entry of the log that is in them.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The group's time then. For people.
    pub time: Timestamp,
}

/// What was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSum {
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Why an export could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] KvError),
    /// It is something else.
    #[error("not an export of metadata")]
    NotAnExport,
    /// It was written by a program that this one does not know.
    #[error("an export of version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// It is not what was written.
    #[error("the export is damaged: {0}")]
    Damaged(&'static str),
    /// A row of the store is longer than any that there can be.
    #[error("a row of {0} bytes is too long to be exported")]
    RowTooLong(usize),
}

/// Writes all rows of a group. Flushing and putting the file in its place is the caller's.
///
/// # Errors
/// [`ExportError`]; what was written is of no use.
pub fn write_export(
    out: &mut dyn Write,
    head: &ExportHead,
    rows: &dyn KvRead,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportSum, ExportError> {
    let mut out = Hashed { inner: out, hasher: blake3::Hasher::new() };
    let coded = encode_head(head);
    out.write_all(&coded)?;
    out.write_all(blake3::hash(&coded).as_bytes())?;
    let mut sum = ExportSum::default();
    let mut from = Vec::new();
    loop {
        let page = rows.scan(&from, &[0xff], SCAN_ROWS)?;
        for (key, value) in &page {
            let bytes = write_row(&mut out, key, value)?;
            sum.rows += 1;
            sum.bytes += bytes;
            progress(bytes);
        }
        match page.last() {
            Some((last, _)) if page.len() == SCAN_ROWS => from = [&last[..], &[0]].concat(),
            _ => break,
        }
    }
    out.write_all(&0u32.to_be_bytes())?;
    out.write_all(&sum.rows.to_be_bytes())?;
    let hash = *out.hasher.finalize().as_bytes();
    out.inner.write_all(&hash)?;
    Ok(sum)
}

fn write_row(out: &mut dyn Write, key: &[u8], value: &[u8]) -> Result<u64, ExportError> {
    let length = |bytes: &[u8], max: u32| {
        let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= max);
        len.ok_or(ExportError::RowTooLong(bytes.len()))
    };
    let (key_bytes, value_bytes) = (length(key, KEY_BYTES_MAX)?, length(value, VALUE_BYTES_MAX)?);
    if key.is_empty() {
        return Err(ExportError::Damaged("a row without a key"));
    }
    out.write_all(&key_bytes.to_be_bytes())?;
    out.write_all(&value_bytes.to_be_bytes())?;
    out.write_all(key)?;
    out.write_all(value)?;
    Ok(u64::from(key_bytes) + u64::from(value_bytes))
}

/// Reads an export, row by row.
pub struct ExportReader<R> {
    inner: Hashed<R>,
    head: ExportHead,
    last: Option<Bytes>,
    sum: ExportSum,
    done: bool,
}

impl<R: Read> ExportReader<R> {
    /// Reads and checks the head.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn new(inner: R) -> Result<Self, ExportError> {
        let mut inner = Hashed { inner, hasher: blake3::Hasher::new() };
        let coded: [u8; HEAD_BYTES] = inner.array().map_err(|error| match error {
            ExportError::Damaged(_) => ExportError::NotAnExport,
            other => other,
        })?;
        if coded[..8] != MAGIC {
            return Err(ExportError::NotAnExport);
        }
        let version = u32::from_be_bytes(*coded[8..].first_chunk().expect("the head is longer"));
        if version != VERSION {
            return Err(ExportError::Version(version));
        }
        let hash: [u8; HASH_BYTES] = inner.array()?;
        if hash != *blake3::hash(&coded).as_bytes() {
            return Err(ExportError::Damaged("its head does not match its hash"));
        }
        let head = decode_head(&coded).ok_or(ExportError::Damaged("its head names no group"))?;
        Ok(ExportReader { inner, head, last: None, sum: ExportSum::default(), done: false })
    }

    /// Whose rows they are.
    #[must_use]
    pub fn head(&self) -> &ExportHead {
        &self.head
    }

    /// The next row, in order of keys; `None` once everything was read and found to be what was written.
    ///
    /// # Errors
    /// [`ExportError`]: nothing that was read before may be believed either.
    pub fn next_row(&mut self) -> Result<Option<Row>, ExportError> {
        if self.done {
            return Ok(None);
        }
        let key_bytes = u32::from_be_bytes(self.inner.array()?);
        if key_bytes == 0 {
            self.end()?;
            self.done = true;
            return Ok(None);
        }
        let value_bytes = u32::from_be_bytes(self.inner.array()?);
        if key_bytes > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(ExportError::Damaged("a row is longer than any can be"));
        }
        let (key, value) = (self.inner.bytes(key_bytes)?, self.inner.bytes(value_bytes)?);
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(ExportError::Damaged("its rows are not in order"));
        }
        self.last = Some(key.clone());
        self.sum.rows += 1;
        self.sum.bytes += u64::from(key_bytes) + u64::from(value_bytes);
        Ok(Some((key, value)))
    }

    /// Reads to the end and believes nothing before.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn verify(mut self, progress: &mut dyn FnMut(u64)) -> Result<(ExportHead, ExportSum), ExportError> {
        while let Some((key, value)) = self.next_row()? {
            progress((key.len() + value.len()) as u64);
        }
        Ok((self.head, self.sum))
    }

    fn end(&mut self) -> Result<(), ExportError> {
        if u64::from_be_bytes(self.inner.array()?) != self.sum.rows {
            return Err(ExportError::Damaged("it has another number of rows than it says"));
        }
        let expected = *self.inner.hasher.finalize().as_bytes();
        let hash: [u8; HASH_BYTES] = self.inner.array()?;
        if hash != expected {
            return Err(ExportError::Damaged("it does not match its hash"));
        }
        if self.inner.inner.read(&mut [0])? != 0 {
            return Err(ExportError::Damaged("something follows its end"));
        }
        Ok(())
    }
}

/// Everything that goes by is hashed.
struct Hashed<T> {
    inner: T,
    hasher: blake3::Hasher,
}

impl Write for Hashed<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Hashed<R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ExportError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(cut_off)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// So many bytes; memory is taken as they come.
    fn bytes(&mut self, len: u32) -> Result<Bytes, ExportError> {
        let mut bytes = Vec::new();
        self.inner.by_ref().take(u64::from(len)).read_to_end(&mut bytes)?;
        if bytes.len() != len as usize {
            return Err(ExportError::Damaged("it is cut off"));
        }
        self.hasher.update(&bytes);
        Ok(bytes.into())
    }
}

fn cut_off(error: io::Error) -> ExportError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ExportError::Damaged("it is cut off"),
        _ => error.into(),
    }
}

fn encode_head(head: &ExportHead) -> [u8; HEAD_BYTES] {
    let mut coded = [0; HEAD_BYTES];
    coded[..8].copy_from_slice(&MAGIC);
    coded[8..12].copy_from_slice(&VERSION.to_be_bytes());
    coded[12..28].copy_from_slice(&head.cluster.0);
    coded[28..32].copy_from_slice(&head.group.0.to_be_bytes());
    coded[32..40].copy_from_slice(&head.index.0.to_be_bytes());
    coded[40..48].copy_from_slice(&head.term.0.to_be_bytes());
    coded[48..].copy_from_slice(&head.time.0.to_be_bytes());
    coded
}

fn decode_head(coded: &[u8; HEAD_BYTES]) -> Option<ExportHead> {
    let number = |at: usize| coded[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let group = u32::from_be_bytes(*coded[28..].first_chunk()?);
    Some(ExportHead {
        cluster: ClusterId(*coded[12..].first_chunk()?),
        group: (group < GroupId::LIMIT).then_some(GroupId(group))?,
        index: LogIndex(number(32)?),
        term: Term(number(40)?),
        time: Timestamp(number(48)? as i64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::kv::Kv;
    use meta_core::memory::MemoryKv;
    use proptest::prelude::*;

    const HEAD: ExportHead = ExportHead {
        cluster: ClusterId([7; 16]),
        group: GroupId(3),
        index: LogIndex(0x0102),
        term: Term(5),
        time: Timestamp(-2),
    };

    fn exported(kv: &MemoryKv) -> Vec<u8> {
        let mut file = Vec::new();
        let sum = write_export(&mut file, &HEAD, kv, &mut |_| {}).expect("memory");
        assert_eq!(sum.rows, kv.0.len() as u64);
        file
    }

    fn read(file: &[u8]) -> Result<(ExportHead, MemoryKv), ExportError> {
        let mut reader = ExportReader::new(file)?;
        let head = *reader.head();
        let mut kv = MemoryKv::new();
        while let Some((key, value)) = reader.next_row()? {
            kv.put(&key, &value);
        }
        assert_eq!(reader.next_row().expect("the end stays the end"), None);
        Ok((head, kv))
    }

    fn small() -> MemoryKv {
        let mut kv = MemoryKv::new();
        kv.put(&[0x01], b"counters");
        kv.put(&[0x10, 1], b"");
        kv.put(&[0x80], &[9; 300]);
        kv
    }

    #[test]
    fn the_layout_is_that_of_the_format_page() {
        let mut kv = MemoryKv::new();
        kv.put(b"k", b"va");
        let file = exported(&kv);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let head = "5341474f4d45544100000001070707070707070707070707070707070000000300000000000001020000000000000005fffffffffffffffe";
        assert_eq!(hex(&file[..HEAD_BYTES]), head);
        assert_eq!(file[HEAD_BYTES..HEAD_BYTES + 32], *blake3::hash(&file[..HEAD_BYTES]).as_bytes());
        let rest = &file[HEAD_BYTES + 32..];
        assert_eq!(hex(&rest[..rest.len() - 32]), "00000001000000026b7661000000000000000000000001");
        assert_eq!(rest[rest.len() - 32..], *blake3::hash(&file[..file.len() - 32]).as_bytes());
    }

    #[test]
    fn rows_come_back_whatever_their_number() {
        for count in [0u32, 1, 1023, 1024, 1025, 3000] {
            let mut kv = MemoryKv::new();
            (0..count).for_each(|number| kv.put(&[&[0x10][..], &number.to_be_bytes()].concat(), &number.to_le_bytes()));
            assert_eq!(read(&exported(&kv)).expect("whole"), (HEAD, kv), "{count}");
        }
    }

    #[test]
    fn any_cut_and_any_flipped_bit_is_an_error() {
        let file = exported(&small());
        assert!(read(&file).is_ok());
        for at in 0..file.len() {
            assert!(read(&file[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = file.clone();
                bad[at] ^= 1 << bit;
                assert!(read(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(matches!(read(&[&file[..], &[0]].concat()), Err(ExportError::Damaged("something follows its end"))));
        assert!(matches!(read(b""), Err(ExportError::NotAnExport)));
        assert!(matches!(read(&[b'x'; 200]), Err(ExportError::NotAnExport)));
        let mut later = file;
        later[11] = 2;
        assert!(matches!(read(&later), Err(ExportError::Version(2))));
    }

    /// A file that says of itself whatever is asked, under a hash that is right.
    fn forged(rows: &[u8]) -> Vec<u8> {
        let head = encode_head(&HEAD);
        let mut file = [&head[..], blake3::hash(&head).as_bytes(), rows].concat();
        let hash = *blake3::hash(&file).as_bytes();
        file.extend_from_slice(&hash);
        file
    }

    #[test]
    fn hostile_lengths_orders_and_counts_are_errors_and_take_no_memory() {
        let row = |key: &[u8]| [&(key.len() as u32).to_be_bytes()[..], &1u32.to_be_bytes(), key, b"v"].concat();
        let end = |rows: u64| [&0u32.to_be_bytes()[..], &rows.to_be_bytes()].concat();
        assert!(read(&forged(&[row(b"a"), row(b"b"), end(2)].concat())).is_ok());
        let lengths = |key: u32, value: u32| [key.to_be_bytes(), value.to_be_bytes()].concat();
        for (what, rows) in [
            ("keys of 4 GiB", lengths(u32::MAX, 1)),
            ("values of 4 GiB", lengths(1, u32::MAX)),
            ("a key that is allowed and not there", lengths(KEY_BYTES_MAX, 1)),
            ("a value that is allowed and not there", [lengths(1, VALUE_BYTES_MAX), b"a".to_vec()].concat()),
            ("rows out of order", [row(b"b"), row(b"a"), end(2)].concat()),
            ("a row twice", [row(b"a"), row(b"a"), end(2)].concat()),
            ("fewer rows than counted", [row(b"a"), end(2)].concat()),
            ("more rows than counted", [row(b"a"), row(b"b"), end(1)].concat()),
            ("no end", row(b"a")),
        ] {
            assert!(matches!(read(&forged(&rows)), Err(ExportError::Damaged(_))), "{what}");
        }
        let mut strange = encode_head(&HEAD);
        strange[28..32].copy_from_slice(&GroupId::LIMIT.to_be_bytes());
        let file = [&strange[..], blake3::hash(&strange).as_bytes()].concat();
        assert!(matches!(read(&file), Err(ExportError::Damaged(_))));
    }

    #[test]
    fn a_disk_that_fails_is_no_damage() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the cable"))
            }
        }
        assert!(matches!(ExportReader::new(Broken).err(), Some(ExportError::Io(_))));
        let file = exported(&small());
        assert!(matches!(
            ExportReader::new((&file[..100]).chain(Broken)).and_then(|reader| reader.verify(&mut |_| {})),
            Err(ExportError::Io(_))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&bytes).is_err());
            let _ = read(&forged(&bytes));
        }
    }
}
