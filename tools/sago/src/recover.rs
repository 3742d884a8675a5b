//! `sago recover --unsafe`: makes what one voter has on its disk the only truth, when the others are gone for good.
//!
//! ```text
//!  look (fsck of the metadata, locked) -> plan -> ask the other voters: any answer ends it
//!    -> say what may be lost -> the operator types the sentence -> write:
//!         what was there, beside it     one batch in the Raft log, for all groups
//! ```
//! Nothing about this can be safe. It can be honest, rare and hard to do by accident: docs/adr/0016-unsafe-recovery.md.

mod ask;
mod plan;
#[cfg(test)]
mod tests;
mod write;

use crate::cli::RecoverArgs;
use crate::exit::{Done, Failure, Kind};
use crate::fsck::{Metadata, Site, metadata};
use crate::output::Output;
use plan::Plan;
use serde::Serialize;
use std::io::{BufRead, Read};
use types::{Findings, GroupId, Severity};

/// Damages that are what this is for: the log lacks what it had promised. They are told with what may be lost; any other ends it.
const LOSSES: [&str; 3] = ["log-amnesia", "log-commit-beyond-end", "log-term-behind"];
/// A sentence is shorter. More is not read.
const SENTENCE_BYTES_MAX: u64 = 1024;

#[derive(Serialize)]
struct Recovered {
    recovered: Vec<u32>,
    /// Nodes that are removed by it.
    removed: Vec<u64>,
    /// Nodes that the operator has to remove.
    to_remove: Vec<u64>,
}

/// Carries out `sago recover`.
///
/// # Errors
/// [`Failure`]: nothing was written, unless the message says otherwise.
pub async fn recover(args: &RecoverArgs, output: Output) -> Done {
    if !args.unsafely {
        let message = "this cannot be done safely: say --unsafe, after you have read `sago recover --help`";
        return Err(Failure::new(Kind::Usage, message));
    }
    let site = Site::load(&args.path)?;
    if site.never_started() {
        return Err(Failure::new(Kind::Failed, format!("{}: this node was never started", site.folder.display())));
    }
    let mut findings = Findings::default();
    let found = metadata(&site, &mut findings, output.json)?;
    sound(&findings)?;
    let plan = Plan::new(&site, &found, args.group.map(GroupId))?;
    ask::nobody_answers(&site, &found, &plan).await?;
    output.show(&plan, Plan::text)?;
    if args.plan {
        return Ok(());
    }
    confirmed(&plan.sentence, &mut std::io::stdin().lock())?;
    let Metadata { folder, log, groups } = found;
    // The folder stays locked. Log and states are opened for writing, which takes their own locks.
    drop((log, groups));
    write::write(&site, &plan)?;
    drop(folder);
    output.show(&Recovered::of(&plan), |done| done.text(&plan))
}

/// What is to become the only truth must at least be readable.
fn sound(findings: &Findings) -> Done {
    let damages = findings.counts().filter(|(_, severity, _)| *severity == Severity::Damage);
    let others: Vec<_> = damages.map(|(code, ..)| code).filter(|code| !LOSSES.contains(code)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the metadata here is damaged ({}): see `sago fsck`, and recover from another voter",
        others.join(", ")
    );
    Err(Failure::new(Kind::Damaged, message))
}

/// Reads the sentence. There is no flag that says it for the operator.
fn confirmed(sentence: &str, from: &mut dyn BufRead) -> Done {
    eprintln!("To do this, type: {sentence}");
    let mut line = String::new();
    from.take(SENTENCE_BYTES_MAX).read_line(&mut line)?;
    match line.trim() == sentence {
        true => Ok(()),
        false => Err(Failure::new(Kind::Usage, "that is not the sentence: nothing was written")),
    }
}

impl Recovered {
    fn of(plan: &Plan) -> Recovered {
        let recovered = plan.groups.iter().map(|group| group.group).collect();
        let (removed, to_remove) = match plan.removes {
            true => (plan.lost.clone(), Vec::new()),
            false => (Vec::new(), plan.lost.clone()),
        };
        Recovered { recovered, removed, to_remove }
    }

    fn text(&self, plan: &Plan) -> String {
        let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let mut text = format!("Recovered. Next:\n  start node {}; it leads these groups within seconds\n", plan.node);
        if !self.removed.is_empty() {
            let removed = list(&self.removed);
            text.push_str(&format!("  nodes {removed} are removed: never start them again, and wipe their folders\n"));
        }
        if !self.to_remove.is_empty() {
            let nodes = list(&self.to_remove);
            text.push_str(&format!(
                "  never start nodes {nodes} again, wipe their folders, and `sago node replace` each\n"
            ));
        }
        text.push_str("  invite new nodes: `sago node invite`\n  look at what is there, and what is not\n");
        text.push_str("  then, and only then: `sago cluster garbage --on`\n");
        text
    }
}
