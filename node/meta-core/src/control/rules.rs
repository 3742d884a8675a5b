//! Rules of placement: made, changed, taken away, and given to buckets.
//!
//! Whoever proposes a rule has chosen the members of its groups; here they are only looked at. The ids and slots of its groups come behind those
//! there are, so no chunk's place depends on a rule that was made after it.

use super::{BucketRow, Change, DeletedBucketRow, Step, buckets, table};
use crate::key::Table;
use crate::key::control::{BucketIdKey, BucketNameKey, DeletedBucketKey, MapKey};
use crate::kv::{KvError, KvRead};
use crate::row;
use proto::control::{ControlOutcome, ControlRefusal};
use types::{
    BucketId, Member, PgEpoch, PgId, PlacementGroup, PlacementMap, PlacementRule, REPLICAS, RULES_MAX, RuleEntry,
    RuleFault, RuleId, SLOTS_MAX,
};

/// Groups that one rule may bring. With as many, a disk in twenty holds 38 of each.
const GROUPS_A_RULE_MAX: usize = 256;
/// Groups of all rules that are and were: the planner looks at each twice a second.
const GROUPS_MAX: usize = 8192;
/// Slots of each group of a new rule, so that groups may be cut later without touching ids.
const SLOTS_A_GROUP: usize = 4;
/// The last id stands for a rule that is only being thought of.
const RULE_ID_MAX: u16 = u16::MAX - 1;

impl Change<'_> {
    pub(super) fn add_rule(
        &mut self,
        name: &str,
        rule: &PlacementRule,
        groups: &[Vec<Member>],
    ) -> Step<ControlOutcome> {
        if !RuleEntry::is_name(name) {
            return Err(ControlRefusal::from(RuleFault::Form).into());
        }
        let mut map = self.map()?;
        if let Some(there) = map.rule_named(name) {
            let same = there.rule == *rule;
            return if same { Ok(ControlOutcome::Rule(there.id)) } else { Err(ControlRefusal::RuleExists.into()) };
        }
        if name == RuleEntry::DEFAULT_NAME {
            return Err(ControlRefusal::RuleExists.into());
        }
        map.can_give(rule).map_err(ControlRefusal::from)?;
        let slots = map.slots.len() + groups.len() * SLOTS_A_GROUP;
        let last = self.header.rule.max(map.rules.last().map(|entry| entry.id).unwrap_or_default());
        let first = map.groups.last().map_or(0, |group| group.id.0.saturating_add(1));
        let full = map.rules.len() >= RULES_MAX
            || map.groups.len() + groups.len() > GROUPS_MAX
            || slots > SLOTS_MAX
            || first > u32::MAX - GROUPS_MAX as u32
            || last.0 >= RULE_ID_MAX;
        if full {
            return Err(ControlRefusal::Limit.into());
        }
        let fit = groups.iter().all(|members| fits(&map, rule, members));
        if groups.is_empty() || groups.len() > GROUPS_A_RULE_MAX || !fit {
            return Err(ControlRefusal::RuleGroups.into());
        }
        let id = RuleId(last.0 + 1);
        self.header.rule = id;
        for (number, members) in (first..).zip(groups) {
            let at = map.groups.len() as u32;
            let group = PlacementGroup::settled(PgId(number), PgEpoch(1), members.clone());
            map.groups.push(PlacementGroup { rule: id, ..group });
            map.slots.extend([at; SLOTS_A_GROUP]);
        }
        map.rules.push(RuleEntry { id, name: name.to_owned(), rule: rule.clone() });
        self.set_map(map);
        Ok(ControlOutcome::Rule(id))
    }

    pub(super) fn set_rule(&mut self, id: RuleId, rule: &PlacementRule) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        if !map.has_rule(id) {
            return Err(ControlRefusal::NoSuchRule.into());
        }
        if *map.rule(id) == *rule {
            return Ok(ControlOutcome::Done);
        }
        map.can_give(rule).map_err(ControlRefusal::from)?;
        match map.rules.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => map.rules[at].rule = rule.clone(),
            Err(at) => {
                let name = RuleEntry::DEFAULT_NAME.to_owned();
                map.rules.insert(at, RuleEntry { id, name, rule: rule.clone() });
            }
        }
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    /// Takes a rule away. One that was is away already.
    pub(super) fn remove_rule(&mut self, id: RuleId) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        if id == RuleId::DEFAULT {
            return Err(ControlRefusal::InUse.into());
        }
        let Ok(at) = map.rules.binary_search_by_key(&id, |entry| entry.id) else {
            let was = id <= self.header.rule;
            return if was { Ok(ControlOutcome::Done) } else { Err(ControlRefusal::NoSuchRule.into()) };
        };
        for (key, value) in table(&self.rows, Table::BucketName)? {
            let bucket: BucketRow = row::decode::<BucketNameKey<'_>>(&key, &value)?;
            if bucket.info.rule == id {
                return Err(ControlRefusal::InUse.into());
            }
        }
        // They may come back, and then have the default rule as their chunks do.
        for mut row in buckets::deleted(&self.rows)? {
            if row.bucket.info.rule == id {
                row.bucket.info.rule = RuleId::DEFAULT;
                let DeletedBucketRow { bucket, .. } = &row;
                self.write(&DeletedBucketKey(bucket.info.id), &row);
            }
        }
        map.rules.remove(at);
        map.groups.iter_mut().filter(|group| group.rule == id).for_each(|group| group.rule = RuleId::DEFAULT);
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn set_bucket_rule(&mut self, bucket: BucketId, rule: RuleId) -> Step<ControlOutcome> {
        let name = self.read(&BucketIdKey(bucket))?.ok_or(ControlRefusal::NoSuchBucket)?;
        let mut row = self.read(&BucketNameKey(&name))?.ok_or(ControlRefusal::NoSuchBucket)?;
        if !self.map()?.has_rule(rule) {
            return Err(ControlRefusal::NoSuchRule.into());
        }
        if row.info.rule != rule {
            row.info.rule = rule;
            self.write(&BucketNameKey(&name), &row);
            self.note_bucket_rule(bucket, rule)?;
        }
        Ok(ControlOutcome::Bucket(row.info))
    }

    /// Has writers who know a bucket from before find its rule in the map.
    pub(super) fn note_bucket_rule(&mut self, bucket: BucketId, rule: RuleId) -> Step<()> {
        let mut map = self.map()?;
        match map.bucket_rules.binary_search_by_key(&bucket, |(id, _)| *id) {
            Ok(at) if map.bucket_rules[at].1 == rule => return Ok(()),
            Ok(at) => map.bucket_rules[at].1 = rule,
            Err(at) => map.bucket_rules.insert(at, (bucket, rule)),
        }
        self.set_map(map);
        Ok(())
    }

    /// Nobody writes into a bucket that is gone.
    pub(super) fn forget_bucket_rule(&mut self, bucket: BucketId) -> Step<()> {
        let mut map = self.map()?;
        if let Ok(at) = map.bucket_rules.binary_search_by_key(&bucket, |(id, _)| *id) {
            map.bucket_rules.remove(at);
            self.set_map(map);
        }
        Ok(())
    }
}

