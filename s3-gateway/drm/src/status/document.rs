//! The status document.

use super::{Event, Language, Policy, Record, State};
use crate::licence::field::{self, BadField, UriKind};
use crate::licence::{LICENCE_TYPE, LicenceId, STATUS_TYPE, expand};
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use types::Timestamp;

/// How a loan is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenewLink {
    /// By the reading app, here.
    Here(String),
    /// By the reader, on a page of the store.
    Page(String),
}

/// Where devices go with their requests. `{license_id}` stands for the id of each licence; the parameters of a request are added here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusLinks {
    /// Where the licence can be fetched anew.
    pub licence_href: String,
    /// Where devices register.
    pub register_href: Option<String>,
    /// How loans are renewed, if they are.
    pub renew: Option<RenewLink>,
    /// Where loans are returned.
    pub return_href: Option<String>,
}

impl StatusLinks {
    /// Whether these are addresses, for a configuration that is read.
    ///
    /// # Errors
    /// [`BadField`].
    pub fn check(&self) -> Result<(), BadField> {
        let renew = self.renew.as_ref().map(|(RenewLink::Here(href) | RenewLink::Page(href))| href);
        let hrefs = [Some(&self.licence_href), self.register_href.as_ref(), renew, self.return_href.as_ref()];
        let mut hrefs = hrefs.into_iter().flatten();
        hrefs.try_for_each(|href| field::uri("links.href", &expand(href, LicenceId::example()), UriKind::Web, false))
    }
}

/// How a document is written for whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The language of its message.
    pub language: Language,
    /// Whether it holds the events, and with them what the reader's devices are called. Anybody who has the link of a licence can read its document.
    pub with_events: bool,
}

/// Writes the status document as of `now`.
#[must_use]
pub fn document(record: &Record, links: &StatusLinks, policy: &Policy, view: View, now: Timestamp) -> Value {
    let state = record.state_at(now);
    let mut document = json!({
        "id": record.id.to_string(),
        "status": state.name(),
        "message": view.language.message(state),
        "updated": {
            "license": rfc3339::write(record.licence_updated),
            "status": rfc3339::write(status_updated(record, state)),
        },
        "links": links_of(record, links, policy, state),
    });
    if let (Some(_), Some(max), true) = (record.end, record.max_end, state.is_open()) {
        document["potential_rights"] = json!({ "end": rfc3339::write(max) });
    }
    if view.with_events {
        document["events"] = record.events.iter().map(event).collect();
    }
    document
}

/// Expiry changes the document at the end, though nothing is kept of it.
fn status_updated(record: &Record, state: State) -> Timestamp {
    let ended = record.end.filter(|_| state == State::Expired);
    ended.map_or(record.status_updated, |end| end.max(record.status_updated))
}

fn links_of(record: &Record, links: &StatusLinks, policy: &Policy, state: State) -> Vec<Value> {
    let is_loan = record.end.is_some();
    let renewable = is_loan && policy.renews_in(state);
    let mut found = vec![link("license", &links.licence_href, record.id, (LICENCE_TYPE, ""))];
    if let Some(href) = links.register_href.as_ref().filter(|_| state.is_open()) {
        found.push(link("register", href, record.id, (STATUS_TYPE, "{?id,name}")));
    }
    match links.renew.as_ref().filter(|_| renewable) {
        Some(RenewLink::Here(href)) => found.push(link("renew", href, record.id, (STATUS_TYPE, "{?end,id,name}"))),
        Some(RenewLink::Page(href)) => found.push(link("renew", href, record.id, ("text/html", ""))),
        None => {}
    }
    if let Some(href) = links.return_href.as_ref().filter(|_| is_loan && state.is_open()) {
        found.push(link("return", href, record.id, (STATUS_TYPE, "{?id,name}")));
    }
    found
}

fn link(rel: &str, href: &str, id: LicenceId, (media_type, parameters): (&str, &str)) -> Value {
    let mut link = json!({ "rel": rel, "href": format!("{}{parameters}", expand(href, id)), "type": media_type });
    if !parameters.is_empty() {
        link["templated"] = true.into();
    }
    link
}

fn event(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), event.kind.name().into());
    object.insert("timestamp".to_owned(), rfc3339::write(event.at).into());
    for (name, text) in [("id", &event.device.id), ("name", &event.device.name)] {
        if let Some(text) = text {
            object.insert(name.to_owned(), text.as_str().into());
        }
    }
    Value::Object(object)
}
