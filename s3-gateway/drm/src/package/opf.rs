//! The package document of an EPUB, as far as protection needs it: the title, and what each resource is.
//!
//! Source: EPUB 3.3, section 5; OPF 2.0.1; LCP 1.0, section 2.3.

use super::uri::resolve;
use super::xml::{Element, Node, XmlError, text_of, walk};
use crate::zip::Limits;
use std::collections::BTreeMap;

/// Media types that a reading system needs before it has a licence.
const CLEAR_TYPES: [&str; 2] = ["application/x-dtbncx+xml", "application/oebps-page-map+xml"];

/// A resource that the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) media_type: String,
    /// It stays readable without a licence.
    pub(super) clear: bool,
    pub(super) cover: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Opf {
    pub(super) title: Option<String>,
    /// By path. A reference with percent codes stands here twice, once as it is: it may be a name.
    pub(super) items: BTreeMap<String, Item>,
}

#[derive(Default)]
struct Reading {
    title: Option<String>,
    in_title: bool,
    /// Id and reference.
    items: Vec<(Option<String>, String, Item)>,
    cover_id: Option<String>,
}

/// Reads the package document at `path`. That the files it names exist is not asked: real books name some that do not.
pub(super) fn read(path: &str, document: &[u8], limits: &Limits) -> Result<Opf, XmlError> {
    let mut reading = Reading::default();
    walk(text_of(document)?, limits, |_, node| reading.see(&node))?;
    let mut opf = Opf { title: reading.title.as_deref().and_then(clean_title), items: BTreeMap::new() };
    // The decoded form wins where both name something.
    for decode in [false, true] {
        for (id, reference, item) in &reading.items {
            let cover = item.cover || (id.is_some() && *id == reading.cover_id);
            if let Some(path) = resolve(path, reference, decode) {
                opf.items.insert(path, Item { cover, clear: item.clear || cover, ..item.clone() });
            }
        }
    }
    Ok(opf)
}

impl Reading {
    fn see(&mut self, node: &Node<'_>) {
        match node {
            Node::Open(element) => self.open(element),
            Node::Text(text) if self.in_title => {
                self.title.get_or_insert_default().push_str(text);
            }
            Node::Close("title", _) => self.in_title = false,
            Node::Text(_) | Node::Close(..) => {}
        }
    }

    fn open(&mut self, element: &Element) {
        match element.name.as_str() {
            "title" => self.in_title = self.title.is_none(),
            "meta" if element.attribute("name") == Some("cover") => {
                self.cover_id = element.attribute("content").map(str::to_owned);
            }
            "item" => self.items.extend(item_of(element)),
            _ => {}
        }
    }
}

fn item_of(element: &Element) -> Option<(Option<String>, String, Item)> {
    let properties = element.attribute("properties").unwrap_or_default();
    let has = |property| properties.split_ascii_whitespace().any(|token| token == property);
    let media_type = element.attribute("media-type").unwrap_or_default().trim().to_ascii_lowercase();
    let cover = has("cover-image");
    let clear = cover || has("nav") || CLEAR_TYPES.contains(&media_type.as_str());
    let id = element.attribute("id").map(str::to_owned);
    Some((id, element.attribute("href")?.trim().to_owned(), Item { media_type, clear, cover }))
}

/// A title without what a licence may not hold, and without needless white space; `None` if nothing is left.
pub(super) fn clean_title(title: &str) -> Option<String> {
    let kept = title.replace(|char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}'), " ");
    let title = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opf(rest: &str) -> Opf {
        let document =
            format!("<?xml version='1.0'?><package xmlns:dc='http://purl.org/dc/elements/1.1/'>{rest}</package>");
        read("OEBPS/content.opf", document.as_bytes(), &Limits::default()).expect("well-formed")
    }

    #[test]
    fn what_a_reader_needs_without_a_licence_stays_clear() {
        let opf = opf("<metadata><dc:title>\n 책 &amp;\t이야기\u{2028} </dc:title><dc:title>second</dc:title>
            <meta name='cover' content='img'/></metadata><manifest>
            <item id='nav' href='nav.xhtml' media-type='application/xhtml+xml' properties='scripted nav'/>
            <item id='not' href='navy.xhtml' media-type='application/xhtml+xml' properties='navy svg'/>
            <item id='ncx' href='toc.ncx' media-type='application/x-dtbncx+xml'/>
            <item id='map' href='map.xml' media-type='application/oebps-page-map+xml'/>
            <item id='c3' href='c3.png' media-type='image/png' properties='cover-image'/>
            <item id='img' href='../%ED%91%9C%EC%A7%80.jpg' media-type='image/jpeg'/>
            <item id='far' href='https://example.org/x.mp3' media-type='audio/mpeg'/>
            <item id='none' media-type='audio/mpeg'/></manifest>");
        assert_eq!(opf.title.as_deref(), Some("책 & 이야기"));
        let clear: Vec<_> = opf.items.iter().filter(|(_, item)| item.clear).map(|(path, _)| path.as_str()).collect();
        let expected =
            ["%ED%91%9C%EC%A7%80.jpg", "OEBPS/c3.png", "OEBPS/map.xml", "OEBPS/nav.xhtml", "OEBPS/toc.ncx", "표지.jpg"];
        assert_eq!(clear, expected);
        assert!(opf.items["표지.jpg"].cover && !opf.items["OEBPS/navy.xhtml"].clear);
        assert_eq!(opf.items.len(), 7);
    }

    #[test]
    fn a_book_may_have_no_title() {
        assert_eq!(opf("<metadata><dc:title> \n </dc:title></metadata>").title, None);
        assert_eq!(opf("").title, None);
    }
}
