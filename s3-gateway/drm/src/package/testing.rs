//! Books made up for the tests.

use super::{Book, Options, ProtectError, Protected, protect};
use crate::zip::tests::archive;
use crate::{ContentKey, Entropy};
use rand::{RngCore, SeedableRng};

/// The system's generator, as far as tests are concerned.
pub(crate) struct Random(rand_chacha::ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(rand_chacha::ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

pub(crate) fn key() -> ContentKey {
    ContentKey::from(std::array::from_fn(|i| i as u8))
}

/// Bytes that no Deflate makes smaller.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Random::new(bytes as u64).fill(&mut noise);
    noise
}

pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
pub(crate) const JPEG: &[u8] = b"\xff\xd8\xff\xe0";

/// An image that begins so.
pub(crate) fn image(magic: &[u8], bytes: usize) -> Vec<u8> {
    [magic, &noise(bytes)].concat()
}

pub(crate) const CONTAINER: &str = r#"<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"#;

pub(crate) const OPF: &str = r#"<?xml version="1.0"?><!DOCTYPE package PUBLIC "+//ISBN 0-9673008-1-9//DTD OEB 1.2 Package//EN" "http://openebook.org/dtds/oeb-1.2/oebpkg12.dtd">
<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>별 헤는 밤</dc:title>
<meta name="cover" content="cover"/></metadata><manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
<item id="cover" href="%ED%91%9C%EC%A7%80.jpg" media-type="image/jpeg"/>
<item id="c1" href="%EC%A0%9C%201%20%EC%9E%A5.xhtml" media-type="application/xhtml+xml"/>
<item id="c2" href="100%25%20%26%20%231.xhtml" media-type="application/xhtml+xml"/>
<item id="empty" href="empty.css" media-type="text/css"/>
<item id="fifteen" href="fifteen.js" media-type="application/javascript"/>
<item id="sixteen" href="sixteen.js" media-type="application/javascript"/>
<item id="mp3" href="a.mp3" media-type="audio/mpeg"/>
<item id="bmp" href="blank.bmp" media-type="image/bmp"/>
<item id="png" href="noise.png" media-type="image/png"/>
<item id="font" href="font.otf" media-type="application/vnd.ms-opentype"/>
<item id="gone" href="gone.xhtml" media-type="application/xhtml+xml"/>
</manifest></package>"#;

pub(crate) const OBFUSCATED: &str = r#"<?xml version="1.0"?><encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" xmlns:enc="http://www.w3.org/2001/04/xmlenc#">
<enc:EncryptedData><enc:EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/><enc:CipherData><enc:CipherReference URI="OEBPS/font.otf"/></enc:CipherData></enc:EncryptedData>
</encryption>"#;

/// Name, data, whether it is deflated.
pub(crate) type Entries = Vec<(&'static str, Vec<u8>, bool)>;

/// What a book has that is to come out as it went in.
pub(crate) fn epub_entries() -> Entries {
    let text = "<p>계절이 지나가는 하늘에는 가을로 가득 차 있습니다.</p>".repeat(2_000);
    let bmp = [&b"BM"[..], &[0; 40_000]].concat();
    vec![
        ("mimetype", b"application/epub+zip".to_vec(), false),
        ("META-INF/", Vec::new(), false),
        ("META-INF/container.xml", CONTAINER.into(), true),
        ("META-INF/encryption.xml", OBFUSCATED.into(), true),
        ("META-INF/license.lcpl", b"{}".to_vec(), false),
        ("META-INF/com.apple.ibooks.display-options.xml", b"<x/>".to_vec(), true),
        ("OEBPS/content.opf", OPF.into(), true),
        ("OEBPS/nav.xhtml", b"<nav/>".to_vec(), true),
        ("OEBPS/toc.ncx", b"<ncx/>".to_vec(), false),
        ("OEBPS/표지.jpg", image(JPEG, 5_000), false),
        ("OEBPS/제 1 장.xhtml", text.into_bytes(), true),
        ("OEBPS/100% & #1.xhtml", b"<p>100%</p>".to_vec(), true),
        ("OEBPS/empty.css", Vec::new(), true),
        ("OEBPS/fifteen.js", b"123456789012345".to_vec(), false),
        ("OEBPS/sixteen.js", b"1234567890123456".to_vec(), true),
        ("OEBPS/a.mp3", vec![7; 600_000], false),
        ("OEBPS/blank.bmp", bmp, true),
        ("OEBPS/noise.png", image(PNG, 300_000), false),
        ("OEBPS/font.otf", noise(2_000), true),
        ("OEBPS/forgotten.bin", noise(1_000), false),
    ]
}

pub(crate) fn zip_of(entries: &Entries) -> Vec<u8> {
    let borrowed: Vec<_> = entries.iter().map(|(name, data, deflated)| (*name, data.as_slice(), *deflated)).collect();
    archive(&borrowed)
}

/// The book with one entry in place of the one of that name, or more.
pub(crate) fn epub_with(name: &'static str, data: &[u8]) -> Vec<u8> {
    let mut entries = epub_entries();
    match entries.iter_mut().find(|entry| entry.0 == name) {
        Some(entry) => entry.1 = data.to_vec(),
        None => entries.push((name, data.to_vec(), true)),
    }
    zip_of(&entries)
}

pub(crate) fn comic_entries() -> Entries {
    vec![
        ("책/10쪽.jpg", image(JPEG, 3_000), false),
        ("책/2쪽.png", image(PNG, 2_000), true),
        ("책/", Vec::new(), false),
        ("ComicInfo.xml", b"<ComicInfo/>".to_vec(), true),
        ("책/1 쪽 & %.bmp", [&b"BM"[..], &[0; 9_000]].concat(), true),
        ("__MACOSX/책/._2쪽.png", b"junk".to_vec(), false),
    ]
}

pub(crate) fn comic() -> Vec<u8> {
    zip_of(&comic_entries())
}

/// The package of a book, and what is told of it.
pub(crate) fn protected(book: &Book<'_>) -> Result<(Vec<u8>, Protected), ProtectError> {
    let options = Options { title: Some("제목"), ..Options::default() };
    let mut package = Vec::new();
    let protected = protect(book, &options, &key(), &mut Random::new(1), &mut package)?;
    Ok((package, protected))
}
