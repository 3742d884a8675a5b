//! Lists in pages: by number, as the reference servers have them, and by a place that the next page's link holds, which costs the same however far it is.

use super::books::Books;
use super::call::Call;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use gateway_core::lcp::{LicenceEntry, LicenceFilter, ListCursor, Title, TitleFilter};
use http::StatusCode;
use http::header::LINK;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What a page has if nobody says how many.
const PER_PAGE: u32 = 30;
/// And at most.
const PER_PAGE_MAX: u32 = 1000;

/// Which page is asked for.
struct Wanted {
    number: u64,
    per_page: u32,
    /// Behind this place, whatever the number.
    after: Option<ListCursor>,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, Problem> {
        Ok(Wanted {
            number: call.asked::<u64>("page")?.unwrap_or(1).max(1),
            per_page: call.asked::<u32>("per_page")?.unwrap_or(PER_PAGE).clamp(1, PER_PAGE_MAX),
            after: call.asked("after")?,
        })
    }

    fn skip(&self) -> u64 {
        (self.number - 1).saturating_mul(u64::from(self.per_page))
    }

    /// The page, with links to those before and behind it.
    fn reply(
        &self,
        (books, call): (&Books, &Call),
        body: &Value,
        next: Option<&ListCursor>,
        (path, kept): (&str, &[&str]),
    ) -> Reply {
        let base = &books.lending.config().base;
        let query: String = kept.iter().filter_map(|name| Some((name, call.query(name)?))).map(pair).collect();
        let per_page = self.per_page;
        let link = |page: u64, after: &str, rel: &str| {
            format!("<{base}{path}?{query}page={page}&per_page={per_page}{after}>; rel=\"{rel}\"; title=\"{rel}\"")
        };
        let mut links = Vec::new();
        if let Some(next) = next {
            links.push(link(self.number.saturating_add(1), &format!("&after={next}"), "next"));
        }
        if self.number > 1 {
            links.push(link(self.number - 1, "", "previous"));
        }
        let reply = Reply::json(StatusCode::OK, JSON, body);
        if links.is_empty() { reply } else { reply.with(LINK, &links.join(", ")) }
    }
}

/// A page of licences, each shown by `show`, with links to the pages before and behind it. `place` is the path, and the parameters of the query that say what is
/// looked for.
pub(super) async fn licences(
    books: &Books,
    call: &Call,
    filter: &LicenceFilter,
    place: (&str, &[&str]),
    show: impl Fn(&LicenceEntry) -> Result<Value, Problem>,
) -> Result<Reply, Problem> {
    let wanted = Wanted::of(call)?;
    let found = match &wanted.after {
        Some(after) => books.lending.licences_after(filter, Some(after.clone()), wanted.per_page).await?,
        None => books.lending.licences_from(filter, wanted.skip(), wanted.per_page).await?,
    };
    let body = found.found.iter().map(show).collect::<Result<Value, _>>()?;
    Ok(wanted.reply((books, call), &body, found.next.as_ref(), place))
}

/// The same, of titles.
pub(super) async fn titles(
    books: &Books,
    call: &Call,
    filter: &TitleFilter,
    place: (&str, &[&str]),
    show: impl Fn(&Title) -> Value,
) -> Result<Reply, Problem> {
    let wanted = Wanted::of(call)?;
    let found = match &wanted.after {
        Some(after) => books.lending.titles(filter, Some(after.clone().into()), wanted.per_page).await?,
        None => books.lending.titles_from(filter, wanted.skip(), wanted.per_page).await?,
    };
    let body = found.found.iter().map(|held| show(&held.value)).collect();
    Ok(wanted.reply((books, call), &body, found.next.map(ListCursor::from).as_ref(), place))
}

fn pair((name, value): (&&str, &str)) -> String {
    format!("{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC))
}
