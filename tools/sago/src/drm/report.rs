//! `sago drm report`: what was downloaded, by whom.

use super::desk::Desk;
use crate::cli::ReportArgs;
use crate::exit::Done;
use crate::output::{Output, bytes, table, time};
use gateway_core::lcp::{Authority, DownloadEntry, DownloadFilter};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write as _;

/// Entries asked for at a time.
const PAGE: u32 = 1000;
const COLUMNS: &str =
    "time,licence,title,version,user,authority,gateway,address,agent,first,last,length,sent,millis,result";

#[derive(Serialize)]
struct Shown {
    time: String,
    licence: String,
    title: String,
    version: u32,
    user: String,
    authority: String,
    gateway: String,
    address: Option<String>,
    agent: Option<String>,
    range: Option<(u64, u64)>,
    length: u64,
    sent: u64,
    millis: u32,
    result: &'static str,
}

impl From<DownloadEntry> for Shown {
    fn from(entry: DownloadEntry) -> Self {
        Shown {
            time: time(entry.at),
            licence: entry.licence.to_string(),
            title: entry.title.to_string(),
            version: entry.version,
            user: entry.user,
            authority: match entry.authority {
                Authority::Token(id) => format!("token {id}"),
                Authority::User(name) => format!("user {name}"),
            },
            gateway: entry.gateway,
            address: entry.address.map(|address| address.to_string()),
            agent: entry.agent,
            range: entry.range,
            length: entry.len,
            sent: entry.sent,
            millis: entry.millis,
            result: entry.ending.name(),
        }
    }
}

impl Shown {
    fn row(&self) -> Vec<String> {
        let sent = format!("{} of {}", bytes(self.sent), bytes(self.length));
        let address = self.address.clone().unwrap_or_default();
        vec![self.time.clone(), self.licence.clone(), self.user.clone(), sent, self.result.to_owned(), address]
    }

    fn csv(&self) -> String {
        let (first, last) = match self.range {
            Some((first, last)) => (first.to_string(), last.to_string()),
            None => Default::default(),
        };
        let fields = [
            self.time.clone(),
            self.licence.clone(),
            self.title.clone(),
            self.version.to_string(),
            self.user.clone(),
            self.authority.clone(),
            self.gateway.clone(),
            self.address.clone().unwrap_or_default(),
            self.agent.clone().unwrap_or_default(),
            first,
            last,
            self.length.to_string(),
            self.sent.to_string(),
            self.millis.to_string(),
            self.result.to_owned(),
        ];
        fields.map(|field| csv_field(&field)).join(",")
    }
}

/// Carries out `sago drm report`.
///
/// # Errors
/// [`crate::exit::Failure`].
pub async fn run(args: &ReportArgs, output: Output) -> Done {
    let desk = Desk::open(&args.client).await?;
    let title = match &args.title {
        Some(named) => Some(desk.title(named).await?.value.id),
        None => None,
    };
    let filter = DownloadFilter {
        licence: args.licence,
        title,
        user: args.user.clone(),
        from: args.since.map(|when| when.0),
        to: args.until.map(|when| when.0),
    };
    let result = match (args.summary, args.csv) {
        (true, _) => summary(&desk, &filter, output).await,
        (false, true) => csv(&desk, &filter).await,
        (false, false) => list(&desk, &filter, output).await,
    };
    desk.session.close().await;
    result
}

/// Shows each page to `see`, so that no more than a page is ever held.
async fn each_page(desk: &Desk, filter: &DownloadFilter, mut see: impl FnMut(Vec<DownloadEntry>) -> Done) -> Done {
    let mut after = None;
    loop {
        let page = desk.lending.recorded_downloads(filter, after, PAGE).await?;
        see(page.found.into_iter().map(|held| held.value).collect())?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// A line each for programs, a table a page for people.
async fn list(desk: &Desk, filter: &DownloadFilter, output: Output) -> Done {
    each_page(desk, filter, |page| {
        let page: Vec<Shown> = page.into_iter().map(Shown::from).collect();
        if output.json {
            return page.iter().try_for_each(|shown| output.show(shown, |_| String::new()));
        }
        output.show(&page, |page| table(&page.iter().map(Shown::row).collect::<Vec<_>>()))
    })
    .await
}

async fn csv(desk: &Desk, filter: &DownloadFilter) -> Done {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{COLUMNS}")?;
    let mut lines = Vec::new();
    each_page(desk, filter, |page| {
        lines.extend(page.into_iter().map(|entry| Shown::from(entry).csv()));
        for line in lines.drain(..) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    })
    .await
}

/// A field as RFC 4180 has it. What a spreadsheet would take for a formula is quoted with an apostrophe: names come from outside.
fn csv_field(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{field}") } else { field.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

async fn summary(desk: &Desk, filter: &DownloadFilter, output: Output) -> Done {
    let titles = desk.lending.title_counts().await?;
    let licences = desk.lending.count_licences(None, None).await?;
    let (mut requests, mut sent, mut refused) = (0u64, 0u64, 0u64);
    let (mut readers, mut books) = (BTreeSet::new(), BTreeSet::new());
    each_page(desk, filter, |page| {
        for entry in page {
            requests += 1;
            sent += entry.sent;
            refused += u64::from(matches!(entry.ending, gateway_core::lcp::Ending::Refused(_)));
            readers.insert(entry.user);
            books.insert(entry.title);
        }
        Ok(())
    })
    .await?;
    let shown = json!({
        "titles": { "queued": titles.queued, "protecting": titles.protecting, "ready": titles.ready, "failed": titles.failed, "gone": titles.gone },
        "licences": licences,
        "downloads": { "requests": requests, "refused": refused, "bytes": sent, "readers": readers.len(), "titles": books.len() },
    });
    output.show(&shown, |_| {
        table(&[
            vec![
                "titles".into(),
                format!(
                    "{} ready, {} queued, {} being protected, {} failed, {} gone",
                    titles.ready, titles.queued, titles.protecting, titles.failed, titles.gone
                ),
            ],
            vec!["licences".into(), licences.to_string()],
            vec![
                "downloads".into(),
                format!(
                    "{requests} requests ({refused} refused), {} to {} readers, {} titles",
                    bytes(sent),
                    readers.len(),
                    books.len()
                ),
            ],
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_no_formula_is_run() {
        assert_eq!(csv_field("a b"), "a b");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(COLUMNS.split(',').count(), 15);
    }
}
