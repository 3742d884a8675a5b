//! The ledger: every acknowledged write, on stable storage before the next one begins.

use crate::OpId;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// One acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The write.
    pub op: OpId,
    /// Length of the body; none = the key was deleted.
    pub len: Option<u64>,
    /// The key.
    pub key: String,
}

/// An append-only file of entries, one line each: `op len|- key`.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
}

impl Ledger {
    /// Opens or creates the file; what stands in it is kept.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot open the ledger {}", path.display()))?;
        Ok(Self { path: path.to_path_buf(), file: Mutex::new(file) })
    }

    /// Writes one line and flushes it.
    ///
    /// # Errors
    /// The line may not be durable: the run is worth nothing.
    pub fn append(&self, entry: &Entry) -> anyhow::Result<()> {
        let len = entry.len.map_or_else(|| "-".to_owned(), |len| len.to_string());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{} {len} {}\n", entry.op.0, entry.key).as_bytes())?;
        file.sync_data()?;
        Ok(())
    }

    /// Reads it all back from the disk.
    ///
    /// # Errors
    /// The file cannot be read or a line is not an entry.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let text = std::fs::read_to_string(&self.path)?;
        text.lines().map(|line| parse(line).with_context(|| format!("not a line of a ledger: {line}"))).collect()
    }
}

fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(3, ' ');
    let op = OpId(fields.next()?.parse().ok()?);
    let len = match fields.next()? {
        "-" => None,
        len => Some(len.parse().ok()?),
    };
    Some(Entry { op, len, key: fields.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_and_are_carried_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ledger");
        let entry = |op, len| Entry { op: OpId(op), len, key: "a b/c".into() };
        Ledger::open(&path).and_then(|ledger| ledger.append(&entry(1, Some(64)))).expect("it can be written");
        let ledger = Ledger::open(&path).expect("it is there");
        ledger.append(&entry(2, None)).expect("it can be written");
        assert_eq!(ledger.entries().expect("it can be read"), [entry(1, Some(64)), entry(2, None)]);
    }
}
