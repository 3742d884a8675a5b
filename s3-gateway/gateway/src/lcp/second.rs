//! Routes of the second generation's server that are about licences.

use super::books::Books;
use super::call::Call;
use super::fields::Fields;
use super::partial::{Asked, hex_hash, nonce, rights_change};
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use super::status_server::{register, renew, return_licence, status, told};
use super::{paging, show};
use crate::metrics;
use drm::licence::{Reader, Rights};
use drm::status::State;
use gateway_core::Right;
use gateway_core::lcp::{LicenceChange, LicenceEntry, LicenceFilter, TitleId};
use http::StatusCode;
use std::ops::RangeInclusive;

const LEND: Access = Access::Staff(Right::Lend);
/// Parameters of a search.
const SEARCH: &[&str] = &["user", "pub", "status", "count"];

routes! {
    POST "/v2/licenses" LEND, issue_second;
    POST "/v2/licenses/{id}" LEND, fresh_second;
    GET "/v2/licenses" LEND, list_infos;
    GET "/v2/licenses/search" LEND, search_infos;
    GET "/v2/licenseinfo" LEND, list_infos;
    GET "/v2/licenseinfo/search" LEND, search_infos;
    POST "/v2/licenseinfo" LEND, bring_info;
    GET "/v2/licenseinfo/{id}" LEND, licence_info;
    PUT "/v2/licenseinfo/{id}" LEND, change_info;
    DELETE "/v2/licenseinfo/{id}" LEND, remove_info;
    GET "/v2/license-events/{id}" LEND, licence_events;
    PUT "/v2/revoke/{id}" LEND, revoke;
    GET "/v2/status/{id}" Access::Public, status;
    POST "/v2/register/{id}" Access::Public, register;
    PUT "/v2/renew/{id}" Access::Public, renew;
    PUT "/v2/return/{id}" Access::Public, return_licence;
    GET "/v2/health" Access::Public, health;
}

/// Issues a licence, and answers with it or, if asked so, with where it is.
async fn issue_second(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let nonce = nonce(&call)?;
    let mut body = Fields::of(call.json().await?)?;
    let title = title(books, &mut body).await?;
    let asked = asked(&mut body, None)?;
    let issued = books.lending.issue(asked.of_title(title, nonce)).await?;
    metrics::licence_issued(issued.is_repeated);
    let licence = &issued.licence;
    if call.asked::<bool>("link")?.unwrap_or_default() {
        let href = format!("{}/lcp/licenses/{}/fresh", books.lending.config().base, licence.id);
        return Ok(Reply::elsewhere(StatusCode::SEE_OTHER, &href));
    }
    Ok(Reply::licence(StatusCode::CREATED, &licence.document))
}

/// A licence for a reader whose name or passphrase may have changed.
async fn fresh_second(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = call.id("id")?;
    let mut body = Fields::of(call.json().await?)?;
    let known = books.lending.licence(id).await?.value;
    let asked = asked(&mut body, Some(&known.user))?;
    let licence = books.lending.fresh(id, Some(asked.anew())).await?;
    Ok(Reply::licence(StatusCode::OK, &licence.document))
}

async fn title(books: &Books, body: &mut Fields) -> Result<TitleId, Problem> {
    if let Some(id) = body.text("publication_id")?.filter(|id| !id.is_empty()) {
        return id.parse().map_err(|_| Problem::no_title());
    }
    match body.text("alt_id")?.filter(|id| !id.is_empty()) {
        Some(alt_id) => Ok(books.lending.title_called(&alt_id).await?.id),
        None => Err(body.wrong("publication_id", "missing")),
    }
}

fn asked(body: &mut Fields, known: Option<&str>) -> Result<Asked, Problem> {
    let user = body.text("user_id")?.filter(|id| !id.is_empty());
    let user = user.or_else(|| known.map(str::to_owned)).ok_or_else(|| body.wrong("user_id", "missing"))?;
    let mut reader = Reader::new(&user);
    reader.name = body.text("user_name")?.filter(|text| !text.is_empty());
    reader.email = body.text("user_email")?.filter(|text| !text.is_empty());
    if let Some(encrypted) = body.texts("user_encrypted")? {
        reader.encrypted = encrypted.into_iter().collect();
    }
    let hash = body.secret("pass_hash")?.ok_or_else(|| body.wrong("pass_hash", "missing"))?;
    Ok(Asked {
        reader,
        hint: body.required("text_hint")?,
        passphrase: hex_hash(&hash).ok_or_else(|| body.wrong("pass_hash", "no hash of 32 bytes in hex"))?,
        rights: Rights {
            print: body.limit("print")?.flatten(),
            copy: body.limit("copy")?.flatten(),
            start: body.date("start")?.flatten(),
            end: body.date("end")?.flatten(),
            ..Rights::default()
        },
        links: None,
        provider: body.text("provider")?.filter(|uri| !uri.is_empty()),
        profile: body.text("profile")?.filter(|uri| !uri.is_empty()),
    })
}

