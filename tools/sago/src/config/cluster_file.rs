//! `cluster.toml`: who belongs to the cluster and where its copies and voters stand at the beginning.
//!
//! It carries the whole first placement map and not what it was computed from, so that a later version of the program, which may
//! place differently, reads the same map. Once the control group has it, its own copy counts.
//!
//! ```toml
//! format = 3
//! cluster = "0123456789abcdef0123456789abcdef"
//! joined = false             # true: as the cluster was when a node joined it, and the node's map until it hears of a newer one
//!
//! [[node]]
//! id = 1
//! addr = "10.0.0.1:7400"
//! domain = "rack-a"
//! disks = [{ id = "00112233445566778899aabbccddeeff", class = "ssd", weight = 100 }]
//!
//! [[raft_group]]              # the first is the control group
//! id = 0
//! voters = [1, 2, 3]
//!
//! [[placement_group]]
//! id = 0
//! rule = 0                          # 0 if it is not said
//! members = ["1/0", "2/0", "3/0"]   # node/disk
//! slots = [0, 64, 128, 192]
//!
//! [[rule]]
//! id = 0
//! name = "default"
//! level = "rack"
//! classes = []                      # such as [{ class = "ssd", copies = 2 }]
//! ```

use super::ConfigError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use types::{
    ClassCopies, ClusterId, DISK_WEIGHT_DEFAULT, DiskEntry, DiskId, FailureLevel, FeatureLevel, GroupId,
    GroupPlacement, Member, NodeEntry, NodeId, PgEpoch, PgId, PlacementGroup, PlacementMap, PlacementOptions,
    PlacementRule, RuleEntry, RuleId,
};

/// The format written here. History: 1 = first light, 2 = disks have a class and a weight, 3 = rules of placement.
const FORMAT: u32 = 3;

