//! A licence that comes from outside: ours as it was kept, or a reader's file.

use super::field::{BadField, Fault};
use super::member::Members;
use super::{CONTENT_KEY_ALGORITHM, DOCUMENT_BYTES_MAX, LINKS_MAX, Link, Reader, Rights, USER_KEY_ALGORITHM, Unsigned};
use crate::canonical::{self, NotJson};
use crate::signature::{BadSignature, Signature};
use crate::{ContentKey, PassphraseHash, Profile, UserKey};
use serde_json::{Map, Value};
use types::Timestamp;

/// What cannot be read as a licence.
#[derive(Debug, thiserror::Error)]
pub enum BadLicence {
    /// Over [`DOCUMENT_BYTES_MAX`].
    #[error("{bytes} bytes are no licence, which has {DOCUMENT_BYTES_MAX} at most")]
    Long {
        /// How many there are.
        bytes: usize,
    },
    /// No JSON that could have been signed.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// A member is missing or of another form.
    #[error(transparent)]
    Field(#[from] BadField),
    /// Its signature cannot be read.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// Why a passphrase does not open a licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotUnlock {
    /// The licence is of another profile.
    #[error("the licence is of another profile")]
    OtherProfile,
    /// The passphrase is not that of the licence.
    #[error("the passphrase is not that of the licence")]
    WrongPassphrase,
    /// The passphrase is right, and what should be the content key is none.
    #[error("the licence holds no content key")]
    NoContentKey,
}

/// What a licence says. Nothing of it is true unless the signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// Its id; ours are [`super::LicenceId`]s.
    pub id: String,
    /// When it was first issued.
    pub issued: Timestamp,
    /// When it last changed, if it has.
    pub updated: Option<Timestamp>,
    /// The store.
    pub provider: String,
    /// URI of the profile.
    pub profile: String,
    /// What reminds the reader of his passphrase.
    pub hint: String,
    /// All links.
    pub links: Vec<Link>,
    /// What the reader may do.
    pub rights: Rights,
    content_key: Vec<u8>,
    key_check: Vec<u8>,
}

impl Terms {
    /// `updated`, or else `issued`: when the certificate had to be valid.
    #[must_use]
    pub fn last_change(&self) -> Timestamp {
        self.updated.unwrap_or(self.issued)
    }

    /// The first link that is for that.
    #[must_use]
    pub fn link(&self, rel: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.is(rel))
    }
}

/// What a passphrase opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlocked {
    /// Opens the publication.
    pub content_key: ContentKey,
    /// Opens what is encrypted of the reader's data.
    pub user_key: UserKey,
}

/// A licence that was read, with everything that it says: also what is not known here is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licence {
    members: Map<String, Value>,
    terms: Terms,
    signature: Signature,
}

