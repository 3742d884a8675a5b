//! Fault tests of a real cluster: the parts that the tests under `tests/` share.
#![forbid(unsafe_code)]
