//! A change of a licence that there is, without its keys.

use super::field::{self, BadField, Fault, ID_BYTES_MAX, UriKind};
use super::issue::check_links;
use super::member::Members;
use super::{BadGrant, Licence, Link, Publication, Rights, Unsigned, reader, unsigned};
use serde_json::{Map, Value};
use types::Timestamp;

/// What is to be another than before; what is `None` stays. All `None` moves `updated` only, as a change of status does that no right shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// All rights. Those that are to stay come from [`super::Terms::rights`].
    pub rights: Option<Rights>,
    /// A new version of the title, encrypted under the same content key.
    pub publication: Option<Publication>,
    /// Every link but that of the publication.
    pub links: Option<Vec<Link>>,
    /// The store's URI.
    pub provider_uri: Option<String>,
    /// How the store calls the reader. Not if that is encrypted.
    pub user_id: Option<String>,
}

/// Makes the document after a change at `now`. What the change does not name stays as it is, known or not.
///
/// # Errors
/// [`BadGrant`].
pub fn change(stored: &Licence, change: &Change, now: Timestamp) -> Result<Unsigned, BadGrant> {
    let mut object = stored.unsigned_members();
    if let Some(rights) = &change.rights {
        change_rights(&mut object, rights)?;
    }
    change_links(&mut object, stored, change)?;
    if let Some(uri) = &change.provider_uri {
        field::uri("provider", uri, UriKind::Web, false)?;
        object.insert("provider".to_owned(), uri.as_str().into());
    }
    if let Some(id) = &change.user_id {
        change_user_id(&mut object, id)?;
    }
    let updated = unsigned::next_change(stored.terms().last_change(), now);
    object.insert("updated".to_owned(), crate::rfc3339::write(updated).into());
    Unsigned::new(object)
}

fn change_rights(object: &mut Map<String, Value>, rights: &Rights) -> Result<(), BadField> {
    rights.check()?;
    let mut members = match object.remove("rights") {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    rights.write(&mut members);
    if !members.is_empty() {
        object.insert("rights".to_owned(), Value::Object(members));
    }
    Ok(())
}

fn change_links(object: &mut Map<String, Value>, stored: &Licence, change: &Change) -> Result<(), BadField> {
    if change.links.is_none() && change.publication.is_none() {
        return Ok(());
    }
    let (publication, others): (Vec<Link>, Vec<Link>) =
        stored.terms().links.iter().cloned().partition(|link| link.is("publication"));
    let mut links = change.publication.as_ref().map_or(publication, |publication| vec![publication.link()]);
    links.extend(change.links.clone().unwrap_or(others));
    check_links(&links)?;
    object.insert("links".to_owned(), links.iter().map(Link::to_json).collect());
    Ok(())
}

fn change_user_id(object: &mut Map<String, Value>, id: &str) -> Result<(), BadField> {
    field::text("user.id", id, ID_BYTES_MAX)?;
    let user = object.entry("user").or_insert_with(|| Value::Object(Map::new()));
    let members = user.as_object_mut().ok_or(Fault::Type.of("user"))?;
    if reader::encrypted_names(Members(members))?.contains("id") {
        return Err(Fault::Encrypted.of("user.id"));
    }
    members.insert("id".to_owned(), id.into());
    Ok(())
}