impl Licence {
    /// Reads a document. It checks the form and not the signature: that does [`crate::verify::verify`].
    ///
    /// # Errors
    /// [`BadLicence`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadLicence> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(BadLicence::Long { bytes: bytes.len() });
        }
        let Value::Object(members) = canonical::parse(bytes)? else {
            return Err(Fault::Type.of("licence").into());
        };
        let signature = members.get("signature").ok_or(Fault::Missing.of("signature"))?;
        let signature = Signature::read(signature)?;
        let terms = read_terms(Members(&members))?;
        if let Some(user) = Members(&members).object("user", "user")? {
            super::reader::encrypted_names(user)?;
        }
        Ok(Licence { members, terms, signature })
    }

    /// What it says.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Its signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What its signature has to be of: the canonical text of all that was received.
    #[must_use]
    pub fn signed_text(&self) -> String {
        canonical::canonical_object(&self.members, Some("signature")).expect("what was read has a canonical text")
    }

    /// The document as it is, to be signed anew: by a new certificate. `updated` moves only if the certificate asks for it.
    #[must_use]
    pub fn unsigned(&self) -> Option<Unsigned> {
        Unsigned::new(self.unsigned_members()).ok()
    }

    pub(super) fn unsigned_members(&self) -> Map<String, Value> {
        let mut members = self.members.clone();
        members.remove("signature");
        members
    }

    /// How the store calls the reader, unless that is encrypted or not there.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        let user = Members(&self.members).object("user", "user").ok()??;
        let encrypted = super::reader::encrypted_names(user).ok()?.contains("id");
        user.text("id", "user.id").ok()?.filter(|_| !encrypted)
    }

    /// Whom it is for, decrypted; a licence need not say.
    ///
    /// # Errors
    /// [`BadField`]: a field is of another form, or was not encrypted under that key.
    pub fn reader(&self, user_key: &UserKey) -> Result<Option<Reader>, BadField> {
        let user = Members(&self.members).object("user", "user")?;
        user.map(|user| Reader::read(user, user_key)).transpose()
    }

    /// Opens it with the hash of a passphrase. Rights and signature are other questions.
    ///
    /// # Errors
    /// [`CannotUnlock`].
    pub fn unlock(&self, profile: &dyn Profile, passphrase: &PassphraseHash) -> Result<Unlocked, CannotUnlock> {
        if profile.uri() != self.terms.profile {
            return Err(CannotUnlock::OtherProfile);
        }
        let user_key = profile.user_key(passphrase);
        if !user_key.passes(&self.terms.key_check, &self.terms.id) {
            return Err(CannotUnlock::WrongPassphrase);
        }
        let content_key = user_key.unwrap(&self.terms.content_key).map_err(|_| CannotUnlock::NoContentKey)?;
        Ok(Unlocked { content_key, user_key })
    }
}

fn read_terms(members: Members<'_>) -> Result<Terms, BadField> {
    let required = |of: Members<'_>, name, field| of.required(name, field).map(str::to_owned);
    let encryption = members.object("encryption", "encryption")?.ok_or(Fault::Missing.of("encryption"))?;
    let part = |name, field| encryption.object(name, field)?.ok_or(Fault::Missing.of(field));
    let content_key = part("content_key", "encryption.content_key")?;
    let user_key = part("user_key", "encryption.user_key")?;
    if user_key.0.len() != 3 {
        return Err(Fault::Other.of("encryption.user_key"));
    }
    fixed(content_key, CONTENT_KEY_ALGORITHM, "encryption.content_key.algorithm")?;
    fixed(user_key, USER_KEY_ALGORITHM, "encryption.user_key.algorithm")?;
    Ok(Terms {
        id: required(members, "id", "id")?,
        issued: members.date("issued", "issued")?.ok_or(Fault::Missing.of("issued"))?,
        updated: members.date("updated", "updated")?,
        provider: required(members, "provider", "provider")?,
        profile: required(encryption, "profile", "encryption.profile")?,
        hint: required(user_key, "text_hint", "encryption.user_key.text_hint")?,
        links: read_links(members)?,
        rights: members.object("rights", "rights")?.map_or(Ok(Rights::default()), Rights::read)?,
        content_key: content_key.base64("encrypted_value", "encryption.content_key.encrypted_value")?,
        key_check: user_key.base64("key_check", "encryption.user_key.key_check")?,
    })
}

fn fixed(members: Members<'_>, uri: &str, field: &'static str) -> Result<(), BadField> {
    (members.required("algorithm", field)? == uri).then_some(()).ok_or(Fault::Other.of(field))
}

fn read_links(members: Members<'_>) -> Result<Vec<Link>, BadField> {
    let links = members.array("links", "links")?;
    if links.len() > LINKS_MAX {
        return Err(Fault::Many { max: LINKS_MAX }.of("links"));
    }
    let links: Vec<Link> = links.iter().map(Link::read).collect::<Result<_, _>>()?;
    for (rel, field) in [("hint", "links.hint"), ("publication", "links.publication")] {
        links.iter().any(|link| link.is(rel)).then_some(()).ok_or(Fault::Missing.of(field))?;
    }
    Ok(links)
}
