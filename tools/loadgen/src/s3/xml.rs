//! The little XML that a listing and an error need: text between two tags, entities resolved.

/// The text of the first element of that name.
pub(super) fn first(xml: &str, name: &str) -> Option<String> {
    all(xml, name).next()
}

/// The text of every element of that name.
pub(super) fn all<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = String> + 'a {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let end = start + rest[start..].find(&close)?;
        let text = unescape(&rest[start..end]);
        rest = &rest[end + close.len()..];
        Some(text)
    })
}

fn unescape(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#xD;", "\r"),
    ];
    let replaced = named.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain));
    replaced.replace("&amp;", "&")
}

/// Escapes text for the body of a request.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_order() {
        let xml = "<L><IsTruncated>true</IsTruncated><Contents><Key>a&amp;lt;b</Key></Contents><Contents><Key>c</Key></Contents></L>";
        assert_eq!(all(xml, "Key").collect::<Vec<_>>(), ["a&lt;b", "c"]);
        assert_eq!(first(xml, "IsTruncated").as_deref(), Some("true"));
        assert_eq!(first(xml, "Nothing"), None);
        assert_eq!(unescape(&escape("<a&b>")), "<a&b>");
    }
}
