//! Makes a failing script shorter: faults and operations are left out as long as it breaks the same rule (delta debugging).
//!
//! Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.

use crate::judge::Violation;
use crate::script::Script;
use crate::world::run;

/// The shortest script that was found, what it fails with, and how many runs that took.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// It fails.
    pub script: Script,
    /// With this.
    pub violation: Violation,
    /// Runs.
    pub runs: u64,
}

/// Leaves out what is not needed for a script to break the same rule, within so many runs. Faults first: they say more.
///
/// # Panics
/// If it does not fail.
#[must_use]
pub fn shrink(script: &Script, runs_max: u64) -> Shrunk {
    let violation = run(script).expect_err("only a script that fails is shrunk");
    let mut best = Shrunk { script: script.clone(), violation, runs: 1 };
    let faults = |script: &mut Script, kept: Vec<_>| script.faults = kept;
    let operations = |script: &mut Script, kept: Vec<_>| script.operations = kept;
    reduce(&mut best, runs_max, |script| script.faults.clone(), faults);
    reduce(&mut best, runs_max, |script| script.operations.clone(), operations);
    reduce(&mut best, runs_max, |script| script.faults.clone(), faults);
    best
}

/// Leaves out ever smaller pieces of one list.
fn reduce<T: Clone>(
    best: &mut Shrunk,
    runs_max: u64,
    list: impl Fn(&Script) -> Vec<T>,
    set: impl Fn(&mut Script, Vec<T>),
) {
    let (mut pieces, rule) = (1, best.violation.rule);
    loop {
        let all = list(&best.script);
        if all.is_empty() {
            return;
        }
        pieces = pieces.min(all.len());
        let size = all.len().div_ceil(pieces);
        let shorter = (0..all.len()).step_by(size).find_map(|from| {
            if best.runs >= runs_max {
                return None;
            }
            let mut script = best.script.clone();
            let kept = [&all[..from], &all[(from + size).min(all.len())..]].concat();
            set(&mut script, kept);
            best.runs += 1;
            run(&script).err().filter(|found| found.rule == rule).map(|violation| (script, violation))
        });
        match shorter {
            Some((script, violation)) => {
                (best.script, best.violation) = (script, violation);
                pieces = pieces.saturating_sub(1).max(1);
            }
            None if size == 1 || best.runs >= runs_max => return,
            None => pieces *= 2,
        }
    }
}
