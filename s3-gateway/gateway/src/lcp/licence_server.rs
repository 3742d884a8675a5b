//! Routes of the first generation's licence server that are about licences, and the public one that status documents lead to.

use super::books::Books;
use super::call::Call;
use super::partial::{self, Asked, new_licence};
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use super::{paging, show};
use crate::metrics;
use drm::licence::LicenceId;
use drm::rfc3339;
use gateway_core::Right;
use gateway_core::lcp::LicenceFilter;
use http::StatusCode;
use serde_json::json;
use types::Timestamp;

const LEND: Access = Access::Staff(Right::Lend);

routes! {
    POST "/lcp/contents/{id}/license" LEND, issue_licence;
    POST "/lcp/contents/{id}/licenses" LEND, issue_licence;
    GET "/lcp/contents/{id}/licenses" LEND, licences_of_title;
    GET "/lcp/licenses" LEND, list_licences;
    GET "/lcp/licenses/{id}" LEND, licence;
    POST "/lcp/licenses/{id}" LEND, licence;
    PATCH "/lcp/licenses/{id}" LEND, change_licence;
    GET "/lcp/licenses/{id}/fresh" Access::Public, fresh_licence;
    GET "/lcp/licensecount" LEND, count_licences;
    GET "/lcp/ping" Access::Public, ping;
}

async fn issue_licence(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let issued = books.lending.issue(new_licence(&mut call).await?).await?;
    metrics::licence_issued(issued.is_repeated);
    Ok(Reply::licence(StatusCode::CREATED, &issued.licence.document))
}

/// With a body the licence, issued anew for the reader whom it names; without one what of it is no secret.
async fn licence(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = call.id::<LicenceId>("id")?;
    match call.json_if_any().await? {
        Some(body) => {
            let anew = Asked::partial(body)?.anew();
            let licence = books.lending.fresh(id, Some(anew)).await?;
            Ok(Reply::licence(StatusCode::OK, &licence.document))
        }
        None => {
            let licence = books.lending.fresh(id, None).await?;
            Ok(Reply::json(StatusCode::PARTIAL_CONTENT, drm::licence::LICENCE_TYPE, &show::partial(&licence)?))
        }
    }
}

/// For reading apps: where the status document sends them when their licence is old.
async fn fresh_licence(books: &Books, call: Call) -> Result<Reply, Problem> {
    let licence = books.lending.fresh(call.id("id")?, None).await?;
    Ok(Reply::licence(StatusCode::OK, &licence.document))
}

async fn change_licence(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = call.id("id")?;
    let change = partial::change(call.json().await?)?;
    let licence = books.lending.change_licence(id, &change).await?;
    Ok(Reply::json(StatusCode::OK, JSON, &show::report(&licence)?))
}

async fn list_licences(books: &Books, call: Call) -> Result<Reply, Problem> {
    paging::licences(books, &call, &LicenceFilter::default(), ("/lcp/licenses", &[]), show::report).await
}

async fn licences_of_title(books: &Books, call: Call) -> Result<Reply, Problem> {
    let title = call.name("id").parse().map_err(|_| Problem::no_title())?;
    books.lending.title(&title).await?;
    let path = format!("/lcp/contents/{title}/licenses");
    let filter = LicenceFilter { title: Some(title), ..LicenceFilter::default() };
    paging::licences(books, &call, &filter, (&path, &[]), show::report).await
}

async fn count_licences(books: &Books, call: Call) -> Result<Reply, Problem> {
    let (from, to) = (moment(&call, "from")?, moment(&call, "to")?);
    let count = books.lending.count_licences(from, to).await?;
    Ok(Reply::json(StatusCode::OK, JSON, &json!({ "count": count })))
}

async fn ping(_: &Books, _: Call) -> Result<Reply, Problem> {
    Ok(Reply::bytes(StatusCode::OK, "text/plain", "pong\n".into()))
}

/// A parameter that is a date, or the beginning of a day (UTC).
fn moment(call: &Call, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = call.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let read = date(text).or_else(|| date(&format!("{text}T00:00:00Z")));
    read.map(Some).ok_or_else(|| Problem::bad(format!("{name} is no date of RFC 3339")))
}

/// A date of a query, in which a plus that was not encoded has become a space.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    rfc3339::read(&text.replace(' ', "+")).ok()
}