fn info(books: &Books, licence: &LicenceEntry) -> Result<Reply, Problem> {
    let now = books.lending.config().clock.now();
    Ok(Reply::json(StatusCode::OK, JSON, &show::info(licence, now)?))
}

async fn licence_info(books: &Books, call: Call) -> Result<Reply, Problem> {
    info(books, &books.lending.licence(call.id("id")?).await?.value)
}

/// Other servers take over what is known of a licence that was issued elsewhere. We send licences as they were signed, and this one we have never seen.
async fn bring_info(_: &Books, _: Call) -> Result<Reply, Problem> {
    Err(Problem::not_ours())
}

async fn change_info(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = call.id("id")?;
    let mut body = Fields::of(call.json().await?)?;
    let known = books.lending.licence(id).await?.value;
    let state = known.status.state_at(books.lending.config().clock.now()).name();
    if body.text("status")?.is_some_and(|status| status != state) {
        return Err(body.wrong("status", "changed by its own requests, such as /v2/revoke"));
    }
    if body.text("publication_id")?.is_some_and(|title| title != known.title.as_str()) {
        return Err(body.wrong("publication_id", "another than that of the licence"));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (user, provider) = (given(body.text("user_id")?), given(body.text("provider")?));
    let change = LicenceChange { rights: rights_change(&mut body)?, user, provider };
    info(books, &books.lending.change_licence(id, &change).await?)
}

async fn remove_info(books: &Books, call: Call) -> Result<Reply, Problem> {
    books.lending.remove_licence(call.id("id")?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn list_infos(books: &Books, call: Call) -> Result<Reply, Problem> {
    let now = books.lending.config().clock.now();
    let show = |licence: &LicenceEntry| show::info(licence, now);
    paging::licences(books, &call, &LicenceFilter::default(), ("/v2/licenseinfo", &[]), show).await
}

async fn search_infos(books: &Books, call: Call) -> Result<Reply, Problem> {
    let given = |name| call.query(name).filter(|text| !text.is_empty());
    let filter = LicenceFilter {
        user: given("user").map(str::to_owned),
        title: given("pub").map(str::parse).transpose().map_err(|_| Problem::no_title())?,
        state: given("status").map(|name| state(name).ok_or_else(|| unreadable("status"))).transpose()?,
        devices: given("count").map(|text| range(text).ok_or_else(|| unreadable("count"))).transpose()?,
        ..LicenceFilter::default()
    };
    let now = books.lending.config().clock.now();
    let show = |licence: &LicenceEntry| show::info(licence, now);
    paging::licences(books, &call, &filter, ("/v2/licenseinfo/search", SEARCH), show).await
}

fn unreadable(name: &str) -> Problem {
    Problem::bad(format!("{name} cannot be read"))
}

fn state(name: &str) -> Option<State> {
    let all =
        [State::Ready, State::Active, State::Returned, State::Revoked, State::Expired, State::Cancelled].into_iter();
    all.into_iter().find(|state| state.name() == name)
}

/// `min:max`; either may be left out.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (min, max) = text.split_once(':')?;
    let number = |text: &str, otherwise| if text.is_empty() { Some(otherwise) } else { text.parse().ok() };
    Some(number(min, 0)?..=number(max, u32::MAX)?)
}

async fn licence_events(books: &Books, call: Call) -> Result<Reply, Problem> {
    let licence = books.lending.licence(call.id("id")?).await?.value;
    Ok(Reply::json(StatusCode::OK, JSON, &show::events(&licence)))
}

async fn revoke(books: &Books, call: Call) -> Result<Reply, Problem> {
    let stepped = books.lending.revoke(call.id("id")?).await?;
    Ok(told(books, &call, &stepped))
}

async fn health(_: &Books, _: Call) -> Result<Reply, Problem> {
    Ok(Reply::bytes(StatusCode::OK, "text/plain", "ok\n".into()))
}
