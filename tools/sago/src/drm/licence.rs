//! `sago drm licence`, `status`, `revoke`, `token`.

use super::desk::Desk;
use super::passphrase;
use crate::cli::{ClientArgs, IssueArgs, LicenceCommand, StateWord, TokenArgs};
use crate::exit::{Done, Failure};
use crate::output::{Output, table, time};
use drm::licence::{LicenceId, Reader, Rights};
use drm::status::{Language, State};
use gateway_core::lcp::{LicenceEntry, LicenceFilter, NewLicence};
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use types::Timestamp;

/// Licences asked for at a time.
const PAGE: u32 = 500;
const DAY_SECONDS: i64 = 86_400;

#[derive(Serialize)]
struct Shown {
    licence: LicenceId,
    title: String,
    user: String,
    state: &'static str,
    issued: String,
    updated: String,
    end: Option<String>,
    devices: usize,
}

impl Shown {
    fn of(licence: &LicenceEntry, now: Timestamp) -> Self {
        Shown {
            licence: licence.id,
            title: licence.title.to_string(),
            user: licence.user.clone(),
            state: licence.status.state_at(now).name(),
            issued: time(licence.issued),
            updated: time(licence.status.licence_updated),
            end: licence.status.end.map(time),
            devices: licence.status.devices().len(),
        }
    }

    fn row(&self) -> Vec<String> {
        let end = self.end.as_ref().map_or_else(String::new, |end| format!("until {end}"));
        let devices = format!("{} devices", self.devices);
        let id = self.licence.to_string();
        vec![id, self.state.to_owned(), self.issued.clone(), end, devices, self.user.clone(), self.title.clone()]
    }
}

/// Carries out `sago drm licence`.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: LicenceCommand, now: Timestamp, output: Output) -> Done {
    let client = match &command {
        LicenceCommand::Issue(args) => &args.client,
        LicenceCommand::List { client, .. } | LicenceCommand::Show { client, .. } => client,
    };
    let desk = Desk::open(client).await?;
    let result = match &command {
        LicenceCommand::Issue(args) => issue(&desk, args, now, output).await,
        LicenceCommand::List { title, user, state, devices, max, .. } => {
            let title = match title {
                Some(named) => Some(desk.title(named).await?.value.id),
                None => None,
            };
            let filter = LicenceFilter {
                title,
                user: user.clone(),
                state: state.map(state_of),
                devices: devices.map(|least| least..=u32::MAX),
                ..LicenceFilter::default()
            };
            list(&desk, &filter, *max, now, output).await
        }
        LicenceCommand::Show { licence, out, .. } => {
            let found = desk.lending.fresh(*licence, None).await?;
            match out {
                Some(path) => write(path, &found.document),
                None => output.show(&found.document_json()?, |_| found.document.clone()),
            }
        }
    };
    desk.session.close().await;
    result
}

fn state_of(word: StateWord) -> State {
    match word {
        StateWord::Ready => State::Ready,
        StateWord::Active => State::Active,
        StateWord::Returned => State::Returned,
        StateWord::Revoked => State::Revoked,
        StateWord::Expired => State::Expired,
        StateWord::Cancelled => State::Cancelled,
    }
}

async fn issue(desk: &Desk, args: &IssueArgs, now: Timestamp, output: Output) -> Done {
    let title = desk.title(&args.title).await?.value.id;
    let mut reader = Reader::new(&args.user);
    reader.name.clone_from(&args.name);
    reader.email.clone_from(&args.email);
    let loan = args.days.map(|days| Timestamp::from_secs(now.secs() + i64::from(days) * DAY_SECONDS, 0));
    let rights = Rights {
        print: args.print,
        copy: args.copy,
        start: args.start.map(|when| when.0),
        end: args.end.map(|when| when.0).or(loan),
        ..Rights::default()
    };
    let new = NewLicence {
        title,
        reader,
        hint: args.hint.clone(),
        passphrase: passphrase::of_file(&args.passphrase_file)?,
        rights,
        links: Vec::new(),
        provider: None,
        profile: None,
        nonce: Some(rand::random()),
    };
    let licence = desk.lending.issue(new).await?.licence;
    if let Some(path) = &args.out {
        write(path, &licence.document)?;
    }
    let shown = Shown::of(&licence, now);
    output.show(&shown, |shown| shown.licence.to_string())
}

async fn list(desk: &Desk, filter: &LicenceFilter, max: u32, now: Timestamp, output: Output) -> Done {
    let (mut all, mut after) = (Vec::new(), None);
    while all.len() < max as usize {
        let page = desk.lending.licences(filter, after, PAGE.min(max - all.len() as u32)).await?;
        all.extend(page.found.iter().map(|licence| Shown::of(licence, now)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    output.show(&all, |all| table(&all.iter().map(Shown::row).collect::<Vec<_>>()))
}

fn write(path: &Path, document: &str) -> Done {
    std::fs::write(path, document).map_err(|error| Failure::from(error).while_doing(path.display()))
}

/// Carries out `sago drm status`.
///
/// # Errors
/// [`Failure`].
pub async fn status(licence: LicenceId, client: &ClientArgs, output: Output) -> Done {
    let desk = Desk::open(client).await?;
    let found = desk.lending.licence(licence).await?.value;
    let document = desk.lending.status_document(&found, Language::English, true);
    desk.session.close().await;
    output.show(&document, |document| serde_json::to_string_pretty(document).unwrap_or_default())
}

/// Carries out `sago drm revoke`.
///
/// # Errors
/// [`Failure`].
pub async fn revoke(licence: LicenceId, client: &ClientArgs, now: Timestamp, output: Output) -> Done {
    let desk = Desk::open(client).await?;
    let stepped = desk.lending.revoke(licence).await?;
    desk.session.close().await;
    let shown = Shown::of(&stepped.licence, now);
    output.show(&shown, |shown| format!("{} is {}", shown.licence, shown.state))
}

/// Carries out `sago drm token`.
///
/// # Errors
/// [`Failure`].
pub async fn token(args: &TokenArgs, output: Output) -> Done {
    let desk = Desk::open(&args.client).await?;
    let licence = desk.lending.licence(args.licence).await?.value;
    let title = desk.lending.title(&licence.title).await?.value;
    let token = desk.lending.issue_token(args.licence, Duration::from_secs(args.ttl.0)).await?;
    desk.session.close().await;
    let base = &desk.lending.config().base;
    let url = title.source.as_ref().map(|source| source.download_url(base, licence.id, &token.text));
    let shown = json!({ "token": token.text, "expires": time(token.expires), "url": url });
    output.show(&shown, |_| url.clone().unwrap_or_else(|| token.text.clone()))
}
