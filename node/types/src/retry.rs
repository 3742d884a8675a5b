//! What a caller may do about an error; decided once, by the error.

/// What to do next. Callers never match on an error's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// The same peer may be asked again after a pause (busy, not ready).
    Retry,
    /// Another peer may answer (connection lost before the request was sent, corrupt copy).
    RetryElsewhere,
    /// The leader or the placement map has moved: refresh, then ask again.
    RefreshLeader,
    /// It may or may not have happened: ask again only if the request is idempotent.
    Unknown,
    /// Asking again cannot help.
    Fatal,
}
