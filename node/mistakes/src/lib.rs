//! Mistakes that can be planted in a build for tests, to see that the tests which should find them do (`cargo run -p xtask -- planted`).
//!
//! Without the feature `planted`, [`is_planted`] is a constant and what it guards is not part of the program. With it, the variable
//! [`VARIABLE`] of the environment says which mistake the process makes. The numbers are those of the table in `docs/RELIABILITY.md`; mistakes
//! in how the pure crates are driven are planted in the simulator instead.

#![forbid(unsafe_code)]

/// The variable that names the mistake of a process, as [`Mistake::name`] writes it.
pub const VARIABLE: &str = "SAGO_MISTAKE";

/// What can be done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// M1: the Raft log is not flushed before it is acknowledged.
    LogNotFlushed,
    /// M3: the folder of a new segment is not flushed.
    FolderNotFlushed,
    /// M8: readers do not look at the hash.
    ReadUnchecked,
    /// M11: the Raft log forgives whatever is damaged behind its first good records, and is not compared with what it promised.
    DamagedLogOpened,
    /// M15: a node that was removed is listened to.
    RemovedNodeHeard,
    /// M16: a mount that lost written data tells nobody.
    WriteBackErrorSwallowed,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 6] = [
        Mistake::LogNotFlushed,
        Mistake::FolderNotFlushed,
        Mistake::ReadUnchecked,
        Mistake::DamagedLogOpened,
        Mistake::RemovedNodeHeard,
        Mistake::WriteBackErrorSwallowed,
    ];

    /// Its number in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Mistake::LogNotFlushed => "M1",
            Mistake::FolderNotFlushed => "M3",
            Mistake::ReadUnchecked => "M8",
            Mistake::DamagedLogOpened => "M11",
            Mistake::RemovedNodeHeard => "M15",
            Mistake::WriteBackErrorSwallowed => "M16",
        }
    }
}

/// Whether this process is to make that mistake.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is_planted(_: Mistake) -> bool {
    false
}

/// Whether this process is to make that mistake.
#[cfg(feature = "planted")]
#[must_use]
pub fn is_planted(mistake: Mistake) -> bool {
    use std::sync::LazyLock;
    static NAMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
    NAMED.as_deref() == Some(mistake.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_has_a_name_of_its_own() {
        let mut names = Mistake::ALL.map(Mistake::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Mistake::ALL.len());
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn nothing_is_planted_in_an_ordinary_build() {
        assert!(Mistake::ALL.into_iter().all(|mistake| !is_planted(mistake)));
    }
}
