//! What may stand in a field of a licence.
//!
//! Writers disagree about how control characters, DEL and the two separators U+2028 and U+2029 are escaped, so a signature over them is right for one reader
//! and wrong for another. They are refused wherever they come from outside, and taken out of the titles of books ([`clean`]).

/// Bytes of a text for people: a name, a title, a hint.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Bytes of an id or a media type.
pub const ID_BYTES_MAX: usize = 255;
/// Bytes of a URI; what servers and readers take for certain.
pub const URI_BYTES_MAX: usize = 2048;
/// The greatest number: what readers in JavaScript hold exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A field that a licence cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct BadField {
    /// Where it stands, as the members of the document are called.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is required.
    #[error("is missing")]
    Missing,
    /// It is of another type than the format says.
    #[error("is of another type")]
    Type,
    /// It has no characters.
    #[error("is empty")]
    Empty,
    /// It has more bytes than that.
    #[error("has more than {bytes_max} bytes")]
    Long {
        /// How many it may have.
        bytes_max: usize,
    },
    /// It has a character that writers of JSON escape in different ways.
    #[error("has the character U+{code:04X}")]
    Character {
        /// Which.
        code: u32,
    },
    /// It is no URI of a scheme that may stand there.
    #[error("is no URI of a kind that may stand here")]
    Uri,
    /// It is no media type.
    #[error("is no media type")]
    MediaType,
    /// It is no date.
    #[error("is no date")]
    Date,
    /// It is no base64.
    #[error("is no base64")]
    Base64,
    /// It is greater than [`INTEGER_MAX`].
    #[error("is too great a number")]
    Great,
    /// There are more of them than that.
    #[error("there are more than {max}")]
    Many {
        /// How many there may be.
        max: usize,
    },
    /// It stands there twice.
    #[error("stands there twice")]
    Twice,
    /// It is not what the profile or the format fixes.
    #[error("is another than the format says")]
    Other,
    /// It ends before it begins.
    #[error("is not after the start")]
    Order,
    /// It is encrypted, and the key is not here.
    #[error("is encrypted")]
    Encrypted,
}

impl Fault {
    /// This fault of that field.
    #[must_use]
    pub fn of(self, field: &'static str) -> BadField {
        BadField { field, fault: self }
    }
}

/// A text of 1 to `bytes_max` bytes without any of the characters that are refused.
///
/// # Errors
/// [`Fault::Empty`], [`Fault::Long`], [`Fault::Character`].
pub fn text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), BadField> {
    let fault = if text.is_empty() {
        Fault::Empty
    } else if text.len() > bytes_max {
        Fault::Long { bytes_max }
    } else if let Some(c) = text.chars().find(|c| is_refused(*c)) {
        Fault::Character { code: u32::from(c) }
    } else {
        return Ok(());
    };
    Err(fault.of(field))
}

/// The text without the characters that are refused, and not longer than that.
#[must_use]
pub fn clean(text: &str, bytes_max: usize) -> String {
    let mut cleaned: String = text.chars().filter(|c| !is_refused(*c)).collect();
    cleaned.truncate(cleaned.floor_char_boundary(bytes_max));
    cleaned
}

fn is_refused(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}')
}

/// Which URIs may stand somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriKind {
    /// `http` or `https`.
    Web,
    /// Where help comes from: `http`, `https`, `mailto` or `tel`.
    Support,
    /// Of any scheme.
    Any,
}

