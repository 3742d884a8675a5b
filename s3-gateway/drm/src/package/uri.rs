//! Paths of entries as they are written in documents, and back.
//!
//! Source: RFC 3986; EPUB 3.3, section 4.2.5.

/// A path as a relative reference: in each segment everything but letters, digits, `-`, `.`, `_` and `~` of ASCII is percent-encoded.
pub(crate) fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// The path that a reference stands for; a `%` that begins no code stands for itself. `None` if it is not UTF-8.
pub(crate) fn decode_path(reference: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(reference.len());
    let mut rest = reference.as_bytes();
    while let [first, others @ ..] = rest {
        let code = others.get(..2).filter(|_| *first == b'%').and_then(|code| {
            let digit = |at: usize| char::from(code[at]).to_digit(16);
            Some((digit(0)? * 16 + digit(1)?) as u8)
        });
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &others[2..] } else { others };
    }
    String::from_utf8(bytes).ok()
}

/// The path from the root that `reference` means in the document `from`; `None` if it means nothing in the archive.
///
/// `decode` says whether percent codes are resolved: some books have them in the names themselves.
pub(crate) fn resolve(from: &str, reference: &str, decode: bool) -> Option<String> {
    let reference = reference.split(['#', '?']).next().unwrap_or_default();
    let scheme = reference.split('/').next().unwrap_or_default();
    if reference.is_empty() || scheme.contains(':') || reference.starts_with("//") {
        return None;
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if reference.starts_with('/') { "" } else { folder };
    let mut segments: Vec<&str> = start.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in reference.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    let path = segments.join("/");
    // The folder is a name already, and not to be decoded a second time.
    if !decode {
        return Some(path);
    }
    let kept =
        segments.len() - reference.split('/').filter(|s| !matches!(*s, "" | "." | "..")).count().min(segments.len());
    let (folder, own) = segments.split_at(kept);
    let own = decode_path(&own.join("/"))?;
    Some(folder.iter().copied().chain([own.as_str()]).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_resolved() {
        for (from, reference, path) in [
            ("OEBPS/content.opf", "text/%EC%9E%A5.xhtml#a", Some("OEBPS/text/장.xhtml")),
            ("OEBPS/content.opf", "../a%20b", Some("a b")),
            ("content.opf", "a/./b", Some("a/b")),
            ("content.opf", "../a", None),
            ("content.opf", "http://example.org/a", None),
            ("content.opf", "", None),
            ("100%20/content.opf", "a%20b", Some("100%20/a b")),
            ("x/y/content.opf", "../z/a%25", Some("x/z/a%")),
            ("x/content.opf", "100%", Some("x/100%")),
            ("x/content.opf", "%FF", None),
        ] {
            assert_eq!(resolve(from, reference, true).as_deref(), path, "{reference}");
        }
        assert_eq!(resolve("x/content.opf", "a%20b", false).as_deref(), Some("x/a%20b"));
    }

    proptest! {
        #[test]
        fn paths_come_back(path in ".{0,40}") {
            let encoded = encode_path(&path);
            prop_assert!(encoded.is_ascii());
            prop_assert_eq!(decode_path(&encoded), Some(path));
        }

        #[test]
        fn anything_is_resolved_or_not(from in "[a/%.2]{0,8}", reference in "[a/.%2:#가]{0,12}") {
            let _ = (resolve(&from, &reference, true), resolve(&from, &reference, false));
        }
    }
}
