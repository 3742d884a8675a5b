//! placeholder

pub mod memory_cluster;
