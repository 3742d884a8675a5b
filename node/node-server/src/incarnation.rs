//! Counts the starts of a node, durably, so that news of an earlier life can be told from news of this one.

use crate::error::StartError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use types::Incarnation;

const FILE: &str = "incarnation";

/// Reads the counter in `dir`, adds one, and makes that durable before it is returned.
pub(crate) fn next(dir: &Path) -> Result<Incarnation, StartError> {
    let path = dir.join(FILE);
    bump(dir, &path).map_err(|source| StartError::Incarnation { path, source })
}

fn bump(dir: &Path, path: &Path) -> io::Result<Incarnation> {
    fs::create_dir_all(dir)?;
    let last = match fs::read_to_string(path) {
        Ok(text) => text.trim().parse::<u64>().map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let next = last + 1;
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{next}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()?;
    Ok(Incarnation(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_counts_one_up_and_a_damaged_counter_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(next(dir.path()).expect("first"), Incarnation(1));
        assert_eq!(next(dir.path()).expect("second"), Incarnation(2));
        fs::write(dir.path().join(FILE), "x").expect("damage");
        assert!(matches!(next(dir.path()), Err(StartError::Incarnation { .. })));
    }
}
