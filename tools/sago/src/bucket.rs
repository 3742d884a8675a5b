//! `sago bucket`.

use crate::cli::{BreakerCommand, BucketCommand, BucketRuleCommand, DrmArg};
use crate::connect::{Session, connect};
use crate::copies;
use crate::exit::{Done, Failure, Kind};
use crate::operate::{operate, steer};
use crate::output::{Output, bytes, table, time};
use crate::rule::id_of;
use crate::trash::{bucket_named, status};
use crate::user::{unexpected, users};
use crate::when::Length;
use cluster_client::Cluster;
use futures::{StreamExt as _, stream};
use gateway_core::{BucketError, Caller, Protection};
use proto::control::{BucketInfo, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery};
use proto::meta::Command;
use proto::trash::{BucketStatus, DeleteLimit};
use serde::Serialize;
use serde_json::json;
use types::{BucketId, PlacementMap, RuleEntry, RuleId, Timestamp};

#[derive(Serialize)]
struct Shown {
    name: String,
    owner: String,
    id: u64,
    group: u32,
    created: String,
    /// The rule of placement of what is written into it.
    rule: String,
    /// How what is in it is protected: `none`, `lcp`, or `unknown` if its group does not say.
    drm: &'static str,
}

/// What a bucket whose group does not say is shown as.
const UNKNOWN: &str = "unknown";
/// Buckets that are asked about at the same time.
const ASKED_MAX: usize = 16;

impl Shown {
    fn new(map: &PlacementMap, bucket: BucketInfo, drm: &'static str) -> Self {
        Shown {
            drm,
            rule: map.rule_entry(bucket.rule).map_or(RuleEntry::DEFAULT_NAME, |entry| &entry.name).to_owned(),
            name: bucket.name,
            owner: bucket.owner,
            id: bucket.id.0,
            group: bucket.group.0,
            created: time(bucket.created),
        }
    }
}

/// Carries out `sago bucket`.
///
/// # Errors
/// [`Failure`].
pub async fn bucket(command: BucketCommand, output: Output) -> Done {
    match command {
        BucketCommand::Create { name, owner, rule, drm, client } => {
            let session = connect(&client, "tool").await?;
            let result = create_for(&session, &name, owner, rule, drm).await;
            session.close().await;
            output.show(&result?, |_| String::new())
        }
        BucketCommand::List { deleted: true, client } => {
            let session = connect(&client, "tool").await?;
            let buckets = deleted(&*session.cluster).await;
            session.close().await;
            let shown: Vec<_> = buckets?.into_iter().map(Deleted::from).collect();
            output.show(&shown, |shown| deleted_rows(shown))
        }
        BucketCommand::List { deleted: false, client } => {
            let session = connect(&client, "tool").await?;
            let shown = list_shown(&session).await;
            session.close().await;
            output.show(&shown?, |shown| rows(shown))
        }
        BucketCommand::Delete { name, client } => {
            let session = connect(&client, "tool").await?;
            let result = delete(&session, &name).await;
            session.close().await;
            result.map_err(|failure| failure.while_doing(&name))?;
            output.show(&json!({ "deleted": name }), |_| String::new())
        }
        BucketCommand::Undelete { name, new_name, id, client } => {
            let session = connect(&client, "tool").await?;
            let result = undelete(&session, &name, new_name, id.map(BucketId)).await;
            let map = copies::map(&session).await;
            let drm = match &result {
                Ok(bucket) => drm_of(&session, bucket).await,
                Err(_) => UNKNOWN,
            };
            session.close().await;
            let bucket = result.map_err(|failure| failure.while_doing(&name))?;
            output.show(&Shown::new(&map?, bucket, drm), |shown| shown.name.clone())
        }
        BucketCommand::Stat { name, client } => {
            let session = connect(&client, "tool").await?;
            let result = stat(&session, &name).await;
            session.close().await;
            output.show(&result?, Stat::text)
        }
        BucketCommand::Drm { name, drm: DrmArg(protection), client } => {
            let session = connect(&client, "tool").await?;
            let result = session.store.protect_bucket(&name, protection).await;
            session.close().await;
            result.map_err(|error| Failure::from(error).while_doing(&name))?;
            let shown = json!({ "bucket": name, "drm": protection.name() });
            output.show(&shown, |_| format!("{name}: what is put into it from now on is encrypted"))
        }
        BucketCommand::Rule(BucketRuleCommand::Set { name, rule, client }) => {
            let session = connect(&client, "tool").await?;
            let result = set_rule(&session, &name, &rule).await;
            session.close().await;
            let shown = result.map_err(|failure| failure.while_doing(&name))?;
            output.show(&shown, |shown| format!("{}: what is written from now on follows {}", shown.name, shown.rule))
        }
        BucketCommand::Breaker(BreakerCommand::Lift { name, client }) => {
            let session = connect(&client, "tool").await?;
            let result = lift(&session, &name).await;
            session.close().await;
            result.map_err(|failure| failure.while_doing(&name))?;
            output.show(&json!({ "lifted": name }), |_| String::new())
        }
        BucketCommand::Breaker(BreakerCommand::Set { name, limit, client }) => {
            let session = connect(&client, "tool").await?;
            let result = set_limit(&session, &name, limit.0).await;
            session.close().await;
            result.map_err(|failure| failure.while_doing(&name))?;
            output.show(&json!({ "bucket": name, "limit": limit_text(limit.0) }), |_| String::new())
        }
    }
}

