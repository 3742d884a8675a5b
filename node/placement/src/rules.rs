//! The groups of a further rule, in a cluster that has groups already.

use crate::plan::{Limits, Planner, Rank};
use crate::shares::counts;
use types::{Domain, Member, PlacementMap, PlacementRule, REPLICAS, RuleEntry, RuleFault, RuleId};

/// Groups of a rule: as many as those of a new cluster, for the same reason.
pub const RULE_GROUPS: usize = 64;
/// Stands for the new rule while its groups are chosen. No rule gets so far.
const NEW: RuleId = RuleId(u16::MAX);

/// Chooses the members of so many groups of a rule that is not in the map yet: as far apart and on such disks as it asks for, each disk by its share,
/// and together with nodes that share groups already, where they have enough of them.
///
/// # Errors
/// [`RuleFault`]: the cluster cannot give what it asks for.
pub fn found_rule(map: &PlacementMap, rule: &PlacementRule, groups: usize) -> Result<Vec<Vec<Member>>, RuleFault> {
    map.can_give(rule)?;
    let mut with = map.clone();
    with.rules.retain(|entry| entry.id != NEW);
    with.rules.push(RuleEntry { id: NEW, name: String::new(), rule: rule.clone() });
    let mut planner = Planner::new(&with, Limits::from(&with.options));
    planner.expect(NEW, groups);
    let mut found = Vec::with_capacity(groups);
    for turn in 0..groups {
        let mut members = Vec::with_capacity(REPLICAS);
        if !fill(&with, &planner, rule, &mut members) {
            // `can_give` says that there are three; if not, it is to be refused, not to be half done.
            return Err(RuleFault::Together { level: rule.level });
        }
        planner.place(NEW, &members);
        members.rotate_left(turn % REPLICAS);
        found.push(members);
    }
    Ok(found)
}

/// Adds members, each the best of those that leave enough for the wishes after it.
fn fill(map: &PlacementMap, planner: &Planner<'_>, rule: &PlacementRule, members: &mut Vec<Member>) -> bool {
    let Some(wish) = rule.wishes().get(members.len()).copied() else { return true };
    let mut ranked: Vec<((bool, Rank), Member)> = Vec::new();
    for node in &map.nodes {
        let domain = Domain::of(rule.level, node);
        let apart = |other: &Member| {
            let entry = map.node(other.node);
            other.node != node.id && entry.is_none_or(|entry| Domain::of(rule.level, entry) != domain)
        };
        if !members.iter().all(apart) {
            continue;
        }
        for (number, disk) in node.disks.iter().enumerate() {
            if counts(node, number) && wish.is_none_or(|class| class == disk.class) {
                let to = Member { node: node.id, disk: number as u16 };
                let mut then = members.clone();
                then.push(to);
                // What does not take copies just now only where there is nothing else.
                ranked.push(((!map.may_take(to), planner.rank_in(NEW, &then, to)), to));
            }
        }
    }
    ranked.sort();
    ranked.into_iter().any(|(_, to)| {
        members.push(to);
        let filled = fill(map, planner, rule, members);
        if !filled {
            members.pop();
        }
        filled
    })
}
