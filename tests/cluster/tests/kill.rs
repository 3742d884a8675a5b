//! `kill -9` of a random node every ten seconds, restarted after three.

use cluster::{Violence, one_node_at_a_time};

#[test]
fn killing_any_one_node_loses_nothing_and_fails_no_read() {
    let faults = if harness::battery() { 30 } else { 6 };
    harness::must(one_node_at_a_time(Violence::Kill, faults));
}
