//! Exit codes of `sago`, as docs/OPERATIONS.md has them.

/// It is done.
pub const DONE: i32 = 0;
/// It was refused, or did not work.
pub const FAILED: i32 = 1;
/// It was called wrongly, or the person at the keyboard said no.
pub const USAGE: i32 = 2;
/// A check has found damage.
pub const DAMAGE: i32 = 5;
/// Something could not be checked.
pub const UNCHECKED: i32 = 6;
