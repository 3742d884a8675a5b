//! Names of files in headers.
//!
//! Source: RFC 6266, RFC 8187.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a value of RFC 8187.
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// Bytes of a name. File systems take 255; an encoded byte takes three.
const NAME_BYTES_MAX: usize = 240;

/// A file that is to be saved under a name: as it is, and for old programs without what is not ASCII.
pub(super) fn attachment(name: &str) -> String {
    let name = shortened(name);
    let plain = |char: char| char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '%' | '/') || char == ' ';
    let fallback: String = name.chars().map(|char| if plain(char) { char } else { '_' }).collect();
    if fallback == name {
        return format!("attachment; filename=\"{name}\"");
    }
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, ATTRIBUTE))
}

/// A name that file systems take, with its extension.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let room = NAME_BYTES_MAX.saturating_sub(extension.len() + 1);
    format!("{}.{extension}", &stem[..stem.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_korean_ones_encoded() {
        assert_eq!(attachment("a b.epub"), "attachment; filename=\"a b.epub\"");
        assert_eq!(attachment("별 1.epub"), "attachment; filename=\"_ 1.epub\"; filename*=UTF-8''%EB%B3%84%201.epub");
        let hostile = attachment("a\"; filename=evil.exe\r\nX: 1\\.epub");
        assert!(
            hostile.starts_with("attachment; filename=\"a_; filename=evil.exe__X: 1_.epub\"; filename*=UTF-8''a%22%3B")
        );
        assert!(!hostile.contains(['\r', '\n', '\\']));
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = attachment(&format!("{}.epub", "책".repeat(400)));
        assert!(long.ends_with(".epub") && long.len() < 1200, "{}", long.len());
    }

    #[test]
    fn keys_in_addresses_keep_their_slashes() {}
}
