//! The clock that leases of leaders and the guard of their voters are measured by.

use rustix::time::{ClockId, clock_gettime};
use types::Moment;

/// Milliseconds since the machine was started, the time it was suspended included: a leader that wakes up must not take its lease for
/// valid. A hypervisor that stops a machine and hides it from its guest defeats this, see `raft.lease_reads` of the configuration.
pub(crate) fn now() -> Moment {
    let now = clock_gettime(ClockId::Boottime);
    Moment(now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000)
}
