//! `sago rule`: rules of placement, and what becomes of copies when they change.

use crate::bucket;
use crate::cli::{ClientArgs, RuleArgs, RuleCommand};
use crate::connect::{Session, connect};
use crate::copies::{self, Imagined};
use crate::exit::{Done, Failure, Kind};
use crate::operate::steer;
use crate::output::{Output, table};
use crate::user::unexpected;
use placement::{Limits, RULE_GROUPS};
use proto::control::{BucketInfo, ControlCommand, ControlOutcome};
use serde::Serialize;
use std::collections::BTreeMap;
use types::{ClassCopies, PlacementMap, PlacementRule, RuleEntry, RuleFault, RuleId};

/// How often groups are chosen anew because the cluster changed meanwhile.
const TRIES_MAX: usize = 3;

#[derive(Serialize)]
struct Shown {
    name: String,
    id: u16,
    level: &'static str,
    classes: Vec<ClassCopies>,
    groups: usize,
    /// Groups that it would have elsewhere and that have nowhere to go.
    unmet: usize,
    buckets: Vec<String>,
}

/// Carries out `sago rule`.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: RuleCommand, output: Output) -> Done {
    match command {
        RuleCommand::List { client } => list(&client, output).await,
        RuleCommand::Add(args) => add(args, output).await,
        RuleCommand::Set(args) => set(args, output).await,
        RuleCommand::Remove { name, dry_run, client } => remove(&client, &name, dry_run, output).await,
    }
}

async fn list(client: &ClientArgs, output: Output) -> Done {
    let session = connect(client, "tool").await?;
    let map = copies::map(&session).await;
    let buckets = bucket::list(&*session.cluster).await;
    session.close().await;
    output.show(&shown(&map?, &buckets?), |shown| rows(shown))
}

fn shown(map: &PlacementMap, buckets: &[BucketInfo]) -> Vec<Shown> {
    let (_, report) = placement::plan(map, &Limits::from(&map.options));
    let show = |entry: &RuleEntry| Shown {
        name: entry.name.clone(),
        id: entry.id.0,
        level: entry.rule.level.name(),
        classes: entry.rule.classes.clone(),
        groups: map.groups.iter().filter(|group| group.rule == entry.id).count(),
        unmet: report.unmet.iter().filter(|unmet| unmet.rule == entry.id).count(),
        buckets: buckets.iter().filter(|bucket| bucket.rule == entry.id).map(|bucket| bucket.name.clone()).collect(),
    };
    map.rules.iter().map(show).collect()
}

fn rows(shown: &[Shown]) -> String {
    let mut rows =
        vec![["RULE", "COPIES IN DIFFERENT", "ON", "GROUPS", "UNMET", "BUCKETS"].map(str::to_owned).to_vec()];
    for rule in shown {
        let classes: Vec<_> = rule.classes.iter().map(|wanted| format!("{}={}", wanted.class, wanted.copies)).collect();
        let classes = if classes.is_empty() { "any".to_owned() } else { classes.join(",") };
        let buckets = rule.buckets.len().to_string();
        let (groups, unmet) = (rule.groups.to_string(), rule.unmet.to_string());
        rows.push(vec![rule.name.clone(), format!("{}s", rule.level), classes, groups, unmet, buckets]);
    }
    table(&rows)
}

async fn add(args: RuleArgs, output: Output) -> Done {
    let rule = asked(&args)?;
    if !RuleEntry::is_name(&args.name) {
        return Err(Failure::new(Kind::Usage, RuleFault::Form));
    }
    let session = connect(&args.client, "tool").await?;
    let result = match args.dry_run {
        true => tried(&session, &rule).await.map(Added::Tried),
        false => make(&session, &args.name, &rule).await.map(Added::Made),
    };
    session.close().await;
    match result.map_err(|failure| failure.while_doing(&args.name))? {
        Added::Made(id) => output.show(&serde_json::json!({ "rule": args.name, "id": id.0 }), |_| String::new()),
        Added::Tried(copies) => output.show(&serde_json::json!({ "copies": copies }), |_| {
            let mut rows = vec![["DISK", "COPIES"].map(str::to_owned).to_vec()];
            rows.extend(copies.iter().map(|(disk, count)| vec![disk.clone(), count.to_string()]));
            format!("{}\nof {RULE_GROUPS} groups; nothing was changed", table(&rows))
        }),
    }
}

