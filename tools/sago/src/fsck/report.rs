//! What was found and looked at, for people and programs.

use super::groups::Groups;
use super::homes::Homes;
use super::site::Site;
use crate::output::{bytes, table};
use chunk_store::CheckedDisk;
use raft_log::CheckedLog;
use serde::Serialize;
use types::{Findings, Severity};

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) node: u64,
    folder: String,
    /// How often the node was started.
    pub(super) starts: Option<u64>,
    pub(super) damages: u64,
    warnings: u64,
    notes: u64,
    /// Of each kind the first few.
    findings: Vec<Shown>,
    /// How many there are of each kind.
    counts: Vec<Count>,
    groups: Vec<ShownGroup>,
    disks: Vec<ShownDisk>,
    pub(super) homes: Option<Homes>,
}

#[derive(Serialize)]
struct Shown {
    severity: &'static str,
    code: &'static str,
    place: String,
    what: String,
    advice: &'static str,
}

#[derive(Serialize)]
struct Count {
    code: &'static str,
    severity: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct ShownGroup {
    group: u32,
    first: u64,
    last: u64,
    term: u64,
    commit: u64,
    applied: Option<u64>,
    rows: Option<u64>,
    chunks: Option<u64>,
}

#[derive(Serialize)]
struct ShownDisk {
    path: String,
    disk: Option<String>,
    segments: u64,
    records: u64,
    record_bytes: u64,
    chunks: u64,
    chunk_bytes: u64,
    quarantined: u64,
    /// Records whose chunk has no row: moved away, or the row was lost.
    rowless: u64,
}

impl Report {
    pub(super) fn new(site: &Site, findings: &Findings) -> Report {
        let shown = |finding: &types::Finding| Shown {
            severity: finding.severity.word(),
            code: finding.code,
            place: finding.place.clone(),
            what: finding.what.clone(),
            advice: finding.advice,
        };
        let count =
            |(code, severity, count): (&'static str, Severity, u64)| Count { code, severity: severity.word(), count };
        let mut listed: Vec<_> = findings.listed().iter().collect();
        // The worst first, else in the order they were found.
        listed.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Report {
            node: site.node.0,
            folder: site.folder.display().to_string(),
            starts: None,
            damages: findings.number_of(Severity::Damage),
            warnings: findings.number_of(Severity::Warning),
            notes: findings.number_of(Severity::Note),
            findings: listed.into_iter().map(shown).collect(),
            counts: findings.counts().map(count).collect(),
            groups: Vec::new(),
            disks: Vec::new(),
            homes: None,
        }
    }

    pub(super) fn add_groups(&mut self, log: &CheckedLog, groups: &Groups) {
        for (group, checked) in log.groups() {
            let state = groups.states().get(group);
            self.groups.push(ShownGroup {
                group: group.0,
                first: checked.start.index.0 + 1,
                last: checked.last.0,
                term: checked.hard_state.term.0,
                commit: checked.hard_state.commit.0,
                applied: state.map(|state| state.rows.applied.index.0),
                rows: state.map(|state| state.audited.rows),
                chunks: state.map(|state| state.audited.chunks),
            });
        }
    }

    pub(super) fn add_disks(&mut self, site: &Site, disks: &[Option<CheckedDisk>]) {
        for ((path, _), disk) in site.disks.iter().zip(disks) {
            let summary = disk.as_ref().map(|disk| disk.summary).unwrap_or_default();
            self.disks.push(ShownDisk {
                path: path.display().to_string(),
                disk: disk.as_ref().map(|disk| disk.disk.to_string()),
                segments: summary.segments,
                records: summary.records,
                record_bytes: summary.bytes,
                chunks: summary.chunks,
                chunk_bytes: summary.chunk_bytes,
                quarantined: summary.quarantined,
                rowless: summary.rowless,
            });
        }
    }

    /// For people: what is wrong, what to do, and what was looked at.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let Shown { severity, code, place, what, advice } = finding;
            text.push_str(&format!("{severity:<8} {code}\n  where  {place}\n  what   {what}\n  to do  {advice}\n"));
        }
        for count in &self.counts {
            let listed = self.findings.iter().filter(|finding| finding.code == count.code).count() as u64;
            if count.count > listed {
                text.push_str(&format!("and {} more of {}\n", count.count - listed, count.code));
            }
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&self.looked_at());
        let Report { node, folder, damages, warnings, notes, .. } = self;
        text.push_str(&format!("node {node} in {folder}: {damages} damages, {warnings} warnings, {notes} notes\n"));
        text
    }

    fn looked_at(&self) -> String {
        let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let mut text = String::new();
        if !self.groups.is_empty() {
            let mut rows = vec![cells(&["GROUP", "LOG", "TERM", "APPLIED", "ROWS", "CHUNKS"])];
            for group in &self.groups {
                rows.push(vec![
                    group.group.to_string(),
                    format!("{}..{}", group.first, group.last),
                    group.term.to_string(),
                    number(group.applied),
                    number(group.rows),
                    number(group.chunks),
                ]);
            }
            text.push_str(&table(&rows));
            text.push('\n');
        }
        if !self.disks.is_empty() {
            let mut rows = vec![cells(&["DISK", "SEGMENTS", "RECORDS", "READ", "CHUNKS", "BYTES", "DAMAGED"])];
            for disk in &self.disks {
                rows.push(vec![
                    disk.path.clone(),
                    disk.segments.to_string(),
                    disk.records.to_string(),
                    bytes(disk.record_bytes),
                    disk.chunks.to_string(),
                    bytes(disk.chunk_bytes),
                    disk.quarantined.to_string(),
                ]);
            }
            text.push_str(&table(&rows));
            text.push('\n');
        }
        if let Some(Homes { wanted, noted, missing, .. }) = self.homes {
            text.push_str(&format!(
                "{wanted} chunks belong here by the metadata: {noted} are known to be missing, {missing} are not where they should be\n"
            ));
        }
        text
    }
}
