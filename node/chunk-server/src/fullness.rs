//! How full a disk may be for what: by the share of its file system that is used, in steps.
//!
//! | step | default | then |
//! | --- | --- | --- |
//! | nearfull | 85 % | a warning |
//! | backfillfull | 90 % | no copies from other nodes: a repair must not fill what clients still need |
//! | full | 95 % | no chunks, so that deletes, Raft and compaction always have room |
//!
//! Looked at anew for every request, so a disk comes back by itself.

use chunk_store::Space;
use proto::node::Fullness;

/// Used share of a file system from which on a step is reached, percent. Ascending, 1..=99.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullnessConfig {
    /// Warn. Default 85.
    pub nearfull_percent: u8,
    /// Take no copies. Default 90.
    pub backfillfull_percent: u8,
    /// Take no chunks. Default 95.
    pub full_percent: u8,
}

impl Default for FullnessConfig {
    fn default() -> Self {
        FullnessConfig { nearfull_percent: 85, backfillfull_percent: 90, full_percent: 95 }
    }
}

impl FullnessConfig {
    /// Whether the steps ascend within 1..=99.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let FullnessConfig { nearfull_percent, backfillfull_percent, full_percent } = *self;
        1 <= nearfull_percent
            && nearfull_percent < backfillfull_percent
            && backfillfull_percent < full_percent
            && full_percent <= 99
    }

    /// The step that a file system has reached.
    #[must_use]
    pub fn of(&self, space: Space) -> Fullness {
        let used = space.total - space.free.min(space.total);
        let reached =
            |percent: u8| space.total > 0 && u128::from(used) * 100 >= u128::from(space.total) * u128::from(percent);
        match () {
            () if reached(self.full_percent) => Fullness::Full,
            () if reached(self.backfillfull_percent) => Fullness::Backfill,
            () if reached(self.nearfull_percent) => Fullness::Near,
            () => Fullness::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_reached_at_their_share_and_left_again() {
        let config = FullnessConfig::default();
        let of = |used: u64| config.of(Space { free: 1000 - used, total: 1000 });
        assert_eq!([0, 849].map(of), [Fullness::Normal; 2]);
        assert_eq!([850, 899].map(of), [Fullness::Near; 2]);
        assert_eq!([900, 949].map(of), [Fullness::Backfill; 2]);
        assert_eq!([950, 1000].map(of), [Fullness::Full; 2]);
        assert_eq!(config.of(Space { free: 0, total: 0 }), Fullness::Normal, "a file system that does not tell");
        assert_eq!(config.of(Space { free: u64::MAX, total: u64::MAX }), Fullness::Normal);
    }

    #[test]
    fn steps_must_ascend() {
        let config = |near, backfill, full| FullnessConfig {
            nearfull_percent: near,
            backfillfull_percent: backfill,
            full_percent: full,
        };
        assert!(FullnessConfig::default().is_valid() && config(1, 2, 99).is_valid());
        for bad in [config(0, 50, 90), config(90, 90, 95), config(85, 95, 95), config(95, 90, 85), config(85, 90, 100)]
        {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
