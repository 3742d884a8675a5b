//! Books made up for the tests, good ones and hostile ones.

use drm::zip::{Method, NewEntry, Writer};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::Write as _;

/// Name, data, whether it is deflated.
pub type Entries = Vec<(String, Vec<u8>, bool)>;

const CONTAINER: &str = "<?xml version='1.0'?><container version='1.0' xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>\
<rootfile full-path='OEBPS/content.opf' media-type='application/oebps-package+xml'/></rootfiles></container>";
const OPF: &str = "<?xml version='1.0'?><package xmlns='http://www.idpf.org/2007/opf' version='3.0'><metadata xmlns:dc='http://purl.org/dc/elements/1.1/'>\
<dc:title>별 헤는 밤</dc:title></metadata><manifest><item id='nav' href='nav.xhtml' media-type='application/xhtml+xml' properties='nav'/>\
<item id='c1' href='%EC%A0%9C%201%20%EC%9E%A5.xhtml' media-type='application/xhtml+xml'/>\
<item id='png' href='noise.png' media-type='image/png'/></manifest></package>";

/// Bytes that no Deflate makes smaller, other ones for every seed.
#[must_use]
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// A picture, by its first bytes.
#[must_use]
pub fn picture(bytes: usize, seed: u64) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n".as_slice(), &noise(bytes, seed)].concat()
}

/// An archive.
///
/// # Panics
/// A name is none that an archive can have.
#[must_use]
pub fn zip(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for (name, data, deflated) in entries {
        let entry = NewEntry::stored(name, data);
        let done = if *deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(data).expect("memory");
            let kept = encoder.finish().expect("memory");
            writer.add(&NewEntry { method: Method::Deflated, compressed: kept.len() as u64, ..entry }, &kept)
        } else {
            writer.add(&entry, data)
        };
        done.expect("memory");
    }
    writer.finish().expect("memory");
    out
}

fn entry(name: &str, data: impl Into<Vec<u8>>, deflated: bool) -> (String, Vec<u8>, bool) {
    (name.to_owned(), data.into(), deflated)
}

/// What the EPUB has. The text tells `edition`.
#[must_use]
pub fn epub_entries(edition: &str) -> Entries {
    let text = format!("<p>계절이 지나가는 하늘에는 {edition} 가득 차 있습니다.</p>").repeat(2_000);
    vec![
        entry("mimetype", "application/epub+zip", false),
        entry("META-INF/container.xml", CONTAINER, true),
        entry("OEBPS/content.opf", OPF, true),
        entry("OEBPS/nav.xhtml", "<nav/>", true),
        entry("OEBPS/제 1 장.xhtml", text, true),
        entry("OEBPS/noise.png", picture(300_000, 1), false),
        entry("OEBPS/forgotten.bin", noise(70_000, 2), false),
    ]
}

/// An EPUB.
#[must_use]
pub fn epub(edition: &str) -> Vec<u8> {
    zip(&epub_entries(edition))
}

/// An EPUB with one entry in place of the one of that name, or more.
#[must_use]
pub fn epub_with(name: &str, data: &[u8]) -> Vec<u8> {
    let mut entries = epub_entries("가을로");
    match entries.iter_mut().find(|entry| entry.0 == name) {
        Some(entry) => entry.1 = data.to_vec(),
        None => entries.push(entry(name, data, true)),
    }
    zip(&entries)
}

/// What the comic has, not in the order in which it is read.
#[must_use]
pub fn comic_entries(page_bytes: usize) -> Entries {
    vec![
        entry("책/10쪽.png", picture(page_bytes, 10), false),
        entry("책/2쪽.png", picture(page_bytes, 2), true),
        entry("책/1 쪽 & %.png", picture(page_bytes, 3), false),
        entry("ComicInfo.xml", "<ComicInfo/>", true),
    ]
}

/// A comic of three pages.
#[must_use]
pub fn comic(page_bytes: usize) -> Vec<u8> {
    zip(&comic_entries(page_bytes))
}

/// A PDF of so many pages.
#[must_use]
pub fn pdf(pages: usize) -> Vec<u8> {
    let mut pdf = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n".to_vec();
    pdf.extend(format!("2 0 obj\n<</Type/Pages/Kids[]/Count {pages}>>\nendobj\n").bytes());
    for page in 0..pages {
        let (own, content) = (2 * page + 3, 2 * page + 4);
        pdf.extend(format!("{own} 0 obj\n<</Type/Page/Parent 2 0 R/Contents {content} 0 R>>\nendobj\n").bytes());
        let text = noise(5_000, page as u64);
        pdf.extend(format!("{content} 0 obj\n<</Length {}>>\nstream\n", text.len()).bytes());
        pdf.extend(text);
        pdf.extend(b"\nendstream\nendobj\n");
    }
    pdf.extend(b"trailer\n<</Root 1 0 R>>\n%%EOF\n");
    pdf
}

