//! What a reader may do, and when.

use super::field::{self, BadField, Fault};
use super::member::{Extensions, Members, check_extensions, read_extensions, write_extensions};
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use types::Timestamp;

const KNOWN: [&str; 4] = ["print", "copy", "start", "end"];

/// The rights of one licence. What is absent is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Pages that may be printed.
    pub print: Option<u64>,
    /// Characters that may be copied.
    pub copy: Option<u64>,
    /// The first moment.
    pub start: Option<Timestamp>,
    /// The last moment. A licence that has one is a loan.
    pub end: Option<Timestamp>,
    /// Members that the format does not know.
    pub extensions: Extensions,
}

/// A time at which a licence does not open its publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideRights {
    /// It opens only from then on.
    #[error("the licence begins on {}", rfc3339::write(*.start))]
    NotYet {
        /// Its first moment.
        start: Timestamp,
    },
    /// It opened until then.
    #[error("the licence ended on {}", rfc3339::write(*.end))]
    Ended {
        /// Its last moment.
        end: Timestamp,
    },
}

impl Rights {
    /// Whether they can stand in a licence. That it ends after it begins is for whoever issues it: one that is returned early does not.
    ///
    /// # Errors
    /// [`BadField`].
    pub fn check(&self) -> Result<(), BadField> {
        self.print.map_or(Ok(()), |pages| field::integer("rights.print", pages))?;
        self.copy.map_or(Ok(()), |characters| field::integer("rights.copy", characters))?;
        check_extensions("rights", &self.extensions)
    }

    pub(super) fn check_order(&self) -> Result<(), BadField> {
        match (self.start, self.end) {
            (Some(start), Some(end)) if end <= start => Err(Fault::Order.of("rights.end")),
            _ => Ok(()),
        }
    }

    /// Whether they hold at that time; the first and the last moment among it.
    ///
    /// # Errors
    /// [`OutsideRights`].
    pub fn hold_at(&self, at: Timestamp) -> Result<(), OutsideRights> {
        if let Some(start) = self.start.filter(|start| at < *start) {
            return Err(OutsideRights::NotYet { start });
        }
        if let Some(end) = self.end.filter(|end| at > *end) {
            return Err(OutsideRights::Ended { end });
        }
        Ok(())
    }

    /// Puts them into an object in place of those that are there; what is there and not simple stays.
    pub(super) fn write(&self, object: &mut Map<String, Value>) {
        for known in KNOWN.iter().map(|name| (*name).to_owned()).chain(read_extensions(object, &KNOWN).into_keys()) {
            object.remove(&known);
        }
        write_extensions(&self.extensions, object);
        for (name, number) in [("print", self.print), ("copy", self.copy)] {
            if let Some(number) = number {
                object.insert(name.to_owned(), Value::from(number));
            }
        }
        for (name, date) in [("start", self.start), ("end", self.end)] {
            if let Some(date) = date {
                object.insert(name.to_owned(), Value::from(rfc3339::write(date)));
            }
        }
    }

    pub(super) fn read(members: Members<'_>) -> Result<Self, BadField> {
        Ok(Rights {
            print: members.number("print", "rights.print")?,
            copy: members.number("copy", "rights.copy")?,
            start: members.date("start", "rights.start")?,
            end: members.date("end", "rights.end")?,
            extensions: read_extensions(members.0, &KNOWN),
        })
    }
}