/// Whether a group of these members is as a rule asks for, and none of them lost or on its way out.
fn fits(map: &PlacementMap, rule: &PlacementRule, members: &[Member]) -> bool {
    let stays = |member: &Member| {
        let node = map.node(member.node);
        let active = node.is_some_and(|node| node.mode == types::NodeMode::Active);
        active && map.disk(*member).is_some() && !map.is_lost(*member)
    };
    members.len() == REPLICAS
        && members.iter().all(stays)
        && map.spread_at(types::FailureLevel::Node, members.iter().copied()).asked == REPLICAS
        && map.spread_at(rule.level, members.iter().copied()).asked == REPLICAS
        && map.copies_lacking(rule, members.iter().copied()) == 0
}

/// Whether a first map names only rules that it has.
pub(super) fn is_whole(map: &PlacementMap) -> bool {
    map.bucket_rules.is_empty()
        && map.rules.is_sorted_by(|a, b| a.id < b.id)
        && map.groups.iter().all(|group| map.has_rule(group.rule))
}

/// Every rule that is named is there, and writers are told what the buckets themselves say.
pub(super) fn check(kv: &dyn KvRead) -> Result<Vec<String>, KvError> {
    let mut broken = Vec::new();
    let Some(map) = row::read(kv, &MapKey)? else { return Ok(broken) };
    for group in map.groups.iter().filter(|group| !map.has_rule(group.rule)) {
        broken.push(format!("{} has {}, which is not there", group.id, group.rule));
    }
    for (bucket, rule) in &map.bucket_rules {
        let name = row::read(kv, &BucketIdKey(*bucket))?;
        let found = name.map(|name| row::read(kv, &BucketNameKey(&name))).transpose()?.flatten();
        if found.is_none_or(|row: BucketRow| row.info.rule != *rule) {
            broken.push(format!("{bucket} does not have {rule}, which writers are told"));
        }
    }
    for (key, value) in table(kv, Table::BucketName)? {
        let info = row::decode::<BucketNameKey<'_>>(&key, &value)?.info;
        if !map.has_rule(info.rule) {
            broken.push(format!("bucket {} has {}, which is not there", info.name, info.rule));
        }
    }
    for row in buckets::deleted(kv)? {
        if !map.has_rule(row.bucket.info.rule) {
            broken.push(format!("deleted bucket {} has {}", row.bucket.info.id, row.bucket.info.rule));
        }
    }
    Ok(broken)
}
