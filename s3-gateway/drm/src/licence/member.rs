//! Members of a document that is read, and the extensions that a writer may add to it.

use super::field::{self, BadField, Fault, ID_BYTES_MAX, INTEGER_MAX, TEXT_BYTES_MAX, UriKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use types::Timestamp;

/// Extensions of one object.
const EXTENSIONS_MAX: usize = 16;

/// A value of an extension: the simple ones of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A whole number, within [`INTEGER_MAX`] on both sides.
    Integer(i64),
    /// True or false.
    Flag(bool),
}

/// Members that the format does not know, by the URI that names each.
pub type Extensions = BTreeMap<String, Scalar>;

/// Whether extensions can stand in a document.
pub(super) fn check_extensions(field: &'static str, extensions: &Extensions) -> Result<(), BadField> {
    if extensions.len() > EXTENSIONS_MAX {
        return Err(Fault::Many { max: EXTENSIONS_MAX }.of(field));
    }
    for (name, value) in extensions {
        field::uri(field, name, UriKind::Any, false)?;
        match value {
            Scalar::Text(text) => field::text(field, text, TEXT_BYTES_MAX)?,
            Scalar::Integer(number) if number.unsigned_abs() > INTEGER_MAX => return Err(Fault::Great.of(field)),
            Scalar::Integer(_) | Scalar::Flag(_) => {}
        }
    }
    Ok(())
}

pub(super) fn write_extensions(extensions: &Extensions, object: &mut Map<String, Value>) {
    for (name, value) in extensions {
        let value = match value {
            Scalar::Text(text) => Value::from(text.as_str()),
            Scalar::Integer(number) => Value::from(*number),
            Scalar::Flag(flag) => Value::from(*flag),
        };
        object.insert(name.clone(), value);
    }
}

/// The members beyond the known ones that are simple. What is not simple stays in the document, and is covered by its signature.
pub(super) fn read_extensions(object: &Map<String, Value>, known: &[&str]) -> Extensions {
    let simple = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => Scalar::Text(text.clone()),
            Value::Bool(flag) => Scalar::Flag(*flag),
            Value::Number(number) => Scalar::Integer(number.as_i64()?),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((name.clone(), value))
    };
    object.iter().filter(|(name, _)| !known.contains(&name.as_str())).filter_map(simple).collect()
}

/// An object that is read, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Members<'a> {
    /// Of a value that has to be an object.
    pub(super) fn of(value: &'a Value, field: &'static str) -> Result<Self, BadField> {
        value.as_object().map(Members).ok_or(Fault::Type.of(field))
    }

    fn get<T>(
        self,
        name: &str,
        field: &'static str,
        of: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, BadField> {
        self.0.get(name).map(|value| of(value).ok_or(Fault::Type.of(field))).transpose()
    }

    pub(super) fn text(self, name: &str, field: &'static str) -> Result<Option<&'a str>, BadField> {
        self.get(name, field, Value::as_str)
    }

    pub(super) fn required(self, name: &str, field: &'static str) -> Result<&'a str, BadField> {
        self.text(name, field)?.ok_or(Fault::Missing.of(field))
    }

    pub(super) fn number(self, name: &str, field: &'static str) -> Result<Option<u64>, BadField> {
        self.get(name, field, Value::as_u64)
    }

    pub(super) fn flag(self, name: &str, field: &'static str) -> Result<Option<bool>, BadField> {
        self.get(name, field, Value::as_bool)
    }

    pub(super) fn object(self, name: &str, field: &'static str) -> Result<Option<Members<'a>>, BadField> {
        self.get(name, field, |value| value.as_object().map(Members))
    }

    pub(super) fn array(self, name: &str, field: &'static str) -> Result<&'a [Value], BadField> {
        Ok(self.get(name, field, |value| value.as_array().map(Vec::as_slice))?.unwrap_or_default())
    }

    pub(super) fn date(self, name: &str, field: &'static str) -> Result<Option<Timestamp>, BadField> {
        let text = self.text(name, field)?;
        text.map(|text| crate::rfc3339::read(text).map_err(|_| Fault::Date.of(field))).transpose()
    }

    /// Required, base64, of a length that an id's ciphertext has.
    pub(super) fn base64(self, name: &str, field: &'static str) -> Result<Vec<u8>, BadField> {
        let text = self.required(name, field)?;
        if text.len() > 4 * ID_BYTES_MAX {
            return Err(Fault::Long { bytes_max: 4 * ID_BYTES_MAX }.of(field));
        }
        STANDARD.decode(text).map_err(|_| Fault::Base64.of(field))
    }
}
