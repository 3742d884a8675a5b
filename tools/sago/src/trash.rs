//! `sago trash`: what is in the trash of a bucket, back from it, and out of it for good.

mod restore;

use crate::cli::{PurgeArgs, TrashCommand, TrashFilterArgs, TrashListArgs, WindowArgs, reason_word};
use crate::connect::{Session, connect};
use crate::exit::{Done, Failure, Kind};
use crate::operate::operate;
use crate::output::{Output, bytes, table, time};
use crate::user::unexpected;
use crate::when::Length;
use cluster_client::Cluster;
use proto::control::{BucketInfo, ControlAnswer, ControlQuery};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::trash::{BucketStatus, Purged, TrashEntry, TrashFilter, TrashId};
use serde::Serialize;
use serde_json::json;
use types::SessionId;

/// Entries asked for at a time.
const PAGE: u32 = 1000;
/// Entries in one command.
const BATCH: usize = 256;

/// Carries out `sago trash`.
///
/// # Errors
/// [`Failure`].
pub async fn trash(command: TrashCommand, output: Output) -> Done {
    let client = match &command {
        TrashCommand::List(args) => &args.client,
        TrashCommand::Restore(args) => &args.client,
        TrashCommand::Purge(args) => &args.client,
        TrashCommand::Window(args) => &args.client,
    };
    let session = connect(client, "tool").await?;
    let result = match &command {
        TrashCommand::List(args) => list(&session, args, output).await,
        TrashCommand::Restore(args) => restore::restore(&session, args, output).await,
        TrashCommand::Purge(args) => purge(&session, args, output).await,
        TrashCommand::Window(args) => window(&session, args, output).await,
    };
    session.close().await;
    result
}

#[derive(Serialize)]
struct Shown {
    removed: String,
    path: String,
    size: u64,
    modified: String,
    reason: &'static str,
    session: u64,
    scratch: bool,
    kept_until: String,
    inode: u64,
}

impl From<&TrashEntry> for Shown {
    fn from(entry: &TrashEntry) -> Self {
        Shown {
            removed: time(entry.id.time),
            path: shown_path(entry),
            size: entry.size,
            modified: time(entry.mtime),
            reason: reason_word(entry.reason),
            session: entry.session.0,
            scratch: entry.scratch,
            kept_until: time(entry.due),
            inode: entry.id.ino.0,
        }
    }
}

fn shown_path(entry: &TrashEntry) -> String {
    String::from_utf8_lossy(&entry.path).into_owned()
}

/// A bucket by its name.
///
/// # Errors
/// [`Kind::NotFound`] if there is none.
pub async fn bucket_named(cluster: &dyn Cluster, name: &str) -> Done<BucketInfo> {
    match cluster.control_query(ControlQuery::Bucket { name: name.to_owned() }).await? {
        ControlAnswer::Bucket(Some(bucket)) => Ok(bucket),
        ControlAnswer::Bucket(None) => Err(Failure::new(Kind::NotFound, format!("no such bucket: {name}"))),
        other => Err(unexpected(&other)),
    }
}

/// How a bucket is.
///
/// # Errors
/// [`Failure`].
pub async fn status(cluster: &dyn Cluster, bucket: &BucketInfo) -> Done<BucketStatus> {
    match cluster.query(bucket.group, Query::BucketStatus { bucket: bucket.id }).await? {
        Ok(Answer::BucketStatus(status)) => Ok(status),
        Ok(other) => Err(unexpected(&other)),
        // Its group has not heard of it: nothing was ever put into it.
        Err(Refusal::NoSuchBucket) => {
            Err(Failure::new(Kind::NotFound, format!("{} has never held a file", bucket.name)))
        }
        Err(refusal) => Err(Failure::failed(refusal)),
    }
}

/// Entries of a bucket, page by page.
struct Pages<'a> {
    cluster: &'a dyn Cluster,
    bucket: &'a BucketInfo,
    filter: TrashFilter,
    scratch: bool,
    after: Option<TrashId>,
    over: bool,
}

impl<'a> Pages<'a> {
    fn new(cluster: &'a dyn Cluster, bucket: &'a BucketInfo, args: &TrashFilterArgs) -> Self {
        let filter = TrashFilter {
            prefix: args.prefix.clone().into(),
            since: args.since.map(|since| since.0),
            until: args.until.map(|until| until.0),
            session: args.session.map(SessionId),
            reason: args.reason.map(Into::into),
            due: None,
        };
        Pages { cluster, bucket, filter, scratch: args.scratch, after: None, over: false }
    }

