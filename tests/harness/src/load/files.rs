//! The mount side of a load: whole files, replaced by rename, and files of the S3 writers read as files.

use super::state::Shared;
use crate::{Body, Kind};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Files that are replaced in turn.
const FILES: u64 = 16;
/// Pause between two operations.
const PACE: Duration = Duration::from_millis(40);
/// How late a mount may show a name (an attribute cache of one second), with room for a busy machine.
const NAME_LATE_MAX: Duration = Duration::from_millis(1500);

fn key(shared: &Shared, n: u64) -> String {
    format!("{}/mount/f{n}", shared.config.prefix)
}

/// Replaces files: a temporary one is written and flushed, then renamed over the name.
pub(super) fn write(shared: &Shared, mount: &Path) {
    let mut rng = StdRng::seed_from_u64(shared.config.seed ^ 3 << 48);
    while shared.runs() {
        let key = key(shared, rng.random_range(0..FILES));
        let kind = Kind::Put(rng.random_range(100..300_000));
        let Kind::Put(len) = kind else { continue };
        let op = shared.issue(&key, kind);
        let written = replace(&mount.join(&key), &Body::new(op, &key, len).bytes());
        shared.answered(&key, op, kind, written.map_err(|error| format!("mount: {error}")));
        pause();
    }
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)
}

/// Reads files of the mount's own writer and of the first S3 writer.
pub(super) fn read(shared: &Shared, mount: &Path) {
    let mut rng = StdRng::seed_from_u64(shared.config.seed ^ 4 << 48);
    while shared.runs() {
        let n = rng.random_range(0..FILES);
        let key = if rng.random() { key(shared, n) } else { format!("{}/w0/dir{}/k{n}", shared.config.prefix, n % 4) };
        let start = Instant::now().checked_sub(NAME_LATE_MAX).unwrap_or_else(Instant::now);
        match fs::read(mount.join(&key)) {
            Ok(bytes) => shared.read("mount", &key, start, Some(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => shared.read("mount", &key, start, None),
            Err(error) => shared.failed_read(format!("mount {key}: {error}")),
        }
        pause();
    }
}

fn pause() {
    // wait-ok: the pace of a load
    std::thread::sleep(PACE);
}