/// What came of making a rule.
enum Added {
    Made(RuleId),
    /// Copies by disk.
    Tried(BTreeMap<String, usize>),
}

async fn tried(session: &Session, rule: &PlacementRule) -> Done<BTreeMap<String, usize>> {
    let groups = placement::found_rule(&copies::map(session).await?, rule, RULE_GROUPS).map_err(Failure::failed)?;
    let mut copies = BTreeMap::new();
    groups.iter().flatten().for_each(|member| *copies.entry(copies::place(*member)).or_default() += 1);
    Ok(copies)
}

async fn make(session: &Session, name: &str, rule: &PlacementRule) -> Done<RuleId> {
    let mut tries = 0;
    loop {
        tries += 1;
        let map = copies::map(session).await?;
        let groups = placement::found_rule(&map, rule, RULE_GROUPS).map_err(Failure::failed)?;
        let add = ControlCommand::AddRule { name: name.to_owned(), rule: rule.clone(), groups };
        match steer(&*session.cluster, add).await {
            Ok(ControlOutcome::Rule(id)) => return Ok(id),
            Ok(other) => return Err(unexpected(&other)),
            // A node was removed, say, between the look at the map and now.
            Err(failure) if tries >= TRIES_MAX || copies::map(session).await?.version == map.version => {
                return Err(failure);
            }
            Err(_) => {}
        }
    }
}

async fn set(args: RuleArgs, output: Output) -> Done {
    let rule = asked(&args)?;
    let session = connect(&args.client, "tool").await?;
    let result = set_in(&session, &args, rule).await;
    session.close().await;
    result.map_err(|failure| failure.while_doing(&args.name))?.map_or_else(
        || output.show(&serde_json::json!({ "rule": args.name }), |_| "copies move: sago placement status".to_owned()),
        |imagined| imagined.show(output),
    )
}

/// Changes a rule, or says what would move.
async fn set_in(session: &Session, args: &RuleArgs, rule: PlacementRule) -> Done<Option<Imagined>> {
    let mut map = copies::map(session).await?;
    let id = id_of(&map, &args.name)?;
    map.can_give(&rule).map_err(Failure::failed)?;
    if args.dry_run {
        let sizes = copies::sizes(session, &map).await;
        match map.rules.iter_mut().find(|entry| entry.id == id) {
            Some(entry) => entry.rule = rule,
            None => map.rules.insert(0, RuleEntry { id, name: RuleEntry::DEFAULT_NAME.to_owned(), rule }),
        }
        return Ok(Some(Imagined::of(map, &sizes)));
    }
    steer(&*session.cluster, ControlCommand::SetRule { id, rule }).await?;
    Ok(None)
}

async fn remove(client: &ClientArgs, name: &str, dry_run: bool, output: Output) -> Done {
    let session = connect(client, "tool").await?;
    let result = remove_in(&session, name, dry_run).await;
    session.close().await;
    result.map_err(|failure| failure.while_doing(name))?.map_or_else(
        || output.show(&serde_json::json!({ "removed": name }), |_| String::new()),
        |imagined| imagined.show(output),
    )
}

