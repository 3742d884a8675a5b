//! The mount: what an application server does with files. Every operation is the system calls a plain program makes.

use super::{Bound, Outcome, count, fail, on_threads};
use crate::latency::Samples;
use anyhow::ensure;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use rustix::fs::{Advice, fadvise};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of one read or write of a large file.
const IO_BYTES: usize = 1 << 20;

/// A folder inside the mount.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// Seed of bodies and choices.
    pub seed: u64,
}

impl Folder {
    fn file(&self, worker: usize, round: usize) -> PathBuf {
        self.path.join(format!("{worker:03}")).join(format!("{round:08}"))
    }

    /// create + write + close of files of `len` bytes; close is where Sago makes them durable. Returns their paths.
    ///
    /// # Errors
    /// A worker's directory cannot be made.
    pub fn create(&self, len: usize, threads: usize, bound: Bound) -> anyhow::Result<(Outcome, Vec<PathBuf>)> {
        for worker in 0..threads {
            fs::create_dir_all(self.path.join(format!("{worker:03}")))?;
        }
        let mut body = vec![0; len];
        StdRng::seed_from_u64(self.seed).fill_bytes(&mut body);
        let outcome = on_threads(threads, |worker| {
            let mut samples = Samples::default();
            for round in bound.rounds() {
                count(&mut samples, len as u64, || write_closed(&self.file(worker, round), &body));
            }
            samples
        });
        let (mut outcome, mut paths) = (outcome, Vec::new());
        for worker in 0..threads {
            let folder = fs::read_dir(self.path.join(format!("{worker:03}")))?;
            paths.extend(folder.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?);
        }
        paths.sort();
        for path in &paths {
            let found = fs::metadata(path)?.len();
            if found != len as u64 {
                fail(&mut outcome.samples, &anyhow::anyhow!("{} has {found} bytes instead of {len}", path.display()));
            }
        }
        Ok((outcome, paths))
    }

    /// Reads whole files of `len` bytes, chosen at random.
    pub fn read(&self, paths: &[PathBuf], len: usize, threads: usize, bound: Bound) -> Outcome {
        self.random(paths, threads, bound, len as u64, |path| {
            let mut body = Vec::with_capacity(len);
            File::open(path)?.read_to_end(&mut body)?;
            ensure!(body.len() == len, "{} bytes instead of {len}", body.len());
            Ok(())
        })
    }

    /// stat of files chosen at random.
    pub fn stat(&self, paths: &[PathBuf], threads: usize, bound: Bound) -> Outcome {
        self.random(paths, threads, bound, 0, |path| {
            ensure!(fs::metadata(path)?.is_file(), "not a file");
            Ok(())
        })
    }

    fn random(
        &self,
        paths: &[PathBuf],
        threads: usize,
        bound: Bound,
        bytes: u64,
        operation: impl Fn(&Path) -> anyhow::Result<()> + Sync,
    ) -> Outcome {
        on_threads(threads, |worker| {
            let (mut samples, mut rng) = (Samples::default(), StdRng::seed_from_u64(self.seed ^ worker as u64));
            for _ in bound.rounds() {
                let Some(path) = paths.get(rng.random_range(0..paths.len().max(1))) else { break };
                count(&mut samples, bytes, || operation(path));
            }
            samples
        })
    }

    /// Renames each file once, within its directory; returns the new paths.
    pub fn rename(&self, paths: &[PathBuf], threads: usize) -> (Outcome, Vec<PathBuf>) {
        let new = |path: &Path| path.with_extension("renamed");
        let outcome = on_threads(threads, |worker| {
            let mut samples = Samples::default();
            for path in paths.iter().skip(worker).step_by(threads) {
                count(&mut samples, 0, || Ok(fs::rename(path, new(path))?));
            }
            samples
        });
        (outcome, paths.iter().map(|path| new(path)).collect())
    }

    /// Removes each file once.
    pub fn unlink(&self, paths: &[PathBuf], threads: usize) -> Outcome {
        on_threads(threads, |worker| {
            let mut samples = Samples::default();
            for path in paths.iter().skip(worker).step_by(threads) {
                count(&mut samples, 0, || Ok(fs::remove_file(path)?));
            }
            samples
        })
    }

    /// Writes one file of `len` bytes in writes of 1 MiB, with fsync; one operation.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn write_sequential(&self, name: &str, len: u64) -> anyhow::Result<Outcome> {
        fs::create_dir_all(&self.path)?;
        let mut block = vec![0; IO_BYTES];
        StdRng::seed_from_u64(self.seed).fill_bytes(&mut block);
        let path = self.path.join(name);
        Ok(on_threads(1, |_| {
            let mut samples = Samples::default();
            count(&mut samples, len, || {
                let mut file = File::create(&path)?;
                for _ in 0..len / IO_BYTES as u64 {
                    file.write_all(&block)?;
                }
                file.sync_all()?;
                Ok(())
            });
            samples
        }))
    }
}

/// Reads one file of `len` bytes from start to end in reads of 1 MiB, with nothing of it in the kernel's cache; one operation.
pub fn read_sequential(path: &Path, len: u64) -> Outcome {
    // Only root may; the advice below drops the pages of this file for everybody else.
    let _ = fs::write("/proc/sys/vm/drop_caches", "1");
    on_threads(1, |_| {
        let mut samples = Samples::default();
        count(&mut samples, len, || {
            let mut file = File::open(path)?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
            let mut block = vec![0; IO_BYTES];
            let mut total = 0;
            loop {
                let n = file.read(&mut block)?;
                if n == 0 {
                    break;
                }
                total += n as u64;
            }
            ensure!(total == len, "{total} bytes instead of {len}");
            Ok(())
        });
        samples
    })
}

/// Creates, writes and closes. std keeps the error of close(2) to itself: [`Folder::create`] looks at what is there afterwards.
fn write_closed(path: &Path, body: &[u8]) -> anyhow::Result<()> {
    File::create_new(path)?.write_all(body)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_folder_takes_every_workload() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder { path: root.path().join("bench"), seed: 1 };
        let (created, paths) = folder.create(5000, 2, Bound::ops(4)).expect("it can be written");
        assert_eq!((created.samples.count(), paths.len()), (8, 8));
        assert_eq!(folder.read(&paths, 5000, 2, Bound::ops(5)).samples.bytes, 50_000);
        assert_eq!(folder.read(&paths, 4999, 1, Bound::ops(2)).samples.failed, 2);
        assert_eq!(folder.stat(&paths, 2, Bound::ops(5)).samples.count(), 10);
        let (renamed, paths) = folder.rename(&paths, 2);
        assert_eq!(renamed.samples.count(), 8);
        assert_eq!(folder.unlink(&paths, 2).samples.count(), 8);
        let written = folder.write_sequential("large", 3 << 20).expect("it can be written");
        assert_eq!(written.samples.bytes, 3 << 20);
        assert_eq!(read_sequential(&folder.path.join("large"), 3 << 20).samples.failed, 0);
    }
}