/// Buckets of all owners, by name.
///
/// # Errors
/// [`Failure`].
pub async fn list(cluster: &dyn Cluster) -> Done<Vec<BucketInfo>> {
    match cluster.control_query(ControlQuery::Buckets).await? {
        ControlAnswer::Buckets(buckets) => Ok(buckets),
        other => Err(unexpected(&other)),
    }
}

/// As [`list`], with what an operator wants to know of each.
async fn list_shown(session: &Session) -> Done<Vec<Shown>> {
    let buckets = list(&*session.cluster).await?;
    let map = &copies::map(session).await?;
    let shown = stream::iter(buckets).map(|bucket| async move {
        let drm = drm_of(session, &bucket).await;
        Shown::new(map, bucket, drm)
    });
    Ok(shown.buffered(ASKED_MAX).collect().await)
}

/// How a bucket is protected; that its group does not answer is no reason not to show the others.
async fn drm_of(session: &Session, bucket: &BucketInfo) -> &'static str {
    match session.store.bucket_settings(bucket).await {
        Ok(settings) => settings.protection.map_or("none", Protection::name),
        Err(_) => UNKNOWN,
    }
}

/// The owner of a bucket, in whose name an operator acts.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such bucket.
pub async fn owner(cluster: &dyn Cluster, name: &str) -> Done<Caller> {
    match cluster.control_query(ControlQuery::Bucket { name: name.to_owned() }).await? {
        ControlAnswer::Bucket(Some(bucket)) => Ok(Caller { user: bucket.owner }),
        ControlAnswer::Bucket(None) => Err(Failure::new(Kind::NotFound, format!("no such bucket: {name}"))),
        other => Err(unexpected(&other)),
    }
}

/// Makes a bucket; one of the same owner is as good.
///
/// # Errors
/// [`Failure`].
pub async fn ensure(session: &Session, name: &str, owner: &str) -> Done {
    let caller = Caller { user: owner.to_owned() };
    match session.store.create_bucket(&caller, name).await {
        Ok(_) | Err(BucketError::ExistsYours) => Ok(()),
        Err(error) => Err(Failure::from(error).while_doing(name)),
    }
}

async fn create_for(
    session: &Session,
    name: &str,
    owner: Option<String>,
    rule: Option<String>,
    drm: Option<DrmArg>,
) -> Done<Shown> {
    let user = match owner {
        Some(user) => user,
        None => only(users(&*session.cluster).await?)?,
    };
    let map = copies::map(session).await?;
    let rule = rule.map(|rule| id_of(&map, &rule)).transpose()?.unwrap_or(RuleId::DEFAULT);
    let bucket = if rule == RuleId::DEFAULT {
        let made = session.store.create_bucket(&Caller { user }, name).await;
        (*made.map_err(|error| Failure::from(error).while_doing(name))?).clone()
    } else {
        create_by(session, name, user, rule).await.map_err(|failure| failure.while_doing(name))?
    };
    if let Some(DrmArg(protection)) = drm
        && let Err(error) = session.store.protect_bucket(name, protection).await
    {
        // Nobody shall think that it is protected because its making was asked for so.
        let owner = Caller { user: bucket.owner };
        let left = session.store.delete_bucket(&owner, name).await.is_err();
        let failure = Failure::from(error).while_doing(name);
        let left = if left { "; the bucket was made and is not protected" } else { "" };
        return Err(Failure::new(failure.kind, format!("{}{left}", failure.message)));
    }
    let drm = drm_of(session, &bucket).await;
    Ok(Shown::new(&map, bucket, drm))
}