async fn remove_in(session: &Session, name: &str, dry_run: bool) -> Done<Option<Imagined>> {
    let mut map = copies::map(session).await?;
    let id = id_of(&map, name)?;
    let used = bucket::list(&*session.cluster).await?.into_iter().filter(|bucket| bucket.rule == id);
    let used: Vec<_> = used.map(|bucket| bucket.name).collect();
    if id == RuleId::DEFAULT || !used.is_empty() {
        let message = match used.as_slice() {
            [] => "the default rule stays".to_owned(),
            [first, ..] => format!("{} buckets have it, {first} among them: sago bucket rule set", used.len()),
        };
        return Err(Failure::new(Kind::Failed, message));
    }
    if dry_run {
        let sizes = copies::sizes(session, &map).await;
        map.rules.retain(|entry| entry.id != id);
        map.groups.iter_mut().filter(|group| group.rule == id).for_each(|group| group.rule = RuleId::DEFAULT);
        return Ok(Some(Imagined::of(map, &sizes)));
    }
    steer(&*session.cluster, ControlCommand::RemoveRule { id }).await?;
    Ok(None)
}

/// A rule by its name.
///
/// # Errors
/// [`Kind::NotFound`] if there is none.
pub fn id_of(map: &PlacementMap, name: &str) -> Done<RuleId> {
    let known = map.rule_named(name).map(|entry| entry.id);
    let known = known.or((name == RuleEntry::DEFAULT_NAME).then_some(RuleId::DEFAULT));
    known.ok_or_else(|| Failure::new(Kind::NotFound, format!("no such rule: {name}; sago rule list shows them")))
}

fn asked(args: &RuleArgs) -> Done<PlacementRule> {
    let rule = PlacementRule { level: args.level.into(), classes: classes(&args.classes)? };
    rule.validate().map_err(|fault| Failure::new(Kind::Usage, fault))?;
    Ok(rule)
}

/// `ssd=2`, as often as there are classes.
fn classes(words: &[String]) -> Done<Vec<ClassCopies>> {
    let wrong = |word: &str| Failure::new(Kind::Usage, format!("{word:?} is not CLASS=COPIES"));
    let read = |word: &String| {
        let (class, copies) = word.split_once('=').ok_or_else(|| wrong(word))?;
        let copies = copies.parse().map_err(|_| wrong(word))?;
        Ok(ClassCopies { class: class.to_owned(), copies })
    };
    words.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{BucketId, GroupId, PgEpoch, PgId, PlacementGroup, Timestamp};

    #[test]
    fn classes_are_read() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let found = classes(&words(&["ssd=2", "durable=1"])).expect("classes");
        assert_eq!(
            found.iter().map(|wanted| (&*wanted.class, wanted.copies)).collect::<Vec<_>>(),
            [("ssd", 2), ("durable", 1)]
        );
        assert!(classes(&[]).expect("no class").is_empty());
        assert!(classes(&words(&["ssd"])).is_err() && classes(&words(&["ssd=x"])).is_err());
    }

    #[test]
    fn a_rule_is_shown_with_its_groups_and_buckets() {
        let group =
            |id: u32, rule| PlacementGroup { rule, ..PlacementGroup::settled(PgId(id), PgEpoch(1), Vec::new()) };
        let rule = PlacementRule::default();
        let entry = |id, name: &str| RuleEntry { id: RuleId(id), name: name.to_owned(), rule: rule.clone() };
        let map = PlacementMap {
            groups: vec![group(0, RuleId(0)), group(1, RuleId(2)), group(2, RuleId(2))],
            rules: vec![entry(0, "default"), entry(2, "fast")],
            ..PlacementMap::default()
        };
        let bucket = BucketInfo {
            id: BucketId(1),
            name: "books".to_owned(),
            group: GroupId(1),
            owner: "kim".to_owned(),
            created: Timestamp(0),
            rule: RuleId(2),
        };
        let shown = shown(&map, &[bucket]);
        assert_eq!((shown[0].groups, shown[0].buckets.len()), (1, 0));
        assert_eq!((shown[1].groups, shown[1].buckets.as_slice()), (2, &["books".to_owned()][..]));
        // Groups without members stand in no rack at all.
        assert_eq!(shown[1].unmet, 2);
    }
}
