//! `sago trash restore`.

use super::{BATCH, Pages, Shown, bucket_named, rows, shown_path};
use crate::cli::RestoreArgs;
use crate::connect::Session;
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Command, Outcome, Refusal};
use proto::trash::{NameTaken, Restored, TrashEntry};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Paths one command restores: they are held in memory to find the version that is meant.
const PATHS_MAX: usize = 2_000_000;
/// Failures that are named; the others are counted.
const NAMED_MAX: usize = 100;
/// How often a long restore says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// What became of it all.
#[derive(Default, Serialize)]
struct Summary {
    /// Under their own names.
    restored: u64,
    /// Beside what had taken their names.
    beside: u64,
    /// Had been restored before.
    already: u64,
    failed: u64,
    /// The first of them.
    failures: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    path: String,
    error: String,
}

impl Summary {
    fn count(&mut self, entry: &TrashEntry, result: &Result<Restored, Refusal>) {
        match result {
            Ok(Restored::Named) => self.restored += 1,
            Ok(Restored::Beside(_)) => self.beside += 1,
            Ok(Restored::Already) => self.already += 1,
            Err(refusal) => {
                self.failed += 1;
                if self.failures.len() < NAMED_MAX {
                    let error = match refusal {
                        Refusal::Exists => "the name is taken: --replace, --keep-both or --to PREFIX".to_owned(),
                        Refusal::NotFound => "no longer in the trash".to_owned(),
                        other => other.to_string(),
                    };
                    self.failures.push(Failed { path: shown_path(entry), error });
                }
            }
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} restored", self.restored + self.beside);
        if self.beside > 0 {
            text.push_str(&format!(" ({} beside another of their name)", self.beside));
        }
        if self.already > 0 {
            text.push_str(&format!(", {} were back already", self.already));
        }
        if self.failed > 0 {
            text.push_str(&format!(", {} failed:", self.failed));
            self.failures.iter().for_each(|failed| text.push_str(&format!("\n  {}: {}", failed.path, failed.error)));
        }
        text
    }
}

pub(super) async fn restore(session: &Session, args: &RestoreArgs, output: Output) -> Done {
    let bucket = bucket_named(&*session.cluster, &args.filter.bucket).await?;
    let chosen = choose(session, &bucket, args).await?;
    if args.dry_run {
        let shown: Vec<Shown> = chosen.iter().map(Shown::from).collect();
        return output.show(&shown, |shown| format!("{}{} would be restored", rows(shown), shown.len()));
    }
    let taken = match (args.replace, args.keep_both) {
        (true, _) => NameTaken::Replace,
        (_, true) => NameTaken::KeepBoth,
        _ => NameTaken::Refuse,
    };
    let to = match args.to.as_str() {
        "" => Bytes::new(),
        to if to.ends_with('/') => Bytes::from(to.to_owned()),
        to => Bytes::from(format!("{to}/")),
    };
    let mut summary = Summary::default();
    let mut told = Instant::now();
    let mut left = chosen.as_slice();
    while !left.is_empty() {
        let batch = &left[..left.len().min(BATCH)];
        let done = restore_batch(session, &bucket, batch, &to, taken, &mut summary).await?;
        left = &left[done..];
        if !output.json && told.elapsed() >= PROGRESS {
            told = Instant::now();
            eprintln!("{} of {}", chosen.len() - left.len(), chosen.len());
        }
    }
    output.show(&summary, Summary::text)?;
    if summary.failed > 0 {
        let message = format!("{} of {} files were not restored", summary.failed, chosen.len());
        return Err(Failure::new(Kind::Failed, message));
    }
    Ok(())
}

/// The entries that are meant, one a path, in the order they were removed in.
async fn choose(session: &Session, bucket: &BucketInfo, args: &RestoreArgs) -> Done<Vec<TrashEntry>> {
    let mut by_path: BTreeMap<Bytes, TrashEntry> = BTreeMap::new();
    let mut pages = Pages::new(&*session.cluster, bucket, &args.filter);
    while let Some(entries) = pages.next().await? {
        for entry in entries {
            if args.oldest && by_path.contains_key(&entry.path) {
                continue;
            }
            by_path.insert(entry.path.clone(), entry);
        }
        if by_path.len() > PATHS_MAX {
            let message = format!("more than {PATHS_MAX} paths: restore them in parts, by --prefix or --until");
            return Err(Failure::new(Kind::Usage, message));
        }
    }
    let mut chosen: Vec<TrashEntry> = by_path.into_values().collect();
    chosen.sort_by_key(|entry| entry.id);
    Ok(chosen)
}

/// Restores some of the entries at the front. Returns how many were answered.
async fn restore_batch(
    session: &Session,
    bucket: &BucketInfo,
    batch: &[TrashEntry],
    to: &Bytes,
    taken: NameTaken,
    summary: &mut Summary,
) -> Done<usize> {
    let entries = batch.iter().map(|entry| entry.id).collect();
    let command = Command::RestoreTrash { bucket: bucket.id, entries, to: to.clone(), taken };
    let results = match session.cluster.command(bucket.group, command).await? {
        Ok(Outcome::Restored(results)) if results.len() == batch.len() => results,
        Ok(_) => return Err(Failure::new(Kind::Failed, "an unexpected answer to a restore")),
        Err(refusal) => return Err(Failure::failed(refusal)),
    };
    // The command was full: what it did not get to is asked for again.
    let answered = results.iter().take_while(|result| **result != Err(Refusal::TooLarge)).count();
    for (entry, result) in batch.iter().zip(&results[..answered]) {
        summary.count(entry, result);
    }
    if answered == 0 {
        summary.count(&batch[0], &results[0]);
    }
    Ok(answered.max(1))
}