    /// The next page, which may be empty; `None` after the last.
    async fn next(&mut self) -> Done<Option<Vec<TrashEntry>>> {
        if self.over {
            return Ok(None);
        }
        let query =
            Query::ListTrash { bucket: self.bucket.id, filter: self.filter.clone(), after: self.after, max: PAGE };
        let page = match self.cluster.query(self.bucket.group, query).await? {
            Ok(Answer::Trash(page)) => page,
            Ok(other) => return Err(unexpected(&other)),
            Err(Refusal::NoSuchBucket) => proto::trash::TrashPage::default(),
            Err(refusal) => return Err(Failure::failed(refusal)),
        };
        self.after = page.next;
        self.over = page.next.is_none();
        let scratch = self.scratch;
        Ok(Some(page.entries.into_iter().filter(|entry| scratch || !entry.scratch).collect()))
    }
}

async fn list(session: &Session, args: &TrashListArgs, output: Output) -> Done {
    let bucket = bucket_named(&*session.cluster, &args.filter.bucket).await?;
    let mut pages = Pages::new(&*session.cluster, &bucket, &args.filter);
    while let Some(entries) = pages.next().await? {
        let shown: Vec<Shown> = entries.iter().map(Shown::from).collect();
        output.show(&shown, |shown| rows(shown))?;
    }
    Ok(())
}

fn rows(shown: &[Shown]) -> String {
    let row = |entry: &Shown| {
        let session = format!("session-{}", entry.session);
        vec![entry.removed.clone(), bytes(entry.size), entry.reason.to_owned(), session, entry.path.clone()]
    };
    table(&shown.iter().map(row).collect::<Vec<_>>())
}

async fn purge(session: &Session, args: &PurgeArgs, output: Output) -> Done {
    let bucket = bucket_named(&*session.cluster, &args.filter.bucket).await?;
    let mut pages = Pages::new(&*session.cluster, &bucket, &args.filter);
    let (mut files, mut size) = (0_u64, 0_u64);
    while let Some(entries) = pages.next().await? {
        if args.dry_run {
            files += entries.len() as u64;
            size += entries.iter().map(|entry| entry.size).sum::<u64>();
            continue;
        }
        for batch in entries.chunks(BATCH) {
            let purged = purge_batch(session, &bucket, batch).await?;
            files += u64::from(purged.files);
            size += purged.bytes;
        }
    }
    let result = json!({ "purged": files, "bytes": size, "dry_run": args.dry_run });
    let verb = if args.dry_run { "would be purged" } else { "purged" };
    output.show(&result, |_| format!("{files} files, {} {verb}", bytes(size)))
}

async fn purge_batch(session: &Session, bucket: &BucketInfo, batch: &[TrashEntry]) -> Done<Purged> {
    let mut ids: Vec<TrashId> = batch.iter().map(|entry| entry.id).collect();
    let mut all = Purged::default();
    while !ids.is_empty() {
        let command = Command::PurgeTrash { bucket: bucket.id, entries: ids.clone() };
        let Outcome::Purged(purged) = operate(&*session.cluster, bucket.group, command).await? else {
            return Err(Failure::new(Kind::Failed, "an unexpected answer to a purge"));
        };
        all.files += purged.files;
        all.bytes += purged.bytes;
        let done = ids.len() - (purged.left as usize).min(ids.len());
        if done == 0 {
            return Err(Failure::new(Kind::Failed, "not one file could be purged"));
        }
        ids.drain(..done);
    }
    Ok(all)
}

async fn window(session: &Session, args: &WindowArgs, output: Output) -> Done {
    let bucket = bucket_named(&*session.cluster, &args.bucket).await?;
    if let Some(window) = args.window {
        // The group may not have heard of a new bucket yet.
        let ensure = Command::EnsureBucket { bucket: bucket.id };
        session.cluster.command(bucket.group, ensure).await?.map_err(Failure::failed)?;
        let mut options = status(&*session.cluster, &bucket).await?.options;
        options.trash_window_secs = window.0;
        let set = Command::SetBucketOptions { bucket: bucket.id, options };
        operate(&*session.cluster, bucket.group, set).await.map_err(|failure| failure.while_doing(&bucket.name))?;
    }
    let seconds = match status(&*session.cluster, &bucket).await {
        Ok(status) => status.options.trash_window_secs,
        Err(failure) if failure.kind == Kind::NotFound => proto::trash::TRASH_WINDOW_SECS,
        Err(failure) => return Err(failure),
    };
    output.show(&json!({ "bucket": bucket.name, "seconds": seconds }), |_| Length(seconds).to_string())
}
