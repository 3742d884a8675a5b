//! How garbage is collected in the cluster.

use super::{Change, Step};
use crate::key::control::GarbageOptionsKey;
use proto::control::{ControlOutcome, ControlRefusal, GarbageOptions};

impl Change<'_> {
    pub(super) fn set_garbage(&mut self, on: Option<bool>, grace: Option<i64>, lift: bool) -> Step<ControlOutcome> {
        let mut options: GarbageOptions = self.read(&GarbageOptionsKey)?.unwrap_or_default();
        options.on = on.unwrap_or(options.on);
        options.grace = grace.unwrap_or(options.grace);
        options.lifted = options.lifted.saturating_add(u64::from(lift));
        if !(0..=GarbageOptions::GRACE_MAX).contains(&options.grace) {
            return Err(ControlRefusal::Setting.into());
        }
        self.write(&GarbageOptionsKey, &options);
        Ok(ControlOutcome::Done)
    }
}
