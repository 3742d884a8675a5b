//! Links of a licence, and the publication that one of them leads to.

use super::field::{self, BadField, Fault, ID_BYTES_MAX, TEXT_BYTES_MAX, UriKind};
use super::member::{Extensions, Members, check_extensions, read_extensions, write_extensions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Media type of a licence.
pub const LICENCE_TYPE: &str = "application/vnd.readium.lcp.license.v1.0+json";
/// Media type of a status document.
pub const STATUS_TYPE: &str = "application/vnd.readium.license.status.v1.0+json";
/// Links of one licence. Stores have five to eight.
pub const LINKS_MAX: usize = 24;
/// What one link is for; more than two or three are never seen.
const RELS_MAX: usize = 8;
const KNOWN: [&str; 8] = ["rel", "href", "type", "title", "templated", "profile", "length", "hash"];

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is for: `hint`, `publication`, `self`, `support`, `status`, or URIs.
    pub rel: Vec<String>,
    /// Where it leads.
    pub href: String,
    /// Media type of what is there.
    pub media_type: Option<String>,
    /// For people.
    pub title: Option<String>,
    /// Whether `href` is a template of RFC 6570.
    pub templated: bool,
    /// A URI that says more of what is there.
    pub profile: Option<String>,
    /// Bytes of what is there.
    pub length: Option<u64>,
    /// SHA-256 of what is there, in hex or base64.
    pub hash: Option<String>,
    /// Members that the format does not know.
    pub extensions: Extensions,
}

impl Link {
    /// A link with a media type and nothing else.
    #[must_use]
    pub fn new(rel: &str, href: &str, media_type: &str) -> Self {
        Link {
            rel: vec![rel.to_owned()],
            href: href.to_owned(),
            media_type: Some(media_type.to_owned()),
            ..Link::default()
        }
    }

    /// Whether it is for that.
    #[must_use]
    pub fn is(&self, rel: &str) -> bool {
        self.rel.iter().any(|own| own == rel)
    }

    /// Whether it can stand in a licence.
    ///
    /// # Errors
    /// [`BadField`].
    pub fn check(&self) -> Result<(), BadField> {
        self.check_rel()?;
        field::uri("links.href", &self.href, self.kind(), self.templated)?;
        self.media_type.as_deref().map_or(Ok(()), |text| field::media_type("links.type", text))?;
        self.title.as_deref().map_or(Ok(()), |text| field::text("links.title", text, TEXT_BYTES_MAX))?;
        self.profile.as_deref().map_or(Ok(()), |text| field::uri("links.profile", text, UriKind::Any, false))?;
        self.length.map_or(Ok(()), |length| field::integer("links.length", length))?;
        self.hash.as_deref().map_or(Ok(()), |text| field::text("links.hash", text, ID_BYTES_MAX))?;
        check_extensions("links", &self.extensions)
    }

    fn check_rel(&self) -> Result<(), BadField> {
        const FIELD: &str = "links.rel";
        match self.rel.len() {
            0 => return Err(Fault::Missing.of(FIELD)),
            1..=RELS_MAX => {}
            _ => return Err(Fault::Many { max: RELS_MAX }.of(FIELD)),
        }
        for rel in &self.rel {
            if !matches!(rel.as_str(), "hint" | "publication" | "self" | "support" | "status") {
                field::uri(FIELD, rel, UriKind::Any, false)?;
            }
        }
        Ok(())
    }

    /// The URIs that readers follow for this.
    fn kind(&self) -> UriKind {
        if ["hint", "publication", "self", "status"].iter().any(|rel| self.is(rel)) {
            UriKind::Web
        } else if self.is("support") {
            UriKind::Support
        } else {
            UriKind::Any
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut object = Map::new();
        write_extensions(&self.extensions, &mut object);
        let rel = match self.rel.as_slice() {
            [one] => Value::from(one.as_str()),
            several => Value::from(several),
        };
        object.insert("rel".to_owned(), rel);
        object.insert("href".to_owned(), Value::from(self.href.as_str()));
        let texts =
            [("type", &self.media_type), ("title", &self.title), ("profile", &self.profile), ("hash", &self.hash)];
        for (name, text) in texts {
            if let Some(text) = text {
                object.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        if self.templated {
            object.insert("templated".to_owned(), Value::from(true));
        }
        if let Some(length) = self.length {
            object.insert("length".to_owned(), Value::from(length));
        }
        Value::Object(object)
    }

    pub(super) fn read(value: &Value) -> Result<Self, BadField> {
        let members = Members::of(value, "links")?;
        let text = |name, field| Ok(members.text(name, field)?.map(str::to_owned));
        Ok(Link {
            rel: read_rel(members)?,
            href: members.required("href", "links.href")?.to_owned(),
            media_type: text("type", "links.type")?,
            title: text("title", "links.title")?,
            templated: members.flag("templated", "links.templated")?.unwrap_or_default(),
            profile: text("profile", "links.profile")?,
            length: members.number("length", "links.length")?,
            hash: text("hash", "links.hash")?,
            extensions: read_extensions(members.0, &KNOWN),
        })
    }
}

fn read_rel(members: Members<'_>) -> Result<Vec<String>, BadField> {
    const FIELD: &str = "links.rel";
    match members.0.get("rel") {
        None => Err(Fault::Missing.of(FIELD)),
        Some(Value::String(rel)) => Ok(vec![rel.clone()]),
        Some(Value::Array(rels)) => {
            rels.iter().map(|rel| rel.as_str().map(str::to_owned).ok_or(Fault::Type.of(FIELD))).collect()
        }
        Some(_) => Err(Fault::Type.of(FIELD)),
    }
}

/// How the hash of a publication is written. The format says base64, servers write hex, readers take both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashForm {
    /// 64 digits in lower case.
    #[default]
    Hex,
    /// 44 characters.
    Base64,
}

/// A protected publication as its link serves it: encrypted, without a licence in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Where it is.
    pub href: String,
    /// Its media type, that of the protected form.
    pub media_type: String,
    /// Title of the book. Characters that are refused elsewhere are taken out here, since titles come from books.
    pub title: Option<String>,
    /// Its bytes.
    pub length: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// How the hash is written.
    pub hash_form: HashForm,
}

impl Publication {
    /// The link that leads to it.
    #[must_use]
    pub fn link(&self) -> Link {
        let title = self.title.as_deref().map(|title| field::clean(title, TEXT_BYTES_MAX));
        let hash = match self.hash_form {
            HashForm::Hex => hex::encode(self.sha256),
            HashForm::Base64 => STANDARD.encode(self.sha256),
        };
        Link {
            title: title.filter(|title| !title.is_empty()),
            length: Some(self.length),
            hash: Some(hash),
            ..Link::new("publication", &self.href, &self.media_type)
        }
    }
}
