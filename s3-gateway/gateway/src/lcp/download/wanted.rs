//! Ranges and conditions of a request.
//!
//! Source: RFC 9110, sections 13 and 14. What cannot be understood is as if it were not there, and of several ranges at once all are: the whole is sent.

use super::super::call::Call;
use crate::convert::from_time;
use gateway_core::lcp::Wanted;
use gateway_core::{ByteRange, IfRange, ReadCondition, TagMatch};
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use s3s::dto::{self, TimestampFormat};
use types::Timestamp;

/// What a request asks for of a file.
pub(super) fn wanted(call: &Call) -> Wanted {
    let date = |name| call.header(name).and_then(date);
    Wanted {
        condition: ReadCondition {
            if_match: call.header(&IF_MATCH).map(|text| tags(text, Comparison::Strong)),
            if_none_match: call.header(&IF_NONE_MATCH).map(|text| tags(text, Comparison::Weak)),
            if_modified_since: date(&IF_MODIFIED_SINCE),
            if_unmodified_since: date(&IF_UNMODIFIED_SINCE),
        },
        range: call.header(&RANGE).and_then(range),
        if_range: call.header(&IF_RANGE).map(if_range),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// The tags of a list, without quotes. A weak one is never the same as another if they are compared strongly.
fn tags(text: &str, comparison: Comparison) -> TagMatch {
    if text.trim() == "*" {
        return TagMatch::Any;
    }
    // Ours have no commas.
    let tag = |text: &str| match text.trim().strip_prefix("W/") {
        Some(_) if comparison == Comparison::Strong => None,
        Some(weak) => Some(weak.trim_matches('"').to_owned()),
        None => Some(text.trim().trim_matches('"').to_owned()),
    };
    TagMatch::Tags(text.split(',').filter_map(tag).collect())
}

fn if_range(text: &str) -> IfRange {
    // A weak tag stays what it is: no tag of ours looks so.
    date(text).map_or_else(|| IfRange::Tag(text.trim_matches('"').to_owned()), IfRange::Date)
}

fn date(text: &str) -> Option<Timestamp> {
    from_time(&dto::Timestamp::parse(TimestampFormat::HttpDate, text).ok()?)
}

fn range(text: &str) -> Option<ByteRange> {
    let (unit, spec) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        // The parser takes a sign.
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", "") => None,
        ("", suffix) => Some(ByteRange::Suffix(number(suffix)?)),
        (first, "") => Some(ByteRange::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::FromTo { first, last })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_anything_else_is_the_whole() {
        assert_eq!(range("bytes=0-9"), Some(ByteRange::FromTo { first: 0, last: 9 }));
        assert_eq!(range("BYTES= 5-"), Some(ByteRange::From(5)));
        assert_eq!(range("bytes=-7"), Some(ByteRange::Suffix(7)));
        let huge = "9".repeat(40);
        assert_eq!(range(&format!("bytes=1-{huge}")), Some(ByteRange::FromTo { first: 1, last: u64::MAX }));
        for text in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-", "bytes=9-1", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2"]
        {
            assert_eq!(range(text), None, "{text:?}");
        }
    }

    #[test]
    fn weak_tags_are_the_same_only_if_that_is_enough() {
        let list = "W/\"a\", \"b\"";
        assert_eq!(tags(list, Comparison::Strong), TagMatch::Tags(vec!["b".into()]));
        assert_eq!(tags(list, Comparison::Weak), TagMatch::Tags(vec!["a".into(), "b".into()]));
        assert_eq!(tags(" * ", Comparison::Strong), TagMatch::Any);
        assert_eq!(if_range("\"a\""), IfRange::Tag("a".into()));
        assert_eq!(if_range("W/\"a\""), IfRange::Tag("W/\"a".into()));
        let date = IfRange::Date(Timestamp::from_secs(784_111_777, 0));
        assert_eq!(if_range("Sun, 06 Nov 1994 08:49:37 GMT"), date);
    }
}
