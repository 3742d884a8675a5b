//! A new licence, or a new document for one that there is.

use super::field::{self, BadField, Fault, TEXT_BYTES_MAX};
use super::{CONTENT_KEY_ALGORITHM, LINKS_MAX, Licence, LicenceId, Link, Provider, Publication, Reader, Rights};
use super::{USER_KEY_ALGORITHM, Unsigned, unsigned};
use crate::rfc3339::{self, whole_seconds};
use crate::{ContentKey, Entropy, PassphraseHash, Profile, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use types::Timestamp;

/// Why no licence is made of a grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// A field cannot stand in a licence.
    #[error(transparent)]
    Field(#[from] BadField),
    /// All fields together make a document that readers may refuse.
    #[error("the licence would have {bytes} bytes, over {}", super::DOCUMENT_BYTES_MAX)]
    Long {
        /// How many it would have.
        bytes: usize,
    },
}

/// What a store grants to a reader.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// The store.
    pub provider: &'a Provider,
    /// The title.
    pub publication: &'a Publication,
    /// Whom it is for.
    pub reader: &'a Reader,
    /// What reminds him of his passphrase.
    pub hint: &'a str,
    /// What he may do.
    pub rights: &'a Rights,
    /// Links of this licence alone; one takes the place of a link of the provider that is for the same.
    pub links: &'a [Link],
}

/// The keys that go into a licence.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// How the user key is made.
    pub profile: &'a dyn Profile,
    /// The key of the title.
    pub content_key: &'a ContentKey,
    /// The reader's secret. Nothing of it can be found in the licence.
    pub passphrase: &'a PassphraseHash,
}

/// Makes the document of a new licence, issued at `now`.
///
/// # Errors
/// [`BadGrant`].
pub fn issue(
    id: LicenceId,
    grant: &Grant<'_>,
    keys: Keys<'_>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Unsigned, BadGrant> {
    document(id, grant, keys, (now, None), entropy)
}

/// Makes a new document for a licence that there is, with new keys, rights and data of its reader; `id` and `issued` stay.
///
/// # Errors
/// [`BadGrant`], also if `stored` is a licence with an id of another form, which is not issued here.
pub fn reissue(
    stored: &Licence,
    grant: &Grant<'_>,
    keys: Keys<'_>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Unsigned, BadGrant> {
    let id = stored.terms().id.parse().map_err(|_| Fault::Other.of("id"))?;
    let updated = unsigned::next_change(stored.terms().last_change(), now);
    document(id, grant, keys, (stored.terms().issued, Some(updated)), entropy)
}

fn document(
    id: LicenceId,
    grant: &Grant<'_>,
    keys: Keys<'_>,
    (issued, updated): (Timestamp, Option<Timestamp>),
    entropy: &mut dyn Entropy,
) -> Result<Unsigned, BadGrant> {
    check(grant)?;
    let links = links(id, grant)?;
    let user_key = keys.profile.user_key(keys.passphrase);
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("id", id.to_string().into());
    put("issued", rfc3339::write(whole_seconds(issued)).into());
    if let Some(updated) = updated {
        put("updated", rfc3339::write(updated).into());
    }
    put("provider", grant.provider.uri.as_str().into());
    put("encryption", encryption(id, grant.hint, keys, &user_key, entropy));
    put("links", links.iter().map(Link::to_json).collect());
    put("user", grant.reader.to_json(&user_key, entropy)?);
    let mut rights = Map::new();
    grant.rights.write(&mut rights);
    if !rights.is_empty() {
        put("rights", Value::Object(rights));
    }
    Unsigned::new(object)
}

fn check(grant: &Grant<'_>) -> Result<(), BadField> {
    grant.provider.check()?;
    field::text("encryption.user_key.text_hint", grant.hint, TEXT_BYTES_MAX)?;
    grant.reader.check()?;
    grant.rights.check()?;
    grant.rights.check_order()
}

fn links(id: LicenceId, grant: &Grant<'_>) -> Result<Vec<Link>, BadField> {
    let of_provider = grant.provider.links(id, grant.links);
    let links: Vec<Link> =
        [grant.publication.link()].into_iter().chain(of_provider).chain(grant.links.to_vec()).collect();
    check_links(&links)?;
    Ok(links)
}

/// Whether these are links of a licence: each sound, not too many, one publication and a hint.
pub(super) fn check_links(links: &[Link]) -> Result<(), BadField> {
    if links.len() > LINKS_MAX {
        return Err(Fault::Many { max: LINKS_MAX }.of("links"));
    }
    links.iter().try_for_each(Link::check)?;
    let count = |rel| links.iter().filter(|link| link.is(rel)).count();
    match (count("publication"), count("hint")) {
        (1, 1..) => Ok(()),
        (0, _) => Err(Fault::Missing.of("links.publication")),
        (_, 0) => Err(Fault::Missing.of("links.hint")),
        _ => Err(Fault::Twice.of("links.publication")),
    }
}

fn encryption(id: LicenceId, hint: &str, keys: Keys<'_>, user_key: &UserKey, entropy: &mut dyn Entropy) -> Value {
    json!({
        "profile": keys.profile.uri(),
        "content_key": {
            "algorithm": CONTENT_KEY_ALGORITHM,
            "encrypted_value": STANDARD.encode(user_key.wrap(keys.content_key, entropy)),
        },
        "user_key": {
            "algorithm": USER_KEY_ALGORITHM,
            "text_hint": hint,
            "key_check": STANDARD.encode(user_key.key_check(&id.to_string(), entropy)),
        },
    })
}
