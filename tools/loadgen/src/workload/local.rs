//! The measure of all ratios: the same bytes on the same disk without Sago.

use super::{Bound, Outcome, count, on_threads};
use crate::latency::Samples;
use std::fs::File;
use std::io::{Read, Write};
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

/// Hands a byte to another thread and gets it back: what it costs on this machine to wake somebody. A request for a small file does that
/// dozens of times, so this explains a table of another day better than the disk does.
///
/// # Errors
/// There are no pipes.
pub fn hand_over(bound: Bound) -> anyhow::Result<Outcome> {
    let ((mut asked, ask), (answer, mut answers)) = (std::io::pipe()?, std::io::pipe()?);
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while asked.read(&mut byte).is_ok_and(|read| read == 1) && answers.write_all(&byte).is_ok() {}
    });
    let outcome = on_threads(1, |_| {
        let mut samples = Samples::default();
        for _ in bound.rounds() {
            count(&mut samples, 0, || {
                (&ask).write_all(&[1])?;
                Ok((&answer).read_exact(&mut [0])?)
            });
        }
        samples
    });
    // Its end of the pipe closes, so it ends.
    drop(ask);
    echo.join().map_err(|_| anyhow::anyhow!("the other thread panicked"))?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_goes_there_and_back() {
        let outcome = hand_over(Bound::ops(50)).expect("pipes");
        assert_eq!((outcome.samples.count(), outcome.samples.failed), (50, 0));
    }

    #[test]
    fn files_are_counted_and_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outcome = create_fsync(folder.path(), 4096, 2, Bound::ops(5)).expect("it can be written");
        assert_eq!((outcome.samples.count(), outcome.samples.bytes), (10, 10 * 4096));
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
