//! Licences as stores see them: documents of both reference servers.

use super::problem::Problem;
use drm::licence::{Licence, Link, Rights};
use drm::rfc3339;
use drm::status::Event;
use gateway_core::lcp::LicenceEntry;
use serde_json::{Map, Value, json};
use types::Timestamp;

fn date(at: Timestamp) -> Value {
    rfc3339::write(at).into()
}

/// What is not there is left out.
fn given<'a>(members: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn rights(rights: &Rights) -> [(&'static str, Option<Value>); 4] {
    [
        ("print", rights.print.map(Value::from)),
        ("copy", rights.copy.map(Value::from)),
        ("start", rights.start.map(date)),
        ("end", rights.end.map(date)),
    ]
}

/// A licence in the lists of the first server.
pub(super) fn report(licence: &LicenceEntry) -> Result<Value, Problem> {
    Ok(Value::Object(report_of(licence, &licence.read()?)))
}

fn report_of(licence: &LicenceEntry, document: &Licence) -> Map<String, Value> {
    let terms = document.terms();
    given([
        ("id", Some(licence.id.to_string().into())),
        ("provider", Some(terms.provider.as_str().into())),
        ("issued", Some(date(licence.issued))),
        ("updated", terms.updated.map(date)),
        ("user", Some(json!({ "id": licence.user }))),
        ("rights", Some(Value::Object(given(rights(&terms.rights))))),
        ("content_id", Some(licence.title.as_str().into())),
    ])
}

/// A licence without its keys and its signature, for a store that adds its reader to it and asks for it anew.
pub(super) fn partial(licence: &LicenceEntry) -> Result<Value, Problem> {
    let document = licence.read()?;
    let terms = document.terms();
    let mut partial = report_of(licence, &document);
    partial.insert("links".to_owned(), terms.links.iter().map(link).collect());
    partial.insert("encryption".to_owned(), json!({ "profile": terms.profile }));
    Ok(Value::Object(partial))
}

fn link(link: &Link) -> Value {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let rel = match link.rel.as_slice() {
        [one] => Value::from(one.as_str()),
        several => Value::from(several),
    };
    Value::Object(given([
        ("rel", Some(rel)),
        ("href", Some(link.href.as_str().into())),
        ("type", text(&link.media_type)),
        ("title", text(&link.title)),
        ("templated", link.templated.then_some(true.into())),
        ("length", link.length.map(Value::from)),
        ("hash", text(&link.hash)),
    ]))
}

/// A licence in the lists of the second server.
pub(super) fn info(licence: &LicenceEntry, now: Timestamp) -> Result<Value, Problem> {
    let document = licence.read()?;
    let (terms, status) = (document.terms(), &licence.status);
    let mut info = given([
        ("uuid", Some(licence.id.to_string().into())),
        ("created_at", Some(date(licence.issued))),
        ("updated", terms.updated.map(date)),
        ("provider", Some(terms.provider.as_str().into())),
        ("user_id", Some(licence.user.as_str().into())),
        ("publication_id", Some(licence.title.as_str().into())),
        ("max_end", status.max_end.map(date)),
        ("status", Some(status.state_at(now).name().into())),
        ("status_updated", Some(date(status.status_updated))),
        ("device_count", Some(status.devices().len().into())),
    ]);
    info.extend(given(rights(&terms.rights)));
    Ok(Value::Object(info))
}

/// What has happened with a licence.
pub(super) fn events(licence: &LicenceEntry) -> Value {
    licence.status.events.iter().map(event).collect()
}

fn event(event: &Event) -> Value {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let (kind, at) = (Some(event.kind.name().into()), Some(date(event.at)));
    let members =
        [("type", kind), ("timestamp", at), ("id", text(&event.device.id)), ("name", text(&event.device.name))];
    Value::Object(given(members))
}

/// The devices that have registered, each as it said first.
pub(super) fn devices(licence: &LicenceEntry) -> Value {
    let registered = licence.status.events.iter().filter(|event| event.kind == drm::status::EventKind::Register);
    let device = |event: &Event| {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let (id, name) = (text(&event.device.id), text(&event.device.name));
        Value::Object(given([("id", id), ("name", name), ("timestamp", Some(date(event.at)))]))
    };
    json!({ "id": licence.id.to_string(), "devices": registered.map(device).collect::<Value>() })
}
