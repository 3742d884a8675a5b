//! Walks through an XML document. Nothing outside of it is ever looked at, and no entity is expanded but the five of XML itself.
//!
//! Names of elements are seen without their prefixes: the documents of a book are known by where they are, and whoever made them chose the prefixes.

use crate::zip::Limits;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// A document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not UTF-8. Other encodings are allowed by XML, but hardly seen in books.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not well-formed.
    #[error("not well-formed, near byte {0}")]
    Malformed(u64),
    /// A document type with declarations of its own.
    #[error("the document type has declarations of its own")]
    Declarations,
    /// An entity that XML does not know by itself.
    #[error("the entity {0:?} is not known")]
    Entity(String),
    /// Elements deeper than [`Limits::document_depth`].
    #[error("elements nest deeper than {0}")]
    TooDeep(usize),
    /// An element with more than [`Limits::attributes`].
    #[error("an element has more than {0} attributes")]
    TooManyAttributes(usize),
}

/// The beginning of an element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    /// Without its prefix.
    pub(crate) name: String,
    /// With their prefixes.
    attributes: Vec<(String, String)>,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a document consists of.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Open(&'a Element),
    /// Text, in pieces: a reference is a piece of its own.
    Text(&'a str),
    /// Of the element of that name; its end tag, if it has one, is at that byte.
    Close(&'a str, usize),
}

/// The text of a document, without the mark that may stand before it.
pub(crate) fn text_of(document: &[u8]) -> Result<&str, XmlError> {
    let text = std::str::from_utf8(document).map_err(|_| XmlError::NotUtf8)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Shows each node to `see`, with the number of elements around it.
pub(crate) fn walk(text: &str, limits: &Limits, mut see: impl FnMut(usize, Node<'_>)) -> Result<(), XmlError> {
    let mut reader = Reader::from_str(text);
    let (mut depth, mut roots) = (0usize, 0usize);
    loop {
        let at = reader.buffer_position();
        let malformed = || XmlError::Malformed(at);
        let event = reader.read_event().map_err(|_| malformed())?;
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                roots += usize::from(depth == 0);
                if depth == limits.document_depth {
                    return Err(XmlError::TooDeep(depth));
                }
                let element = element_of(start, limits, at)?;
                see(depth, Node::Open(&element));
                if matches!(event, Event::Empty(_)) {
                    see(depth, Node::Close(&element.name, at as usize));
                } else {
                    depth += 1;
                }
            }
            Event::End(end) => {
                depth = depth.checked_sub(1).ok_or_else(malformed)?;
                let name = end.local_name();
                see(depth, Node::Close(utf8(name.as_ref(), at)?, at as usize));
            }
            Event::Text(text) if depth == 0 && !text.trim_ascii().is_empty() => return Err(malformed()),
            Event::Text(text) => see(depth, Node::Text(utf8(text, at)?)),
            Event::CData(text) => see(depth, Node::Text(utf8(text, at)?)),
            Event::GeneralRef(reference) => {
                let name = utf8(reference, at)?;
                let mut letter = [0; 4];
                let resolved = match reference.resolve_char_ref().map_err(|_| malformed())? {
                    Some(char) => Some(&*char.encode_utf8(&mut letter)),
                    None => quick_xml::escape::resolve_predefined_entity(name),
                };
                see(depth, Node::Text(resolved.ok_or_else(|| XmlError::Entity(name.to_owned()))?));
            }
            Event::DocType(doctype) if doctype.contains(&b'[') => return Err(XmlError::Declarations),
            Event::DocType(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof if depth == 0 && roots == 1 => return Ok(()),
            Event::Eof => return Err(malformed()),
        }
    }
}

fn utf8(bytes: &[u8], at: u64) -> Result<&str, XmlError> {
    std::str::from_utf8(bytes).map_err(|_| XmlError::Malformed(at))
}

fn element_of(start: &BytesStart<'_>, limits: &Limits, at: u64) -> Result<Element, XmlError> {
    let mut element = Element { name: utf8(start.local_name().as_ref(), at)?.to_owned(), attributes: Vec::new() };
    for attribute in start.attributes() {
        if element.attributes.len() == limits.attributes {
            return Err(XmlError::TooManyAttributes(limits.attributes));
        }
        let attribute = attribute.map_err(|_| XmlError::Malformed(at))?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| match error {
            quick_xml::Error::Escape(quick_xml::escape::EscapeError::UnrecognizedEntity(_, name)) => {
                XmlError::Entity(name)
            }
            _ => XmlError::Malformed(at),
        })?;
        element.attributes.push((utf8(attribute.key.as_ref(), at)?.to_owned(), value.into_owned()));
    }
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(text: &str) -> Result<String, XmlError> {
        let mut seen = String::new();
        walk(text_of(text.as_bytes())?, &Limits::default(), |depth, node| match node {
            Node::Open(element) => seen += &format!("{depth}<{}{:?}", element.name, element.attributes),
            Node::Text(text) => seen += text,
            Node::Close(name, at) => seen += &format!("{depth}>{name}@{at}"),
        })?;
        Ok(seen)
    }

    #[test]
    fn a_document_is_seen_in_order() {
        let document = "\u{feff}<?xml version='1.0'?><!DOCTYPE a PUBLIC 'x' 'y.dtd'><a:b c='1&amp;&#xAC00;'>책&lt;<d/><![CDATA[&x;]]></a:b>";
        let expected = r#"0<b[("c", "1&가")]책<1<d[]1>d@80&x;0>b@102"#;
        let at = |what: &str| document.trim_start_matches('\u{feff}').find(what).expect("there").to_string();
        let expected = expected.replace("@80", &format!("@{}", at("<d/>"))).replace("@102", &format!("@{}", at("</a")));
        assert_eq!(seen(document), Ok(expected));
    }

    #[test]
    fn entities_are_not_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>";
        assert_eq!(seen(bomb), Err(XmlError::Declarations));
        assert_eq!(seen("<a>&b;</a>"), Err(XmlError::Entity("b".into())));
        assert_eq!(seen("<a b='&c;'/>"), Err(XmlError::Entity("c".into())));
        assert_eq!(seen("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a>&xxe;</a>"), Err(XmlError::Entity("xxe".into())));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for document in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>text",
            "<a b='1' b='2'/>",
            "<a b=1/>",
            "<a",
            "<a>&#0;</a>",
            "<a>&</a>",
        ] {
            assert!(matches!(seen(document), Err(XmlError::Malformed(_))), "{document:?}");
        }
        assert_eq!(text_of(b"\xff\xfe<\0"), Err(XmlError::NotUtf8));
    }

    #[test]
    fn depth_and_attributes_are_limited() {
        assert_eq!(seen(&"<a>".repeat(100_000)), Err(XmlError::TooDeep(128)));
        let many: String = (0..65).map(|i| format!(" a{i}=''")).collect();
        assert_eq!(seen(&format!("<a{many}/>")), Err(XmlError::TooManyAttributes(64)));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(document in "[<>/a&;='\"!\\[\\]?\\- #x1]{0,60}", any in ".{0,30}") {
            let _ = seen(&document);
            let _ = seen(&any);
        }
    }
}
