//! The replicated state machines: the namespace of a metadata group, and the control group.
pub mod kv;