/// Makes a bucket with a rule, as an operator.
async fn create_by(session: &Session, name: &str, owner: String, rule: RuleId) -> Done<BucketInfo> {
    let create = ControlCommand::CreateBucket { name: name.to_owned(), owner, nonce: rand::random(), rule };
    let bucket = match steer(&*session.cluster, create).await? {
        ControlOutcome::Bucket(bucket) => bucket,
        other => return Err(unexpected(&other)),
    };
    operate(&*session.cluster, bucket.group, Command::EnsureBucket { bucket: bucket.id }).await?;
    Ok(bucket)
}

async fn set_rule(session: &Session, name: &str, rule: &str) -> Done<Shown> {
    let map = copies::map(session).await?;
    let rule = id_of(&map, rule)?;
    let bucket = bucket_named(&*session.cluster, name).await?;
    match steer(&*session.cluster, ControlCommand::SetBucketRule { bucket: bucket.id, rule }).await? {
        ControlOutcome::Bucket(bucket) => {
            let drm = drm_of(session, &bucket).await;
            Ok(Shown::new(&map, bucket, drm))
        }
        other => Err(unexpected(&other)),
    }
}

fn only(users: Vec<String>) -> Done<String> {
    match <[String; 1]>::try_from(users) {
        Ok([user]) => Ok(user),
        Err(users) if users.is_empty() => Err(Failure::new(Kind::Usage, "make a user first: sago user create NAME")),
        Err(_) => Err(Failure::new(Kind::Usage, "there are several users; say which: --owner USER")),
    }
}

async fn delete(session: &Session, name: &str) -> Done {
    let caller = owner(&*session.cluster, name).await?;
    Ok(session.store.delete_bucket(&caller, name).await?)
}

#[derive(Serialize)]
struct Deleted {
    name: String,
    owner: String,
    id: u64,
    deleted: String,
}

impl From<(BucketInfo, Timestamp)> for Deleted {
    fn from((bucket, deleted): (BucketInfo, Timestamp)) -> Self {
        Deleted { name: bucket.name, owner: bucket.owner, id: bucket.id.0, deleted: time(deleted) }
    }
}

async fn deleted(cluster: &dyn Cluster) -> Done<Vec<(BucketInfo, Timestamp)>> {
    match cluster.control_query(ControlQuery::DeletedBuckets).await? {
        ControlAnswer::DeletedBuckets(deleted) => Ok(deleted),
        other => Err(unexpected(&other)),
    }
}

fn deleted_rows(shown: &[Deleted]) -> String {
    let row = |bucket: &Deleted| {
        vec![bucket.deleted.clone(), bucket.id.to_string(), bucket.owner.clone(), bucket.name.clone()]
    };
    table(&shown.iter().map(row).collect::<Vec<_>>())
}

/// Brings a bucket back: the control group remembers it, then its group unseals it. A crash in between leaves a sealed bucket, which
/// the same command unseals.
async fn undelete(session: &Session, name: &str, new_name: Option<String>, id: Option<BucketId>) -> Done<BucketInfo> {
    let cluster = &*session.cluster;
    let found = deleted(cluster).await?.into_iter().filter(|(bucket, _)| bucket.name == name);
    let found = found.filter(|(bucket, _)| id.is_none_or(|id| bucket.id == id));
    let new_name = new_name.unwrap_or_else(|| name.to_owned());
    let bucket = match found.max_by_key(|(_, deleted)| *deleted) {
        Some((bucket, _)) => remember(cluster, bucket.id, new_name).await?,
        None => bucket_named(cluster, &new_name).await?,
    };
    if id.is_some_and(|id| bucket.id != id) {
        return Err(Failure::new(Kind::NotFound, "no deleted bucket of that name and id"));
    }
    operate(cluster, bucket.group, Command::UnsealBucket { bucket: bucket.id }).await?;
    Ok(bucket)
}

