//! The state of every group, and whether it fits its log.

use super::{chain, site::Site};
use crate::exit::{Done, Failure, Kind};
use crate::object::bar;
use meta_core::audit::{Audited, ITEMS_MAX, audit};
use meta_core::control_query;
use proto::control::{ControlAnswer, ControlQuery};
use raft_log::{CheckedGroup, CheckedLog};
use state_store::CheckedState;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use types::{Findings, GroupId, PlacementMap};

const FETCH: &str =
    "if other members of the group live, remove this group's state folder: the node fetches the state from them";

/// The state of one group, which can be read.
pub(crate) struct State {
    pub(crate) rows: CheckedState,
    pub(crate) audited: Audited,
    /// Everything that its log holds is in it.
    pub(crate) current: bool,
}

/// The states of a node.
pub(crate) struct Groups {
    states: BTreeMap<GroupId, State>,
    map: Option<PlacementMap>,
}

impl Groups {
    /// The placement map as the control group on this node has it.
    pub(crate) fn map(&self) -> Option<&PlacementMap> {
        self.map.as_ref()
    }

    /// Every group that has a state, which can be read.
    pub(crate) fn states(&self) -> &BTreeMap<GroupId, State> {
        &self.states
    }

    /// Whether what a group's state says, by the map on this node, is as new as anything that was done on this node's disks: neither state
    /// lags behind its log, as it does after a power cut.
    pub(crate) fn are_current(&self, group: GroupId) -> bool {
        [GroupId::CONTROL, group].iter().all(|id| self.states.get(id).is_some_and(|state| state.current))
    }
}

/// Checks the state of every group that has a log or a state.
pub(crate) fn check(site: &Site, log: &CheckedLog, findings: &mut Findings, quiet: bool) -> Done<Groups> {
    let folder = site.meta.join("state");
    let mut ids: BTreeSet<GroupId> = log.groups().keys().copied().collect();
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            for name in entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
                let number = name.strip_suffix(".old").or(name.strip_suffix(".gone")).unwrap_or(&name);
                match number.parse() {
                    Ok(number) if number < GroupId::LIMIT => drop(ids.insert(GroupId(number))),
                    _ => {
                        let place = folder.join(&name);
                        let what = "not the state of a group";
                        findings.note("state-stranger", place.display(), what, "look what it is; Sago does not use it");
                    }
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::new(Kind::Unchecked, format!("{}: {error}", folder.display()))),
    }
    let mut groups = Groups { states: BTreeMap::new(), map: None };
    for group in ids {
        let path = folder.join(group.0.to_string());
        let failed = |error| Failure::new(Kind::Unchecked, format!("{}: {error}", path.display()));
        let damages = super::damages(findings);
        let state = state_store::check(&path, findings).map_err(failed)?;
        let Some(state) = state else {
            // A damaged one was told; one that is not there may never have been.
            if super::damages(findings) == damages {
                missing(group, log.groups().get(&group), findings);
            }
            continue;
        };
        fits(group, &state, log.groups().get(&group), findings);
        let shown = bar(&format!("state of {group}"), None, quiet);
        match audit(&state, group, ITEMS_MAX, findings, &mut |bytes| shown.inc(bytes)) {
            Ok(audited) => {
                if group == GroupId::CONTROL && audited.damaged == 0 {
                    groups.map = map_of(&state);
                }
                let current = log.groups().get(&group).is_some_and(|log| state.applied.index >= log.last);
                groups.states.insert(group, State { rows: state, audited, current });
            }
            Err(error) => findings.damage("state-unreadable", path.display(), chain(&error), FETCH),
        }
        shown.finish_and_clear();
    }
    Ok(groups)
}

fn map_of(state: &CheckedState) -> Option<PlacementMap> {
    match control_query(state, &ControlQuery::Map) {
        Ok(ControlAnswer::Map(map)) => map.map(|map| *map),
        Ok(_) | Err(_) => None,
    }
}

/// A group without a state: only a log from its first entry on can make one.
fn missing(group: GroupId, log: Option<&CheckedGroup>, findings: &mut Findings) {
    if let Some(log) = log.filter(|log| log.start.index.0 > 0) {
        let what = format!("there is no state, and the log begins behind {}", log.start.index);
        findings.damage("state-missing", group, what, "start the node: it fetches the state from the other members");
    }
}

/// The state must stand somewhere in its log.
fn fits(group: GroupId, state: &CheckedState, log: Option<&CheckedGroup>, findings: &mut Findings) {
    let applied = state.applied;
    let Some(log) = log else {
        if applied.index.0 > 0 {
            let what = format!("a state up to {}, and no log", applied.index);
            let advice = "this replica must not vote: join an empty node under a new id and remove this one";
            findings.damage("group-log-missing", group, what, advice);
        }
        return;
    };
    if applied.index < log.start.index {
        let what = format!("the state is at {}, and the log begins behind {}", applied.index, log.start.index);
        findings.damage("state-behind-log", group, what, FETCH);
    } else if applied.index > log.last {
        let what = format!("the state is at {}, and the log ends at {}", applied.index, log.last);
        findings.note(
            "state-ahead",
            group,
            what,
            "nothing: a snapshot was taken in, and the next start moves the log on",
        );
    } else if let Some(term) = log.term_at(applied.index).filter(|term| *term != applied.term) {
        let what = format!("{} was applied as of {}, and is of {term} in the log", applied.index, applied.term);
        findings.damage("state-of-other-log", group, what, FETCH);
    }
}
