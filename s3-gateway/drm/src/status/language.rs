//! The language of messages.

use super::State;
use serde::{Deserialize, Serialize};

/// Languages of one header that are looked at. Browsers send five.
const LANGUAGES_MAX: usize = 32;

/// A language that messages are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Korean.
    Korean,
    /// English.
    English,
}

impl Language {
    /// The one that a header `Accept-Language` likes best; of two that it likes as well the first, and `otherwise` if it likes none.
    ///
    /// Source: RFC 9110, section 12.5.4.
    #[must_use]
    pub fn accepted(header: &str, otherwise: Language) -> Language {
        let mut best = (0.0, otherwise);
        for range in header.split(',').take(LANGUAGES_MAX) {
            let (tag, weight) = weighed(range);
            let language = match tag.split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "ko" => Language::Korean,
                "en" => Language::English,
                "*" => otherwise,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }

    /// As HTTP calls it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Language::Korean => "ko",
            Language::English => "en",
        }
    }

    pub(super) fn message(self, state: State) -> &'static str {
        match (self, state) {
            (Language::Korean, State::Ready) => "사용할 수 있는 이용권입니다.",
            (Language::Korean, State::Active) => "사용 중인 이용권입니다.",
            (Language::Korean, State::Returned) => "반납한 이용권입니다.",
            (Language::Korean, State::Revoked) => "판매처가 회수한 이용권입니다.",
            (Language::Korean, State::Expired) => "기간이 끝난 이용권입니다.",
            (Language::Korean, State::Cancelled) => "취소된 이용권입니다.",
            (Language::English, State::Ready) => "The licence is ready for use.",
            (Language::English, State::Active) => "The licence is in use.",
            (Language::English, State::Returned) => "The licence was returned.",
            (Language::English, State::Revoked) => "The licence was revoked by its provider.",
            (Language::English, State::Expired) => "The licence has expired.",
            (Language::English, State::Cancelled) => "The licence was cancelled.",
        }
    }
}

/// A language and how much it is liked, from 0 to 1; what is no weight counts as none.
fn weighed(range: &str) -> (&str, f32) {
    let Some((tag, parameter)) = range.split_once(';') else { return (range.trim(), 1.0) };
    let weight = parameter.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    (tag.trim(), weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or_default())
}
