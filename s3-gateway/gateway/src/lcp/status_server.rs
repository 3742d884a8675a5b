//! Routes of the first generation's status server: what reading apps follow, and what a store does to what it has lent.

use super::books::Books;
use super::call::Call;
use super::fields::Fields;
use super::licence_server::date;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use super::{paging, show};
use crate::metrics;
use drm::licence::{LicenceId, STATUS_TYPE};
use drm::status::{Device, Language};
use gateway_core::Right;
use gateway_core::lcp::{LicenceEntry, LicenceFilter, Stepped};
use http::StatusCode;
use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE};
use serde_json::Value;

const LEND: Access = Access::Staff(Right::Lend);

routes! {
    GET "/lsd/licenses/{id}/status" Access::Public, status;
    POST "/lsd/licenses/{id}/register" Access::Public, register;
    PUT "/lsd/licenses/{id}/renew" Access::Public, renew;
    PUT "/lsd/licenses/{id}/return" Access::Public, return_licence;
    PUT "/lsd/licenses" LEND, note_licence;
    GET "/lsd/licenses" LEND, list_statuses;
    GET "/lsd/licenses/{id}/registered" LEND, registered_devices;
    PATCH "/lsd/licenses/{id}/status" LEND, take_back;
    PUT "/lsd/licenses/{id}/extend" LEND, extend;
}

/// The status document. A licence that is not up to date is brought there, so that it says when there is something to fetch.
pub(super) async fn status(books: &Books, call: Call) -> Result<Reply, Problem> {
    let licence = books.lending.fresh(call.id("id")?, None).await?;
    Ok(shown(books, &call, &licence))
}

pub(super) async fn register(books: &Books, call: Call) -> Result<Reply, Problem> {
    let stepped = books.lending.register(call.id("id")?, &device(&call)).await?;
    if stepped.is_over_soft {
        let devices = stepped.licence.status.devices().len();
        tracing::warn!(licence = %stepped.licence.id, devices, "more devices have registered than is usual");
        metrics::over_soft();
    }
    Ok(taken(books, &call, &stepped))
}

pub(super) async fn renew(books: &Books, call: Call) -> Result<Reply, Problem> {
    let id = call.id("id")?;
    let asked = call.query("end").filter(|text| !text.is_empty());
    let end = asked.map(|text| date(text).ok_or_else(Problem::no_end)).transpose()?;
    let stepped = books.lending.renew(id, &device(&call), end).await?;
    Ok(taken(books, &call, &stepped))
}

pub(super) async fn return_licence(books: &Books, call: Call) -> Result<Reply, Problem> {
    let stepped = books.lending.return_licence(call.id("id")?, &device(&call)).await?;
    Ok(taken(books, &call, &stepped))
}

/// The first licence server tells the status server of a licence that it has issued. Here both are one, and it is known already.
async fn note_licence(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let mut licence = Fields::of(call.json().await?)?;
    let id = licence.required("id")?.parse::<LicenceId>().map_err(|_| licence.wrong("id", "no id of a licence"))?;
    books.lending.licence(id).await?;
    Ok(Reply::empty(StatusCode::CREATED))
}

/// Licences on which at least so many devices have registered.
async fn list_statuses(books: &Books, call: Call) -> Result<Reply, Problem> {
    let devices = call.asked::<u32>("devices")?.map(|least| least..=u32::MAX);
    let filter = LicenceFilter { devices, ..LicenceFilter::default() };
    let language = language(books, &call);
    let show = |licence: &LicenceEntry| {
        let mut status = books.lending.status_document(licence, language, false);
        if let Some(members) = status.as_object_mut() {
            members.remove("links");
            members.insert("device_count".to_owned(), licence.status.devices().len().into());
        }
        Ok(status)
    };
    paging::licences(books, &call, &filter, ("/lsd/licenses", &["devices"]), show).await
}

async fn registered_devices(books: &Books, call: Call) -> Result<Reply, Problem> {
    let licence = books.lending.licence(call.id("id")?).await?.value;
    Ok(Reply::json(StatusCode::OK, JSON, &show::devices(&licence)))
}

/// The store revokes a licence, or cancels one that nobody has used.
async fn take_back(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = call.id("id")?;
    let mut asked = Fields::of(call.json().await?)?;
    let stepped = match asked.required("status")?.as_str() {
        "revoked" => books.lending.revoke(id).await?,
        "cancelled" => books.lending.cancel(id).await?,
        _ => return Err(asked.wrong("status", "neither revoked nor cancelled")),
    };
    Ok(told(books, &call, &stepped))
}

async fn extend(books: &Books, call: Call) -> Result<Reply, Problem> {
    let id = call.id("id")?;
    let end = call.query("end").and_then(date).ok_or_else(Problem::no_end)?;
    let stepped = books.lending.extend(id, end).await?;
    Ok(told(books, &call, &stepped))
}

fn device(call: &Call) -> Device {
    let given = |name| call.query(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Device { id: given("id"), name: given("name") }
}

fn language(books: &Books, call: &Call) -> Language {
    let otherwise = books.lending.config().language;
    call.header(&ACCEPT_LANGUAGE).map_or(otherwise, |header| Language::accepted(header, otherwise))
}

/// What came of a reader's step: without the events, which anybody could read who has the link.
pub(super) fn taken(books: &Books, call: &Call, stepped: &Stepped) -> Reply {
    metrics::licence_event(stepped.event);
    shown(books, call, &stepped.licence)
}

/// What came of a store's step.
pub(super) fn told(books: &Books, call: &Call, stepped: &Stepped) -> Reply {
    metrics::licence_event(stepped.event);
    let language = language(books, call);
    reply(language, &books.lending.status_document(&stepped.licence, language, true))
}

fn shown(books: &Books, call: &Call, licence: &LicenceEntry) -> Reply {
    let language = language(books, call);
    reply(language, &books.lending.status_document(licence, language, false))
}

fn reply(language: Language, document: &Value) -> Reply {
    Reply::json(StatusCode::OK, STATUS_TYPE, document).with(CONTENT_LANGUAGE, language.tag())
}
