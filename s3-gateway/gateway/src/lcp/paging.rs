//! Lists in pages: by number, as the reference servers have them, and by a place that the next page's link holds, which costs the same however far it is.

use super::books::Books;
use super::call::Call;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use gateway_core::lcp::{LicenceCursor, LicenceEntry, LicenceFilter};
use http::StatusCode;
use http::header::LINK;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Licences of a page if nobody says how many.
const PER_PAGE: u32 = 30;
/// And at most.
const PER_PAGE_MAX: u32 = 1000;

/// A page of licences, each shown by `show`, with links to the pages before and behind it. `kept` are the parameters of the query that say what is looked for.
pub(super) async fn licences(
    books: &Books,
    call: &Call,
    filter: &LicenceFilter,
    (path, kept): (&str, &[&str]),
    show: impl Fn(&LicenceEntry) -> Result<Value, Problem>,
) -> Result<Reply, Problem> {
    let page = call.asked::<u64>("page")?.unwrap_or(1).max(1);
    let per_page = call.asked::<u32>("per_page")?.unwrap_or(PER_PAGE).clamp(1, PER_PAGE_MAX);
    let found = match call.asked::<LicenceCursor>("after")? {
        Some(after) => books.lending.licences_after(filter, Some(after), per_page).await?,
        None => {
            let skip = (page - 1).saturating_mul(u64::from(per_page));
            books.lending.licences_from(filter, skip, per_page).await?
        }
    };
    let body = found.found.iter().map(show).collect::<Result<Value, _>>()?;
    let reply = Reply::json(StatusCode::OK, JSON, &body);
    let base = &books.lending.config().base;
    let query: String = kept.iter().filter_map(|name| Some((name, call.query(name)?))).map(pair).collect();
    let link = |page: u64, after: &str, rel: &str| {
        format!("<{base}{path}?{query}page={page}&per_page={per_page}{after}>; rel=\"{rel}\"; title=\"{rel}\"")
    };
    let mut links = Vec::new();
    if let Some(next) = found.next {
        links.push(link(page.saturating_add(1), &format!("&after={next}"), "next"));
    }
    if page > 1 {
        links.push(link(page - 1, "", "previous"));
    }
    Ok(if links.is_empty() { reply } else { reply.with(LINK, &links.join(", ")) })
}

fn pair((name, value): (&&str, &str)) -> String {
    format!("{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC))
}