async fn remember(cluster: &dyn Cluster, bucket: BucketId, name: String) -> Done<BucketInfo> {
    match steer(cluster, ControlCommand::UndeleteBucket { bucket, name }).await? {
        ControlOutcome::Bucket(bucket) => Ok(bucket),
        other => Err(unexpected(&other)),
    }
}

#[derive(Serialize)]
struct Stat {
    name: String,
    /// How what is in it is protected: `none`, `lcp`, or `unknown` if its settings cannot be read.
    drm: &'static str,
    files: u64,
    bytes: u64,
    trash_files: u64,
    trash_bytes: u64,
    trash_window_secs: u64,
    delete_limit: String,
    deletes: u32,
    deletes_max: Option<u32>,
    /// The breaker is open until then.
    breaker_open_until: Option<String>,
}

impl Stat {
    fn new(name: String, drm: &'static str, status: &BucketStatus) -> Self {
        Stat {
            name,
            drm,
            files: status.usage.files,
            bytes: status.usage.bytes,
            trash_files: status.usage.trash_files,
            trash_bytes: status.usage.trash_bytes,
            trash_window_secs: status.options.trash_window_secs,
            delete_limit: limit_text(status.options.delete_limit),
            deletes: status.deletes,
            deletes_max: status.deletes_max,
            breaker_open_until: status.open_until.map(time),
        }
    }

    fn text(&self) -> String {
        let window = Length(self.trash_window_secs);
        let breaker = match (&self.breaker_open_until, self.deletes_max) {
            (Some(until), _) => {
                format!("OPEN until {until}: deletions are refused (sago bucket breaker lift {})", self.name)
            }
            (None, Some(max)) => format!("closed, {} of {max} deletions within ten minutes", self.deletes),
            (None, None) => "off".to_owned(),
        };
        let row = |what: &str, value: String| vec![what.to_owned(), value];
        table(&[
            row("files", format!("{}, {}", self.files, bytes(self.bytes))),
            row("trash", format!("{}, {}, kept for {window}", self.trash_files, bytes(self.trash_bytes))),
            row("breaker", breaker),
            row("drm", self.drm.to_owned()),
        ])
    }
}

fn limit_text(limit: DeleteLimit) -> String {
    match limit {
        DeleteLimit::Auto => "auto".to_owned(),
        DeleteLimit::Max(max) => max.to_string(),
        DeleteLimit::Off => "off".to_owned(),
    }
}

async fn stat(session: &Session, name: &str) -> Done<Stat> {
    let bucket = bucket_named(&*session.cluster, name).await?;
    let status = status(&*session.cluster, &bucket).await?;
    let drm = drm_of(session, &bucket).await;
    Ok(Stat::new(bucket.name, drm, &status))
}

async fn lift(session: &Session, name: &str) -> Done {
    let bucket = bucket_named(&*session.cluster, name).await?;
    operate(&*session.cluster, bucket.group, Command::LiftBreaker { bucket: bucket.id }).await.map(drop)
}

async fn set_limit(session: &Session, name: &str, limit: DeleteLimit) -> Done {
    let bucket = bucket_named(&*session.cluster, name).await?;
    let mut options = status(&*session.cluster, &bucket).await?.options;
    options.delete_limit = limit;
    let set = Command::SetBucketOptions { bucket: bucket.id, options };
    operate(&*session.cluster, bucket.group, set).await.map(drop)
}

fn rows(shown: &[Shown]) -> String {
    let row = |bucket: &Shown| {
        let Shown { created, owner, rule, drm, name, .. } = bucket;
        let drm = if *drm == "none" { "-" } else { drm };
        vec![created.clone(), owner.clone(), rule.clone(), drm.to_owned(), name.clone()]
    };
    table(&shown.iter().map(row).collect::<Vec<_>>())
}
