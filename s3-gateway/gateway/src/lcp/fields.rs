//! Members of a document that a store sends.
//!
//! What is `null` counts as not there, and what is not known is passed over, as the reference servers do. Of what is wrong only the name is told: values may be
//! secrets.

use super::problem::Problem;
use drm::licence::{Extensions, Scalar};
use drm::rfc3339;
use serde_json::{Map, Value};
use types::Timestamp;
use zeroize::Zeroizing;

/// An object that is taken apart.
pub(super) struct Fields {
    name: &'static str,
    members: Map<String, Value>,
}

fn wrong(of: &str, name: &str, what: &str) -> Problem {
    let dot = if of.is_empty() { "" } else { "." };
    Problem::bad(format!("{of}{dot}{name} is {what}"))
}

impl Fields {
    /// Of a whole body.
    pub(super) fn of(body: Value) -> Result<Self, Problem> {
        Fields::named("", body)
    }

    fn named(name: &'static str, value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(members) => Ok(Fields { name, members }),
            _ => Err(wrong("", if name.is_empty() { "the body" } else { name }, "no object")),
        }
    }

    /// A problem with one member.
    pub(super) fn wrong(&self, name: &str, what: &str) -> Problem {
        wrong(self.name, name, what)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "no text")),
        }
    }

    /// A text that has to be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Problem> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.wrong(name, "missing"))
    }

    /// A text that is wiped from memory.
    pub(super) fn secret(&mut self, name: &str) -> Result<Option<Zeroizing<String>>, Problem> {
        Ok(self.text(name)?.map(Zeroizing::new))
    }

    /// A limit: a negative one is none.
    pub(super) fn limit(&mut self, name: &str) -> Result<Option<Option<u64>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.as_u64())),
            Some(_) => Err(self.wrong(name, "no whole number")),
        }
    }

    /// A date: one before 1970, such as the zero of some languages, is none.
    pub(super) fn date(&mut self, name: &str) -> Result<Option<Option<Timestamp>>, Problem> {
        let Some(text) = self.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let at = rfc3339::read(&text).map_err(|_| self.wrong(name, "no date of RFC 3339"))?;
        Ok(Some((at.0 > 0).then_some(at)))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(name, "neither true nor false")),
        }
    }

    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Fields>, Problem> {
        self.take(name).map(|value| Fields::named(name, value)).transpose()
    }

    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => Err(self.wrong(name, "no list")),
        }
    }

    /// A list of texts, or a single one.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        if let Some(Value::String(_)) = self.members.get(name) {
            return Ok(self.text(name)?.map(|text| vec![text]));
        }
        let Some(values) = self.array(name)? else { return Ok(None) };
        let text =
            |value| if let Value::String(text) = value { Ok(text) } else { Err(self.wrong(name, "no list of texts")) };
        values.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// What is left and has a URI for its name: members that the format leaves to others.
    pub(super) fn extensions(self) -> Result<Extensions, Problem> {
        let mut extensions = Extensions::new();
        for (name, value) in self.members.into_iter().filter(|(name, _)| name.contains(':')) {
            let value = match value {
                Value::String(text) => Scalar::Text(text),
                Value::Bool(flag) => Scalar::Flag(flag),
                Value::Number(number) => Scalar::Integer(number.as_i64().ok_or_else(|| simple(self.name))?),
                Value::Null => continue,
                Value::Array(_) | Value::Object(_) => return Err(simple(self.name)),
            };
            extensions.insert(name, value);
        }
        Ok(extensions)
    }
}

fn simple(of: &str) -> Problem {
    wrong(of, "an extension", "no text, whole number, true or false")
}

/// Each as an object.
pub(super) fn objects(name: &'static str, values: Vec<Value>) -> Result<Vec<Fields>, Problem> {
    values.into_iter().map(|value| Fields::named(name, value)).collect()
}