/// A URI of that kind; `{` and `}` may stand only in a template. Letters beyond ASCII are taken as they are.
///
/// # Errors
/// [`Fault::Uri`], and those of [`text()`].
pub fn uri(field: &'static str, uri: &str, kind: UriKind, templated: bool) -> Result<(), BadField> {
    text(field, uri, URI_BYTES_MAX)?;
    let (scheme, rest) = uri.split_once(':').ok_or(Fault::Uri.of(field))?;
    let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let fits = match kind {
        UriKind::Web => web,
        UriKind::Support => web || scheme.eq_ignore_ascii_case("mailto") || scheme.eq_ignore_ascii_case("tel"),
        UriKind::Any => is_scheme(scheme),
    };
    let has_host =
        rest.strip_prefix("//").is_some_and(|rest| !rest.starts_with(['/', '?', '#', ':']) && !rest.is_empty());
    let sound = fits && !rest.is_empty() && (!web || has_host) && rest.chars().all(|c| is_of_uri(c, templated));
    sound.then_some(()).ok_or(Fault::Uri.of(field))
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn is_of_uri(c: char, templated: bool) -> bool {
    match c {
        '{' | '}' => templated,
        '"' | '<' | '>' | '\\' | '^' | '`' | '|' => false,
        _ => !c.is_whitespace() && !c.is_control(),
    }
}

/// A media type, with parameters or without.
///
/// # Errors
/// [`Fault::MediaType`], and those of [`text()`].
pub fn media_type(field: &'static str, media_type: &str) -> Result<(), BadField> {
    text(field, media_type, ID_BYTES_MAX)?;
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    let is_token = |part: &str| {
        let of_token = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
        !part.is_empty() && part.chars().all(of_token)
    };
    let sound = media_type.is_ascii() && essence.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b));
    sound.then_some(()).ok_or(Fault::MediaType.of(field))
}

/// A number that every reader holds exactly.
///
/// # Errors
/// [`Fault::Great`].
pub fn integer(field: &'static str, number: u64) -> Result<(), BadField> {
    (number <= INTEGER_MAX).then_some(()).ok_or(Fault::Great.of(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_writers_escape_differently_are_refused() {
        for code in [0, 1, 9, 10, 0x1f, 0x7f, 0x2028, 0x2029] {
            let c = char::from_u32(code).expect("a character");
            let refused = text("name", &format!("a{c}b"), 10).expect_err("refused");
            assert_eq!((refused.field, refused.fault), ("name", Fault::Character { code }));
            assert_eq!(clean(&format!("가{c}나"), 10), "가나");
        }
        assert_eq!(text("name", "독자 \u{80}\u{2027}\u{202a}😀", 30), Ok(()));
        assert_eq!(Fault::Character { code: 10 }.of("user.name").to_string(), "user.name: has the character U+000A");
    }

    #[test]
    fn lengths_are_of_bytes() {
        assert_eq!(text("a", "가", 3), Ok(()));
        assert_eq!(text("a", "가", 2), Err(Fault::Long { bytes_max: 2 }.of("a")));
        assert_eq!(text("a", "", 2), Err(Fault::Empty.of("a")));
        assert_eq!(clean("가나다", 8), "가나");
    }

    #[test]
    fn uris_are_of_the_kind_that_may_stand_there() {
        let takes = |text: &str, kind| uri("href", text, kind, false).is_ok();
        for text in ["https://store.example", "HTTP://store.example:8080/a?b=c#d", "https://저장.example/책"] {
            assert!(takes(text, UriKind::Web) && takes(text, UriKind::Support) && takes(text, UriKind::Any), "{text}");
        }
        for text in ["mailto:help@store.example", "tel:+8221234567"] {
            assert!(!takes(text, UriKind::Web) && takes(text, UriKind::Support) && takes(text, UriKind::Any), "{text}");
        }
        assert!(takes("urn:example:a", UriKind::Any) && !takes("urn:example:a", UriKind::Support));
        for text in [
            "store",
            "https:",
            "https://",
            "https:///a",
            "https://:80/",
            "//a",
            ":a",
            "1a:b",
            "javascript:x y",
            "http:a",
            "data:<a>",
        ] {
            assert!(!takes(text, UriKind::Any), "{text}");
        }
        let template = "https://store.example/renew{?end,id,name}";
        assert!(!takes(template, UriKind::Web) && uri("href", template, UriKind::Web, true).is_ok());
    }

    #[test]
    fn media_types_have_two_parts() {
        for text in ["text/html", "application/vnd.readium.lcp.license.v1.0+json", "text/html; charset=utf-8"] {
            assert_eq!(media_type("type", text), Ok(()), "{text}");
        }
        for text in ["text", "/", "a/", "a b/c", "한/글", "a/b/c"] {
            assert_eq!(media_type("type", text), Err(Fault::MediaType.of("type")), "{text}");
        }
    }
}
