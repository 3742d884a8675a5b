//! Planted mistakes are found, and the script that shows one is short.

use sim::{Bug, Script, run, shrink};
use std::time::Instant;

/// Seeds within which a planted mistake must be found.
const SEEDS_TO_FIND: u64 = 300;
/// Runs spent on making the script shorter; in `make battery` (`SAGO_BATTERY`) many more.
const SHRINK_RUNS: u64 = 50;
const SHRINK_RUNS_BATTERY: u64 = 400;

/// Faults that may be left of the script then. To lose a chunk that has one copy where three are claimed takes most: several nodes must fail.
const FAULTS_LEFT_MAX: usize = 8;

/// Finds the mistake and shrinks the script: it must still fail, with at most so many faults.
fn found(bug: Bug) {
    let battery = std::env::var_os("SAGO_BATTERY").is_some();
    let begun = Instant::now();
    let script = (0..SEEDS_TO_FIND).map(|seed| Script::draw(seed, Some(bug))).find(|script| run(script).is_err());
    let script = script.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS_TO_FIND} seeds"));
    let found = begun.elapsed();
    let shrunk = shrink(&script, if battery { SHRINK_RUNS_BATTERY } else { SHRINK_RUNS });
    let (faults, operations) = (shrunk.script.faults.len(), shrunk.script.operations.len());
    println!(
        "{bug:?}: seed {} after {:.1} s, {faults} of {} faults and {operations} of {} operations after {} runs: {}",
        script.seed,
        found.as_secs_f64(),
        script.faults.len(),
        script.operations.len(),
        shrunk.runs,
        shrunk.violation.text
    );
    assert_eq!(run(&shrunk.script), Err(shrunk.violation), "the short script fails the same way again");
    assert!(faults <= FAULTS_LEFT_MAX || !battery, "{faults} faults are left: {:?}", shrunk.script.faults);
    assert!(faults + operations < script.faults.len() + script.operations.len());
}

#[test]
fn m1_promises_before_the_flush() {
    found(Bug::PromiseBeforeFlush);
}

#[test]
fn m2_one_copy_that_passes_for_three() {
    found(Bug::OneCopyIsEnough);
}

#[test]
fn m4_a_vote_that_is_not_written_down() {
    found(Bug::VoteNotPersisted);
}

#[test]
fn m5_a_failed_flush_that_is_taken_for_done() {
    found(Bug::FlushErrorIgnored);
}

#[test]
fn m6_reads_without_a_quorum() {
    found(Bug::ReadWithoutQuorum);
}

#[test]
fn m7_an_applied_index_apart_from_the_rows() {
    found(Bug::IndexOutsideBatch);
}

#[test]
fn m8_readers_that_believe_replicas() {
    found(Bug::BelieveReplicas);
}

#[test]
fn m9_a_collector_that_overlooks_uploads() {
    found(Bug::UploadsOverlooked);
}

#[test]
fn a_collector_that_takes_the_unknown_for_garbage() {
    found(Bug::UnknownIsGarbage);
}

#[test]
fn m10_a_wiped_node_that_goes_on() {
    found(Bug::WipedNodeVotes);
}

#[test]
fn m12_retries_under_another_number() {
    found(Bug::RetryUnderAnotherNumber);
}

#[test]
fn m13_reads_that_mix_versions() {
    found(Bug::MixedVersions);
}

#[test]
fn m14_copies_made_without_a_look_at_the_hash() {
    found(Bug::CopyUnchecked);
}

#[test]
fn m15_a_removed_node_that_is_listened_to() {
    found(Bug::RemovedNodeHeard);
}

#[test]
fn m17_a_snapshot_installed_in_halves() {
    found(Bug::SnapshotInHalves);
}

#[test]
fn m18_a_planner_that_ignores_failure_domains() {
    found(Bug::DomainsIgnored);
}

#[test]
fn a_move_that_is_committed_before_it_was_verified() {
    found(Bug::MoveUnverified);
}

#[test]
fn an_old_copy_that_is_taken_off_before_the_commit() {
    found(Bug::OldCopyFirst);
}

#[test]
fn puts_of_epochs_that_are_over() {
    found(Bug::OldEpochTaken);
}

#[test]
fn a_replica_that_was_let_go_and_is_back_with_its_vote() {
    found(Bug::LetGoComesBack);
}

#[test]
fn a_recovery_that_forgets_the_end_of_the_log() {
    found(Bug::LogEndForgotten);
}

#[test]
fn a_leader_that_reads_by_a_lease_that_is_over() {
    found(Bug::LeaseTooLong);
}
