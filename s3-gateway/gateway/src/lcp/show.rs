//! Licences and titles as stores see them: documents of both reference servers.

use super::problem::Problem;
use drm::licence::{Licence, Link, Rights};
use drm::rfc3339;
use drm::status::Event;
use gateway_core::lcp::{LicenceEntry, Package, Place, Standing, Title};
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

/// A title in the documents of the first server, and where it stands in members of our own.
pub(super) fn content(title: &Title, base: &str) -> Value {
    let package = title.package();
    let mut content = given([
        ("id", Some(title.id.as_str().into())),
        ("location", package.map(|package| href(title, package, base).into())),
        ("length", package.map(|package| package.len.into())),
        ("sha256", package.map(|package| hex::encode(package.sha256).into())),
        ("type", package.map(|package| package.media_type.as_str().into())),
        ("title", title.name.as_deref().map(Value::from)),
        ("alt_id", title.alt_id.as_deref().map(Value::from)),
    ]);
    content.extend(standing(title));
    Value::Object(content)
}

/// A title in the documents of the second server, likewise.
pub(super) fn publication(title: &Title, base: &str) -> Value {
    let package = title.package();
    let mut publication = given([
        ("uuid", Some(title.id.as_str().into())),
        ("alt_id", title.alt_id.as_deref().map(Value::from)),
        ("title", title.name.as_deref().map(Value::from)),
        ("href", package.map(|package| href(title, package, base).into())),
        ("content_type", package.map(|package| package.media_type.as_str().into())),
        ("size", package.map(|package| package.len.into())),
        ("checksum", package.map(|package| hex::encode(package.sha256).into())),
    ]);
    publication.extend(standing(title));
    Value::Object(publication)
}

/// Where the package is to be had.
fn href(title: &Title, package: &Package, base: &str) -> String {
    match &package.place {
        Place::Here { .. } => format!("{base}/lcp/contents/{}?version={}", title.id, package.version),
        Place::There { href } => href.clone(),
    }
}

fn standing(title: &Title) -> Map<String, Value> {
    let (fault, reason) = match &title.standing {
        Standing::Failed { fault, reason, .. } => (Some(fault.name().into()), Some(reason.as_str().into())),
        _ => (None, None),
    };
    let progress = match (&title.standing, &title.source) {
        (Standing::Protecting { done, .. }, Some(source)) => Some(json!({ "done": done, "of": source.size })),
        _ => None,
    };
    let source = title.source.as_ref();
    given([
        ("standing", Some(title.standing.name().into())),
        ("fault", fault),
        ("reason", reason),
        ("progress", progress),
        ("version", title.package().map(|package| package.version.into())),
        ("source", source.map(|source| json!({ "bucket": source.bucket_name, "key": source.key }))),
        ("created", Some(date(title.created))),
        ("updated", Some(date(title.updated))),
    ])
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
