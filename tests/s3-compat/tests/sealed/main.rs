//! Marked buckets over real state machines in memory: what a client sees is what it would see of any bucket, and what lies in the cluster is sealed.

mod access;
mod keys;
mod mounts;
mod shapes;
mod tamper;
mod upkeep;
mod world;
