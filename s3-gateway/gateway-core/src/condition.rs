//! Conditions of a read, judged against the object that was found.

use crate::error::{ObjectError, Validators};
use proto::object::TagMatch;
use types::Timestamp;

/// What a client demands of an object before it is read. Times count in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReadCondition {
    /// `If-Match`: strong comparison.
    pub if_match: Option<TagMatch>,
    /// `If-None-Match`.
    pub if_none_match: Option<TagMatch>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// Whether anything is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == ReadCondition::default()
    }

    /// Judges in the order of RFC 9110 section 13.2.2: a tag condition makes the date condition of its side void.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`] or [`ObjectError::NotModified`].
    pub fn check(&self, found: &Validators) -> Result<(), ObjectError> {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !matches(tags, &found.etag) => return Err(ObjectError::PreconditionFailed),
            (None, Some(time)) if found.mtime.secs() > time.secs() => return Err(ObjectError::PreconditionFailed),
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if matches(tags, &found.etag) => Err(ObjectError::NotModified(found.clone())),
            (None, Some(time)) if found.mtime.secs() <= time.secs() => Err(ObjectError::NotModified(found.clone())),
            _ => Ok(()),
        }
    }
}

fn matches(tags: &TagMatch, etag: &str) -> bool {
    match tags {
        TagMatch::Any => true,
        TagMatch::Tags(tags) => tags.iter().any(|tag| tag == etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Option<TagMatch> {
        Some(TagMatch::Tags(vec![text.to_owned()]))
    }

    fn at(secs: i64) -> Option<Timestamp> {
        Some(Timestamp::from_secs(secs, 0))
    }

    fn check(condition: ReadCondition) -> Result<(), ObjectError> {
        condition.check(&Validators { etag: "x".into(), mtime: Timestamp::from_secs(100, 999) })
    }

    #[test]
    fn each_condition_alone() {
        let none = ReadCondition::default;
        let not_modified =
            Err(ObjectError::NotModified(Validators { etag: "x".into(), mtime: Timestamp::from_secs(100, 999) }));
        assert_eq!(check(none()), Ok(()));
        assert_eq!(check(ReadCondition { if_match: tag("x"), ..none() }), Ok(()));
        assert_eq!(check(ReadCondition { if_match: Some(TagMatch::Any), ..none() }), Ok(()));
        assert_eq!(check(ReadCondition { if_match: tag("y"), ..none() }), Err(ObjectError::PreconditionFailed));
        assert_eq!(check(ReadCondition { if_none_match: tag("x"), ..none() }), not_modified);
        assert_eq!(check(ReadCondition { if_none_match: tag("y"), ..none() }), Ok(()));
        assert_eq!(check(ReadCondition { if_modified_since: at(100), ..none() }), not_modified);
        assert_eq!(check(ReadCondition { if_modified_since: at(99), ..none() }), Ok(()));
        assert_eq!(check(ReadCondition { if_unmodified_since: at(100), ..none() }), Ok(()));
        let old = ReadCondition { if_unmodified_since: at(99), ..none() };
        assert_eq!(check(old), Err(ObjectError::PreconditionFailed));
    }

    #[test]
    fn a_tag_makes_the_date_of_its_side_void() {
        let both = ReadCondition { if_match: tag("x"), if_unmodified_since: at(1), ..ReadCondition::default() };
        assert_eq!(check(both), Ok(()));
        let both = ReadCondition { if_none_match: tag("y"), if_modified_since: at(200), ..ReadCondition::default() };
        assert_eq!(check(both), Ok(()));
        let both = ReadCondition { if_match: tag("y"), if_none_match: tag("x"), ..ReadCondition::default() };
        assert_eq!(check(both), Err(ObjectError::PreconditionFailed));
    }
}
