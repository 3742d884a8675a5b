//! `sago meta export`.

use super::{file_of, running};
use crate::cli::MetaExportArgs;
use crate::exit::{Done, Failure, Kind};
use crate::fsck::{Site, metadata};
use crate::object::bar;
use crate::output::{Output, bytes, table, time};
use meta_core::audit::{ITEMS_MAX, audit};
use meta_core::group_time;
use serde::Serialize;
use state_store::{CheckedState, ExportHead, write_export};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use types::{ClusterId, Findings, GroupId, Severity};

#[derive(Serialize)]
struct Exported {
    node: u64,
    cluster: String,
    groups: Vec<ExportedGroup>,
}

/// One file.
#[derive(Serialize)]
struct ExportedGroup {
    group: u32,
    file: String,
    index: u64,
    /// The group's time then.
    time: String,
    rows: u64,
    bytes: u64,
    /// Entries of its log here that are not in it; after a crash a state lags behind.
    behind: u64,
}

/// Carries out `sago meta export`.
///
/// # Errors
/// [`Failure`]: the metadata are damaged, or a file cannot be written. Files that were finished stay.
pub(super) async fn export(args: &MetaExportArgs, output: Output) -> Done {
    let site = Site::load(&args.path)?;
    let Some(cluster) = site.cluster.as_ref().map(|file| file.cluster) else {
        return Err(Failure::new(Kind::Usage, "the cluster file is missing: it names the cluster"));
    };
    fs::create_dir_all(&args.to)?;
    let groups = match args.running {
        true => from_running(&site, cluster, &args.to, output.json).await?,
        false => from_stopped(&site, cluster, &args.to, output.json)?,
    };
    let exported = Exported { node: site.node.0, cluster: cluster.to_string(), groups };
    output.show(&exported, Exported::text)
}

fn from_stopped(site: &Site, cluster: ClusterId, to: &Path, quiet: bool) -> Done<Vec<ExportedGroup>> {
    let mut findings = Findings::default();
    let found = metadata(site, &mut findings, quiet)?;
    sound(&findings)?;
    let states = found.groups.states();
    if states.is_empty() {
        return Err(Failure::new(Kind::Failed, format!("{}: there is no group here", site.meta.display())));
    }
    let export = |(group, state): (&GroupId, &crate::fsck::State)| {
        let last = found.log.groups().get(group).map_or(0, |log| log.last.0);
        let behind = last.saturating_sub(state.rows.applied.index.0);
        write(cluster, *group, &state.rows, to, behind, quiet)
    };
    states.iter().map(export).collect()
}

async fn from_running(site: &Site, cluster: ClusterId, to: &Path, quiet: bool) -> Done<Vec<ExportedGroup>> {
    let node = running::Running::find(site)?;
    let mut exported = Vec::new();
    for group in node.groups().await? {
        // Beside the files, so that it takes no space of the node's disks.
        let folder = to.join(format!("snapshot-{}", group.0));
        let fetched = node.fetch(group, &folder).await.and_then(|()| {
            let mut findings = Findings::default();
            let state = state_store::check(&folder, &mut findings)?;
            sound(&findings)?;
            let state = state.ok_or_else(|| Failure::new(Kind::Failed, format!("the snapshot of {group} is empty")))?;
            audit(&state, group, ITEMS_MAX, &mut findings, &mut |_| {}).map_err(Failure::failed)?;
            sound(&findings)?;
            write(cluster, group, &state, to, 0, quiet)
        });
        let removed = fs::remove_dir_all(&folder);
        exported.push(fetched?);
        removed?;
    }
    node.close().await;
    Ok(exported)
}

/// A backup that is not sound would be found out when it is needed.
pub(super) fn sound(findings: &Findings) -> Done {
    let damages: Vec<_> = findings.counts().filter(|(_, severity, _)| *severity == Severity::Damage).collect();
    if damages.is_empty() {
        return Ok(());
    }
    let codes: Vec<_> = damages.iter().map(|(code, ..)| *code).collect();
    Err(Failure::new(Kind::Damaged, format!("the metadata are damaged ({}): see `sago fsck`", codes.join(", "))))
}

/// Writes the file of a group beside its place, flushes it, and puts it there.
fn write(
    cluster: ClusterId,
    group: GroupId,
    state: &CheckedState,
    to: &Path,
    behind: u64,
    quiet: bool,
) -> Done<ExportedGroup> {
    let path = file_of(to, group);
    if path.try_exists()? {
        return Err(Failure::new(Kind::Failed, format!("{} is there: choose another folder", path.display())));
    }
    let time_then = group_time(state).map_err(Failure::failed)?;
    let (index, term) = (state.applied.index, state.applied.term);
    let head = ExportHead { cluster, group, index, term, time: time_then };
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    let mut file = BufWriter::new(file);
    let shown = bar(&format!("{group}"), None, quiet);
    let sum = write_export(&mut file, &head, state, &mut |bytes| shown.inc(bytes)).map_err(Failure::failed)?;
    shown.finish_and_clear();
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(to)?.sync_all()?;
    Ok(ExportedGroup {
        group: group.0,
        file: path.display().to_string(),
        index: index.0,
        time: time(time_then),
        rows: sum.rows,
        bytes: sum.bytes,
        behind,
    })
}

impl Exported {
    fn text(&self) -> String {
        let mut rows = vec![["GROUP", "AS OF", "INDEX", "ROWS", "BYTES", "FILE"].map(str::to_owned).to_vec()];
        let mut late = String::new();
        for group in &self.groups {
            rows.push(vec![
                group.group.to_string(),
                group.time.clone(),
                group.index.to_string(),
                group.rows.to_string(),
                bytes(group.bytes),
                group.file.clone(),
            ]);
            if group.behind > 0 {
                late.push_str(&format!(
                    "group {}: {} entries of its log are not in it; start the node and stop it in order to have them\n",
                    group.group, group.behind
                ));
            }
        }
        format!("{}\n{late}It names users and their keys: keep it as you keep a password.\n", table(&rows))
    }
}
