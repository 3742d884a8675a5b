//! Whom a licence is for.

use super::field::{self, BadField, Fault, ID_BYTES_MAX, TEXT_BYTES_MAX};
use super::member::{Extensions, Members, Scalar, check_extensions, read_extensions, write_extensions};
use crate::{Entropy, UserKey, cipher};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

const KNOWN: [&str; 4] = ["id", "email", "name", "encrypted"];
/// Fields that may be encrypted; more than there are members cannot be.
const ENCRYPTED_MAX: usize = 24;

/// A reader, in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Reader {
    /// How the store calls him.
    pub id: String,
    /// His address.
    pub email: Option<String>,
    /// His name.
    pub name: Option<String>,
    /// Members that the format does not know.
    pub extensions: Extensions,
    /// Which of these are encrypted under his user key. Names of what is not there do nothing.
    pub encrypted: BTreeSet<String>,
}

impl Reader {
    /// A reader of whom only the id is known. Name and address are encrypted once they are there.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Reader {
            id: id.to_owned(),
            email: None,
            name: None,
            extensions: Extensions::new(),
            encrypted: ["email", "name"].map(str::to_owned).into(),
        }
    }

    pub(super) fn check(&self) -> Result<(), BadField> {
        field::text("user.id", &self.id, ID_BYTES_MAX)?;
        self.email.as_deref().map_or(Ok(()), |text| field::text("user.email", text, TEXT_BYTES_MAX))?;
        self.name.as_deref().map_or(Ok(()), |text| field::text("user.name", text, TEXT_BYTES_MAX))?;
        check_extensions("user", &self.extensions)?;
        if self.encrypted.contains("encrypted") {
            return Err(Fault::Other.of("user.encrypted"));
        }
        Ok(())
    }

    /// The `user` of a licence.
    ///
    /// # Errors
    /// [`Fault::Type`] of `user.encrypted`: only a text can be encrypted.
    pub(super) fn to_json(&self, key: &UserKey, entropy: &mut dyn Entropy) -> Result<Value, BadField> {
        let mut object = Map::new();
        write_extensions(&self.extensions, &mut object);
        for (name, text) in [("id", Some(&self.id)), ("email", self.email.as_ref()), ("name", self.name.as_ref())] {
            if let Some(text) = text {
                object.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        let mut encrypted = Vec::new();
        for name in &self.encrypted {
            let Some(value) = object.get_mut(name) else { continue };
            let plain = value.as_str().ok_or(Fault::Type.of("user.encrypted"))?;
            *value = STANDARD.encode(cipher::encrypt(key.expose(), plain.as_bytes(), entropy)).into();
            encrypted.push(name.as_str());
        }
        if !encrypted.is_empty() {
            object.insert("encrypted".to_owned(), Value::from(encrypted));
        }
        Ok(Value::Object(object))
    }

    /// Reads the `user` of a licence with the key of the reader.
    pub(super) fn read(members: Members<'_>, key: &UserKey) -> Result<Self, BadField> {
        let encrypted = encrypted_names(members)?;
        let plain = |name: &str, field, text: &str| {
            if !encrypted.contains(name) {
                return Ok(text.to_owned());
            }
            let ciphertext = STANDARD.decode(text).map_err(|_| Fault::Base64.of(field))?;
            let bytes = cipher::decrypt(key.expose(), &ciphertext).map_err(|_| Fault::Encrypted.of(field))?;
            String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Encrypted.of(field))
        };
        let known = |name, field| members.text(name, field)?.map(|text| plain(name, field, text)).transpose();
        let mut extensions = read_extensions(members.0, &KNOWN);
        for (name, value) in &mut extensions {
            if let Scalar::Text(text) = value {
                *text = plain(name, "user", text)?;
            }
        }
        Ok(Reader {
            id: known("id", "user.id")?.unwrap_or_default(),
            email: known("email", "user.email")?,
            name: known("name", "user.name")?,
            extensions,
            encrypted,
        })
    }
}

/// The names in `user.encrypted`.
pub(super) fn encrypted_names(members: Members<'_>) -> Result<BTreeSet<String>, BadField> {
    const FIELD: &str = "user.encrypted";
    let names = members.array("encrypted", FIELD)?;
    if names.len() > ENCRYPTED_MAX {
        return Err(Fault::Many { max: ENCRYPTED_MAX }.of(FIELD));
    }
    names.iter().map(|name| name.as_str().map(str::to_owned).ok_or(Fault::Type.of(FIELD))).collect()
}

impl fmt::Debug for Reader {
    /// Not the name and the address: they do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("id", &self.id).finish_non_exhaustive()
    }
}
