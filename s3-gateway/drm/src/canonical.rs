//! The one text of a JSON document that a signature is made of.
//!
//! Members are sorted by code point, arrays keep their order, there is no white space, and of a string only `"`, `\` and U+0000 to U+001F are escaped.
//! Numbers are integers: writers disagree about how others are written, so there are none. What can be written here can be read back, and the other way round.
//!
//! Source: LCP 1.0, section 5.3.

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// How deep arrays and objects may stand in one another. A licence needs four; what is much deeper only tries the stack.
pub const DEPTH_MAX: usize = 16;

/// What has no canonical form here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// A number with a fraction or an exponent, or beyond 64 bits.
    #[error("a number is no integer of 64 bits")]
    Number,
    /// Deeper than [`DEPTH_MAX`].
    #[error("arrays and objects stand in one another more than {DEPTH_MAX} deep")]
    Depth,
}

/// No JSON, or none that has one meaning: a member that stands twice, a number that is no integer, or too deep.
#[derive(Debug, thiserror::Error)]
#[error("no JSON of one meaning")]
pub struct NotJson(#[source] serde_json::Error);

/// Writes the canonical text.
///
/// # Errors
/// [`NotCanonical`].
pub fn canonical(value: &Value) -> Result<String, NotCanonical> {
    let mut out = String::new();
    write_value(value, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// Writes the canonical text of an object, without one of its members if that is named.
///
/// # Errors
/// [`NotCanonical`].
pub fn canonical_object(object: &Map<String, Value>, left_out: Option<&str>) -> Result<String, NotCanonical> {
    let mut out = String::new();
    let members = object.iter().filter(|(name, _)| left_out != Some(name.as_str()));
    write_object(members, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// Reads a document that has a canonical text.
///
/// # Errors
/// [`NotJson`]. Of members of one name readers take different ones, so a signature would cover what some of them do not see.
pub fn parse(bytes: &[u8]) -> Result<Value, NotJson> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: DEPTH_MAX }.deserialize(&mut deserializer).map_err(NotJson)?;
    deserializer.end().map_err(NotJson)?;
    Ok(value)
}

fn write_value(value: &Value, depth: usize, out: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => out.push_str(&number.to_string()),
        Value::Number(_) => return Err(NotCanonical::Number),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => write_array(items, depth, out)?,
        Value::Object(members) => write_object(members.iter(), depth, out)?,
    }
    Ok(())
}

fn write_array(items: &[Value], depth: usize, out: &mut String) -> Result<(), NotCanonical> {
    let depth = depth.checked_sub(1).ok_or(NotCanonical::Depth)?;
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_value(item, depth, out)?;
    }
    out.push(']');
    Ok(())
}

fn write_object<'a>(
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    depth: usize,
    out: &mut String,
) -> Result<(), NotCanonical> {
    let depth = depth.checked_sub(1).ok_or(NotCanonical::Depth)?;
    // `serde_json` sorts only until some crate of the build asks it to keep the order. Bytes of UTF-8 sort as code points do.
    let mut sorted: Vec<_> = members.collect();
    sorted.sort_by_key(|(name, _)| *name);
    out.push('{');
    for (at, (name, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(value, depth, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Reads a value, with so many levels left.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Strict, E> {
        self.depth.checked_sub(1).map(|depth| Strict { depth }).ok_or_else(|| E::custom(NotCanonical::Depth))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom(NotCanonical::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("a member stands twice"));
            }
            let value = members.next_value_seed(deeper)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
