//! SIGSTOP of a random node every ten seconds, SIGCONT after three: a node that was away and does not know it.

use cluster::{Violence, one_node_at_a_time};

#[test]
fn pausing_any_one_node_loses_nothing_and_fails_no_read() {
    let faults = if harness::battery() { 30 } else { 3 };
    harness::must(one_node_at_a_time(Violence::Pause, faults));
}