/// A cluster as it was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFile {
    /// Its id.
    pub cluster: ClusterId,
    /// Its first map; or the one a node joined at.
    pub map: PlacementMap,
    /// Whether it is that of a node that joined. It was never a new cluster's, so it need not look like one.
    pub joined: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    cluster: String,
    #[serde(default)]
    joined: bool,
    node: Vec<WrittenNode>,
    raft_group: Vec<WrittenRaftGroup>,
    placement_group: Vec<WrittenGroup>,
    #[serde(default)]
    rule: Vec<WrittenRule>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNode {
    id: u64,
    addr: String,
    domain: String,
    disks: Vec<WrittenDisk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDisk {
    id: String,
    #[serde(default)]
    class: String,
    #[serde(default = "usual_weight")]
    weight: u32,
}

fn usual_weight() -> u32 {
    DISK_WEIGHT_DEFAULT
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRaftGroup {
    id: u32,
    voters: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    id: u32,
    #[serde(default)]
    rule: u16,
    members: Vec<String>,
    slots: Vec<u16>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    id: u16,
    name: String,
    level: String,
    classes: Vec<WrittenCopies>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCopies {
    class: String,
    copies: u8,
}

impl ClusterFile {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`]; also a map that breaks a rule of placement.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::from_written(super::load(path)?).map_err(|what| ConfigError::value(path.display(), what))
    }

    /// The text of the file.
    #[must_use]
    pub fn encode(&self) -> String {
        let map = &self.map;
        let mut text = String::from(
            "# A Sago cluster, made by `sago cluster init`. The same file stands on every node and is never edited.\n",
        );
        let mut line = |written: String| text.push_str(&written);
        line(format!("format = {FORMAT}\ncluster = \"{}\"\n", self.cluster));
        if self.joined {
            line("joined = true\n".to_owned());
        }
        for node in &map.nodes {
            let disk = |disk: &DiskEntry| {
                let class = toml::Value::from(disk.class.as_str());
                format!("{{ id = \"{}\", class = {class}, weight = {} }}", disk.id, disk.weight)
            };
            let disks = node.disks.iter().map(disk).collect::<Vec<_>>().join(", ");
            let (addr, domain) = (toml::Value::from(node.addr.as_str()), toml::Value::from(node.domain.as_str()));
            line(format!("\n[[node]]\nid = {}\naddr = {addr}\ndomain = {domain}\ndisks = [{disks}]\n", node.id.0));
        }
        for group in &map.raft_groups {
            let voters: Vec<u64> = group.voters.iter().map(|voter| voter.0).collect();
            line(format!("\n[[raft_group]]\nid = {}\nvoters = {voters:?}\n", group.id.0));
        }
        for (at, group) in map.groups.iter().enumerate() {
            let members: Vec<String> =
                group.members.iter().map(|member| format!("{}/{}", member.node.0, member.disk)).collect();
            let slots: Vec<usize> = (0..map.slots.len()).filter(|slot| map.slots[*slot] as usize == at).collect();
            let rule = if group.rule == RuleId::DEFAULT { String::new() } else { format!("rule = {}\n", group.rule.0) };
            line(format!(
                "\n[[placement_group]]\nid = {}\n{rule}members = {members:?}\nslots = {slots:?}\n",
                group.id.0
            ));
        }
        for RuleEntry { id, name, rule } in &map.rules {
            let copies =
                |wanted: &ClassCopies| format!("{{ class = \"{}\", copies = {} }}", wanted.class, wanted.copies);
            let classes = rule.classes.iter().map(copies).collect::<Vec<_>>().join(", ");
            let level = rule.level;
            line(format!("\n[[rule]]\nid = {}\nname = \"{name}\"\nlevel = \"{level}\"\nclasses = [{classes}]\n", id.0));
        }
        text
    }

    fn from_written(written: Written) -> Result<Self, String> {
        if written.format != FORMAT {
            return Err(format!("format {} is not read by this version", written.format));
        }
        let cluster = written.cluster.parse().map_err(|error| format!("cluster: {error}"))?;
        let nodes = written.node.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let mut slots = BTreeMap::new();
        let mut groups = Vec::new();
        for (at, group) in written.placement_group.into_iter().enumerate() {
            for slot in &group.slots {
                if slots.insert(usize::from(*slot), at as u32).is_some() {
                    return Err(format!("slot {slot} is in two placement groups"));
                }
            }
            let members = group.members.iter().map(|text| member(text)).collect::<Result<Vec<_>, _>>()?;
            let settled = PlacementGroup::settled(PgId(group.id), PgEpoch(1), members);
            groups.push(PlacementGroup { rule: RuleId(group.rule), ..settled });
        }
        if slots.keys().next_back().is_some_and(|last| last + 1 != slots.len()) {
            return Err("a slot is in no placement group".to_owned());
        }
        let raft_groups = written
            .raft_group
            .into_iter()
            .map(|group| GroupPlacement::founding(GroupId(group.id), group.voters.into_iter().map(NodeId).collect()));
        let slots = slots.into_values().collect();
        let raft_groups = raft_groups.collect();
        let options = PlacementOptions::default();
        // Of a new cluster: its first nodes run the program that made it. One that joined hears the level before it does anything.
        let level = FeatureLevel::NEWEST;
        let rules = written.rule.into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        // Which bucket has which, only the control group knows.
        let bucket_rules = Vec::new();
        let map = PlacementMap { version: 1, nodes, groups, slots, raft_groups, options, level, rules, bucket_rules };
        // Copies and votes may have been under way, and domains may be shared for want of others.
        let mut wrong = if written.joined { Vec::new() } else { placement::check(&map) };
        if wrong.len() > 3 {
            let more = wrong.len() - 3;
            wrong.truncate(3);
            let _ = write!(wrong[2], "; and {more} more");
        }
        if wrong.is_empty() { Ok(ClusterFile { cluster, map, joined: written.joined }) } else { Err(wrong.join("; ")) }
    }
}

fn rule(written: WrittenRule) -> Result<RuleEntry, String> {
    let WrittenRule { id, name, level, classes } = written;
    let level = FailureLevel::named(&level).ok_or_else(|| format!("rule {name:?}: {level:?} is no level"))?;
    let classes = classes.into_iter().map(|WrittenCopies { class, copies }| ClassCopies { class, copies }).collect();
    let rule = PlacementRule { level, classes };
    if !RuleEntry::is_name(&name) {
        return Err(format!("{name:?} is not the name of a rule"));
    }
    rule.validate().map_err(|fault| format!("rule {name:?}: {fault}"))?;
    Ok(RuleEntry { id: RuleId(id), name, rule })
}

fn node(written: WrittenNode) -> Result<NodeEntry, String> {
    let disks = written.disks.into_iter().map(disk).collect::<Result<_, _>>()?;
    Ok(NodeEntry { disks, ..NodeEntry::new(NodeId(written.id), written.addr, written.domain, []) })
}

fn disk(written: WrittenDisk) -> Result<DiskEntry, String> {
    let WrittenDisk { id, class, weight } = written;
    let id = id.parse::<DiskId>().map_err(|error| format!("disk {id:?}: {error}"))?;
    if !DiskEntry::is_class(&class) {
        return Err(format!("disk {id}: class {class:?} is not at most 32 of a-z 0-9 -"));
    }
    Ok(DiskEntry { class, weight, ..DiskEntry::new(id) })
}

fn member(text: &str) -> Result<Member, String> {
    let parsed = text.split_once('/').and_then(|(node, disk)| Some((node.parse().ok()?, disk.parse().ok()?)));
    let (node, disk) = parsed.ok_or_else(|| format!("member {text:?} is not NODE/DISK"))?;
    Ok(Member { node: NodeId(node), disk })
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::{InitialPlan, PlannedNode};

    fn sample() -> ClusterFile {
        let nodes: Vec<_> = (1..=4)
            .map(|id: u8| PlannedNode {
                id: NodeId(u64::from(id)),
                addr: format!("[fe80::{id}]:7400"),
                domain: format!("rack \"{id}\""),
                disks: vec![DiskId([id; 16]), DiskId([id + 100; 16])],
            })
            .collect();
        let map = placement::initial(&nodes, &InitialPlan::default()).expect("a map");
        let mut file = ClusterFile { cluster: ClusterId([7; 16]), map, joined: false };
        file.map.nodes[1].disks[0].class = "ssd".to_owned();
        file.map.nodes[1].disks[1].weight = 7;
        let classes = vec![ClassCopies { class: "ssd".to_owned(), copies: 1 }];
        let rule = PlacementRule { level: FailureLevel::Node, classes };
        file.map.rules.push(RuleEntry { id: RuleId(3), name: "fast".to_owned(), rule });
        file.map.groups[5].rule = RuleId(3);
        file
    }

    fn read(text: &str) -> Result<ClusterFile, String> {
        let written = super::super::parse(Path::new("cluster.toml"), text).map_err(|error| error.to_string())?;
        ClusterFile::from_written(written)
    }

    #[test]
    fn the_file_says_the_whole_map() {
        assert_eq!(read(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn the_file_of_a_node_that_joined_may_show_votes_and_copies_under_way() {
        let mut file = ClusterFile { joined: true, ..sample() };
        file.map.raft_groups[1] = GroupPlacement::founding(GroupId(1), [1, 2, 3, 4].map(NodeId).into());
        assert_eq!(read(&file.encode()), Ok(file.clone()));
        assert!(read(&ClusterFile { joined: false, ..file }.encode()).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let text = sample().encode();
        let broken = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            read(&text.replacen(from, to, 1)).map(|_| ()).expect_err("must be refused")
        };
        assert!(broken("format = 3", "format = 2").contains("format 2"));
        assert!(broken("format = 3", "format = 3\nfromat = 1").contains("unknown field"));
        assert!(broken("voters = [1", "voters = [9").contains("node-9"));
        assert!(broken("class = \"ssd\"", "class = \"SSD!\"").contains("class"));
        assert!(broken("members = [\"1/0\"", "members = [\"1/7\"").contains("disk 7"));
        assert!(broken("members = [\"1/0\"", "members = [\"one\"").contains("NODE/DISK"));
        assert!(broken("slots = [0, 64", "slots = [1, 64").contains("slot 1"));
        assert!(broken("slots = [0, 64", "slots = [64").contains("no placement group"));
        assert!(broken("rule = 3", "rule = 4").contains("rule-4"));
        assert!(broken("level = \"node\"", "level = \"shelf\"").contains("shelf"));
        assert!(broken("copies = 1", "copies = 4").contains("at most 3"));
        assert!(broken("[[raft_group]]\nid = 0", "[[raft_group]]\nid = 9").contains("control group"));
    }
}