/// Puts `new` in place of every `old` of the same length.
fn changed(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len(), "nothing moves");
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(old.len()).position(|window| window == old) {
        bytes[at + found..at + found + new.len()].copy_from_slice(new);
        at += found + new.len();
    }
    bytes
}

/// An archive of one entry whose name is written as it is, and whose central header comes `times` times.
fn repeated(data: &[u8], times: usize) -> Vec<u8> {
    let whole = zip(&vec![entry("0000.png", data, false)]);
    let central = whole.windows(4).position(|window| window == b"PK\x01\x02").expect("a central header");
    let end = whole.windows(4).rposition(|window| window == b"PK\x05\x06").expect("an end");
    let header = &whole[central..end];
    let mut out = whole[..central].to_vec();
    for n in 0..times {
        out.extend(changed(header.to_vec(), b"0000.png", format!("{n:04}.png").as_bytes()));
    }
    let mut tail = whole[end..].to_vec();
    tail[8..10].copy_from_slice(&(times as u16).to_le_bytes());
    tail[10..12].copy_from_slice(&(times as u16).to_le_bytes());
    tail[12..16].copy_from_slice(&((header.len() * times) as u32).to_le_bytes());
    out.extend(tail);
    out
}

/// Books that must be refused: what is wrong with each, the name of its file, its bytes.
#[must_use]
pub fn hostile() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let bomb = "<!DOCTYPE package [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><package>&b;</package>";
    let outside = "<!DOCTYPE package SYSTEM 'file:///etc/passwd'><package>&xxe;</package>";
    let lcp = "<encryption xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><EncryptedData xmlns='http://www.w3.org/2001/04/xmlenc#'>\
<EncryptionMethod Algorithm='http://www.w3.org/2001/04/xmlenc#aes256-cbc'/><KeyInfo><RetrievalMethod Type='http://readium.org/2014/01/lcp#EncryptedContentKey'/></KeyInfo>\
<CipherData><CipherReference URI='a'/></CipherData></EncryptedData></encryption>";
    let good = epub("가을로");
    let zeros = vec![0; 200 << 20];
    let twice = changed(epub_with("OEBPS/noisE.png", b"x"), b"OEBPS/noisE.png", b"OEBPS/noise.png");
    let mut wrong_crc = good.clone();
    let at = wrong_crc.windows(8).position(|window| window == b"\x89PNG\r\n\x1a\n").expect("a picture");
    wrong_crc[at + 100] ^= 1;
    let picture_named_pdf = picture(20_000, 1);
    let deep = "<a>".repeat(100_000);
    let encrypted_pdf = changed(pdf(3), b"<</Root 1 0 R>>", b"<</Encrypt 9>> ");
    vec![
        (
            "climbs out",
            "traversal.epub",
            changed(epub_with("OEBPS/evil.bin", b"x"), b"OEBPS/evil.bin", b"../../evil.bin"),
        ),
        ("absolute", "absolute.epub", changed(epub_with("OEBPS/evil.bin", b"x"), b"OEBPS/evil.bin", b"/etc/passwd.xx")),
        ("names twice", "twice.epub", twice),
        ("inflates", "bomb.cbz", zip(&vec![entry("1.png", zeros, true)])),
        ("overlaps", "overlap.cbz", repeated(&picture(20_000, 1), 200)),
        ("expands", "entities.epub", epub_with("OEBPS/content.opf", bomb.as_bytes())),
        ("looks outside", "outside.epub", epub_with("OEBPS/content.opf", outside.as_bytes())),
        ("nests", "deep.epub", epub_with("META-INF/container.xml", deep.as_bytes())),
        ("has a wrong CRC", "crc.epub", wrong_crc),
        ("ends early", "cut.epub", good[..good.len() - 30].to_vec()),
        ("is LCP already", "lcp.epub", epub_with("META-INF/encryption.xml", lcp.as_bytes())),
        ("is ADEPT", "adept.epub", epub_with("META-INF/rights.xml", b"<rights/>")),
        ("is an encrypted PDF", "encrypted.pdf", encrypted_pdf),
        ("has no pages", "empty.pdf", pdf(0)),
        ("is no PDF", "picture.pdf", picture_named_pdf),
        ("is a PDF", "pdf.epub", pdf(3)),
        ("is RAR", "rar.cbz", [b"Rar!\x1a\x07\x01\0".as_slice(), &noise(9_000, 1)].concat()),
        ("has no images", "text.cbz", zip(&vec![entry("a.txt", "text", false)])),
        ("lies about an image", "liar.cbz", zip(&vec![entry("a.png", noise(5_000, 1), false)])),
        ("is nothing", "nothing.epub", Vec::new()),
        ("is another kind", "song.mp3", noise(5_000, 1)),
    ]
}
