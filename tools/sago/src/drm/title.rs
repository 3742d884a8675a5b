//! `sago drm title`.

use super::desk::Desk;
use crate::cli::{ProtectArgs, TitleCommand};
use crate::exit::Done;
use crate::object::ObjectPath;
use crate::output::{Output, bytes, table, time};
use crate::trash::bucket_named;
use gateway_core::lcp::{Package, Place, ProtectCounts, ProtectMode, Standing, Title, TitleFilter};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::io::IsTerminal;
use std::time::Duration;

/// How often it is looked whether titles wait.
const LOOK: Duration = Duration::from_millis(500);
/// Titles asked for at a time.
const PAGE: u32 = 1000;

#[derive(Serialize)]
struct Shown {
    title: String,
    name: Option<String>,
    source: Option<String>,
    alt_id: Option<String>,
    standing: &'static str,
    detail: Option<String>,
    bytes: Option<u64>,
    media_type: Option<String>,
    updated: String,
    packages: Vec<ShownPackage>,
}

#[derive(Serialize)]
struct ShownPackage {
    version: u32,
    bytes: u64,
    sha256: String,
    media_type: String,
    made: String,
    replaced: Option<String>,
    place: String,
}

impl From<&Title> for Shown {
    fn from(title: &Title) -> Self {
        let detail = match &title.standing {
            Standing::Failed { reason, .. } => Some(reason.clone()),
            Standing::Protecting { done, .. } => Some(format!("{} read", bytes(*done))),
            Standing::Queued { .. } | Standing::Ready | Standing::Gone { .. } => None,
        };
        Shown {
            title: title.id.to_string(),
            name: title.name.clone(),
            source: title.source.as_ref().map(|source| format!("{}/{}", source.bucket_name, source.key)),
            alt_id: title.alt_id.clone(),
            standing: title.standing.name(),
            detail,
            bytes: title.package().map(|package| package.len),
            media_type: title.package().map(|package| package.media_type.clone()),
            updated: time(title.updated),
            packages: title.packages.iter().map(ShownPackage::from).collect(),
        }
    }
}

impl From<&Package> for ShownPackage {
    fn from(package: &Package) -> Self {
        ShownPackage {
            version: package.version,
            bytes: package.len,
            sha256: hex::encode(package.sha256),
            media_type: package.media_type.clone(),
            made: time(package.made),
            replaced: package.replaced.map(time),
            place: match &package.place {
                Place::Here { key, .. } => key.clone(),
                Place::There { href } => href.clone(),
            },
        }
    }
}

/// Carries out `sago drm title`.
///
/// # Errors
/// [`crate::exit::Failure`].
pub async fn run(command: TitleCommand, output: Output) -> Done {
    let client = match &command {
        TitleCommand::List { client, .. } | TitleCommand::Show { client, .. } | TitleCommand::Remove { client, .. } => {
            client
        }
        TitleCommand::Protect(args) => &args.client,
    };
    let desk = Desk::open(client).await?;
    let result = match &command {
        TitleCommand::List { bucket, standing, .. } => {
            list(&desk, bucket.as_deref(), standing.map(crate::cli::StandingWord::number), output).await
        }
        TitleCommand::Show { title, .. } => {
            let shown = Shown::from(&desk.title(title).await?.value);
            output.show(&shown, shown_whole)
        }
        TitleCommand::Protect(args) => protect(&desk, args, output).await,
        TitleCommand::Remove { title, force, .. } => {
            let id = desk.title(title).await?.value.id;
            desk.lending.remove_title(&id, *force).await?;
            output.show(&json!({ "removed": id.to_string() }), |_| String::new())
        }
    };
    desk.session.close().await;
    result
}

async fn list(desk: &Desk, bucket: Option<&str>, standing: Option<u8>, output: Output) -> Done {
    let filter = match (bucket, standing) {
        (Some(name), _) => TitleFilter::Bucket(bucket_named(&*desk.session.cluster, name).await?.id),
        (None, Some(number)) => TitleFilter::Standing(number),
        (None, None) => TitleFilter::All,
    };
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = desk.lending.titles(&filter, after, PAGE).await?;
        all.extend(page.found.iter().map(|held| Shown::from(&held.value)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    output.show(&all, |titles| {
        let row = |shown: &Shown| {
            let size = shown.bytes.map(bytes).unwrap_or_default();
            let name = shown.name.clone().unwrap_or_default();
            let source = shown.source.clone().unwrap_or_else(|| "(elsewhere)".to_owned());
            vec![shown.title.clone(), shown.standing.to_owned(), size, source, shown.detail.clone().unwrap_or(name)]
        };
        table(&titles.iter().map(row).collect::<Vec<_>>())
    })
}

fn shown_whole(shown: &Shown) -> String {
    let line = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
    let mut rows = vec![line("title", &shown.title), line("standing", shown.standing)];
    let more = [
        ("name", &shown.name),
        ("source", &shown.source),
        ("id of the store", &shown.alt_id),
        ("detail", &shown.detail),
    ];
    rows.extend(more.iter().filter_map(|(name, value)| Some(line(name, value.as_ref()?))));
    rows.push(line("updated", &shown.updated));
    for package in &shown.packages {
        let state = package.replaced.as_ref().map_or("newest".to_owned(), |at| format!("replaced {at}"));
        let text = format!("{} of {}, made {}, {state}", bytes(package.bytes), package.media_type, package.made);
        rows.push(line(&format!("package {}", package.version), &text));
        rows.push(line("", &format!("sha256 {}", package.sha256)));
    }
    table(&rows)
}

async fn protect(desk: &Desk, args: &ProtectArgs, output: Output) -> Done {
    let path = ObjectPath::parse(&args.path)?;
    let mode = match (args.dry_run, args.again) {
        (true, _) => ProtectMode::DryRun,
        (false, true) => ProtectMode::Again,
        (false, false) => ProtectMode::Queue,
    };
    let bar = counter(output);
    let mut progress = |counts: &ProtectCounts| bar.set_message(format!("{} objects seen", counts.seen));
    let counts = desk.lending.protect(&path.bucket, &path.key, mode, &mut progress).await?;
    if args.wait {
        wait(desk, &bar).await?;
    }
    bar.finish_and_clear();
    let failed = if args.wait { Some(desk.lending.title_counts().await?.failed) } else { None };
    let shown = json!({
        "dry_run": args.dry_run, "seen": counts.seen, "new": counts.new, "again": counts.again,
        "under_way": counts.under_way, "current": counts.current, "failed": failed.unwrap_or(counts.failed),
    });
    output.show(&shown, |_| {
        let verb = if args.dry_run { "would be queued" } else { "queued" };
        let failed = failed.unwrap_or(counts.failed);
        let hint = if failed > 0 { ": `sago drm title list --standing failed` says why" } else { "" };
        format!(
            "{} objects: {} {verb} ({} of them new), {} under way, {} protected, {failed} cannot be{hint}",
            counts.seen,
            counts.new + counts.again,
            counts.new,
            counts.under_way,
            counts.current
        )
    })
}

/// Until nothing is queued or being protected.
async fn wait(desk: &Desk, bar: &ProgressBar) -> Done {
    loop {
        let counts = desk.lending.title_counts().await?;
        if counts.queued + counts.protecting == 0 {
            return Ok(());
        }
        bar.set_message(format!(
            "{} queued, {} being protected, {} ready, {} failed",
            counts.queued, counts.protecting, counts.ready, counts.failed
        ));
        tokio::time::sleep(LOOK).await;
    }
}

/// On a terminal, and for people.
fn counter(output: Output) -> ProgressBar {
    if output.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar.with_style(style)
}
