//! The measure of all ratios: the same bytes on the same disk without Sago.

use super::{Bound, Outcome, count, on_threads};
use crate::latency::Samples;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Creates files of `len` bytes with fsync from several threads, each in a directory of its own, and removes them afterwards.
///
/// # Errors
/// The folder cannot be written.
pub fn create_fsync(folder: &Path, len: usize, threads: usize, bound: Bound) -> anyhow::Result<Outcome> {
    let scratch = tempfile::tempdir_in(folder)?;
    let body = vec![0x5a_u8; len];
    for n in 0..threads {
        std::fs::create_dir(scratch.path().join(n.to_string()))?;
    }
    let outcome = on_threads(threads, |n| {
        let mut samples = Samples::default();
        for round in bound.rounds() {
            let path = scratch.path().join(n.to_string()).join(format!("{round:08}"));
            count(&mut samples, len as u64, || {
                let mut file = File::create(&path)?;
                file.write_all(&body)?;
                file.sync_all()?;
                Ok(())
            });
        }
        samples
    });
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outcome = create_fsync(folder.path(), 4096, 2, Bound::ops(5)).expect("it can be written");
        assert_eq!((outcome.samples.count(), outcome.samples.bytes), (10, 10 * 4096));
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
