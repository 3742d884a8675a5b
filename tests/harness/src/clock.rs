//! A wall clock of its own for one process, by libfaketime, told by a file that may change while the process runs. The monotonic clock stays
//! right, as it does on a machine whose clock somebody sets. The machine's own clock is never touched.

use anyhow::Context;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian puts it, by machine.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// How a clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many seconds ahead, or behind if negative.
    Off(i64),
    /// So many percent too fast, counted from the start of the process.
    Fast(u32),
}

/// The clock of one process.
#[derive(Debug)]
pub struct FakeClock {
    library: &'static str,
    file: PathBuf,
}

impl FakeClock {
    /// What is missing on this machine, for people.
    #[must_use]
    pub fn missing() -> Option<&'static str> {
        library().is_none().then_some("no libfaketime: Debian package libfaketime")
    }

    /// A clock that is right, told by this file.
    ///
    /// # Errors
    /// There is no libfaketime, or the file cannot be written.
    pub fn new(file: &Path) -> anyhow::Result<Self> {
        let library = library().context("no libfaketime")?;
        clear_leftovers();
        let clock = FakeClock { library, file: file.to_owned() };
        clock.set(Pace::Off(0))?;
        Ok(clock)
    }

    /// What a process has to be started with.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            // What files say of themselves stays as it is.
            ("NO_FAKE_STAT", "1".into()),
        ]
    }

    /// Changes the clock, at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, pace: Pace) -> anyhow::Result<()> {
        let text = match pace {
            Pace::Off(seconds) => format!("{seconds:+}\n"),
            Pace::Fast(percent) => format!("+0 x{}.{:02}\n", 1 + percent / 100, percent % 100),
        };
        // By a rename: a process that comes upon half a line ends.
        let new = self.file.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(&new, &self.file)?)
    }
}

fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).exists())
}

/// Processes that were killed leave what libfaketime shares with children, and the next process of that id would not start.
fn clear_leftovers() {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_process_has_a_clock_of_its_own() {
        if let Some(what) = FakeClock::missing() {
            return crate::skip(what);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let clock = FakeClock::new(&folder.path().join("clock")).expect("a clock");
        let ahead = || {
            let said = Command::new("date").arg("+%s").envs(clock.environment()).output().expect("date is everywhere");
            let said: i64 = String::from_utf8_lossy(&said.stdout).trim().parse().expect("seconds");
            said - SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
        };
        assert!(ahead().abs() <= 2);
        for off in [3600, -3600, 8 * 86_400] {
            clock.set(Pace::Off(off)).expect("set");
            assert!((ahead() - off).abs() <= 2);
        }
        clock.set(Pace::Fast(2)).expect("set");
        assert!(ahead().abs() <= 2, "no time has passed to be fast in");
    }
}
