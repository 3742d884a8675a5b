//! What a machine may lack.

/// Says loudly that a test is skipped because `what` is missing, and what would help.
///
/// # Panics
/// Under `SAGO_CI`: there a missing thing is a failure.
pub fn skip(what: &str) {
    assert!(
        std::env::var_os("SAGO_CI").is_none(),
        "{what} (under SAGO_CI nothing is skipped; tools/setup.sh installs it)"
    );
    eprintln!("\n*** SKIPPED, NOT TESTED: {what} (tools/setup.sh installs it)\n");
}
