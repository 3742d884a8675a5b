//! `sago fsck`: looks at the folder of a node that is stopped, and changes nothing.
//!
//! Each format is checked by the crate that owns it; here the parts are driven one after the other, held against each other, and what was
//! found is printed.
//!
//! ```text
//!  node.toml, cluster.toml
//!    meta/            node_server::check_folder      locks it
//!    meta/raft        raft_log::check                locks it
//!    meta/state/N     state_store::check  ──▶ meta_core::audit
//!    disks            chunk_store::check             locks each
//!    between them     groups: log and state    homes: chunks the metadata wants here, and what lies here
//! ```

mod groups;
mod homes;
mod report;
mod site;

#[cfg(test)]
pub(crate) mod tests;

use crate::cli::FsckArgs;
use crate::exit::{Done, Failure, Kind, chain};
use crate::object::bar;
use crate::output::Output;
pub(crate) use groups::{Groups, State};
use node_server::CheckedFolder;
use raft_log::CheckedLog;
use report::Report;
pub(crate) use site::Site;
use types::{Findings, Severity};

/// Carries out `sago fsck`.
///
/// # Errors
/// Damage was found, after the report was printed; or it could not be checked.
pub fn fsck(args: &FsckArgs, output: Output) -> Done {
    let site = Site::load(&args.path)?;
    let report = inspect(&site, args.deep, output.json)?;
    output.show(&report, Report::text)?;
    match report.damages {
        0 => Ok(()),
        damages => Err(Failure::new(Kind::Damaged, format!("{}: {damages} damages", args.path.display()))),
    }
}

/// The metadata of a node that is stopped, all of it locked, so that no node starts meanwhile.
pub(crate) struct Metadata {
    pub(crate) folder: CheckedFolder,
    pub(crate) log: CheckedLog,
    pub(crate) groups: Groups,
}

/// Looks at the metadata: the folder, the Raft log, the state of every group, and whether these fit.
///
/// # Errors
/// It could not be looked at. What is wrong with it is in `findings`.
pub(crate) fn metadata(site: &Site, findings: &mut Findings, quiet: bool) -> Done<Metadata> {
    let unchecked = |error: &dyn std::error::Error| Failure::new(Kind::Unchecked, chain(error));
    let folder = node_server::check_folder(&site.meta, findings).map_err(|error| unchecked(&error))?;
    let logs = bar("raft log", None, quiet);
    let log = raft_log::check(&site.meta.join("raft"), site.node, findings, &mut |bytes| logs.inc(bytes))
        .map_err(|error| unchecked(&error))?;
    logs.finish_and_clear();
    let groups = groups::check(site, &log, findings, quiet)?;
    Ok(Metadata { folder, log, groups })
}

/// Looks at everything.
fn inspect(site: &Site, deep: bool, quiet: bool) -> Done<Report> {
    let mut findings = Findings::default();
    if site.never_started() {
        findings.note("node-new", site.folder.display(), "this node was never started", "start the node");
        return Ok(Report::new(site, &findings));
    }
    let unchecked = |error: &dyn std::error::Error| Failure::new(Kind::Unchecked, chain(error));
    // All locks are held until everything was looked at, so that no node starts in between.
    let Metadata { folder, log, groups } = metadata(site, &mut findings, quiet)?;
    let mut disks = Vec::new();
    for (number, (path, id)) in site.disks.iter().enumerate() {
        if site.gone.contains(&number) {
            disks.push(None);
            continue;
        }
        let shown = bar(&path.display().to_string(), Some(site::segment_bytes(path)), quiet);
        let mut progress = |bytes| shown.inc(bytes);
        let disk = chunk_store::check(path, site.node, *id, deep, &mut findings, &mut progress)
            .map_err(|error| unchecked(&error))?;
        shown.finish_and_clear();
        disks.push(disk);
    }
    let homes = groups.map().map(|map| homes::check(site.node, map, &groups, &disks, &mut findings));
    if homes.is_none() {
        let what =
            "no map of where chunks belong: this node has no replica of the control group, or none that can be read";
        findings.note("homes-unknown", site.node, what, "nothing: the other checks do not need it");
    }
    let mut report = Report::new(site, &findings);
    report.starts = folder.incarnation.map(|incarnation| incarnation.0);
    report.add_groups(&log, &groups);
    report.add_disks(site, &disks);
    report.homes = homes;
    Ok(report)
}

/// What the exit code goes by.
fn damages(findings: &Findings) -> u64 {
    findings.number_of(Severity::Damage)
}
