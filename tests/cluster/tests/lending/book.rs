//! The book: what must never be found stands in its text, what everybody may see in its package document.

use anyhow::{Context, ensure};
use drm::licence::Licence;
use drm::open::Package;
use drm::zip::{Limits, NewEntry, Writer};
use drm::{BasicProfile, PassphraseHash};

/// Stands in the text, which is stored and not deflated: whoever has the plain book on a disk has this.
pub const PLAIN: &str = "이 문장은 어느 디스크에서도 발견되어서는 안 된다 7f3a9c51";
/// Stands in the package document, which readers can read without a licence.
pub const MARKER: &str = "urn:sago:marker:4c1d77e2a9";

const TEXT: &str = "OEBPS/본문.xhtml";
const CONTAINER: &str = "<?xml version='1.0'?><container version='1.0' xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>\
<rootfile full-path='OEBPS/book.opf' media-type='application/oebps-package+xml'/></rootfiles></container>";

fn text() -> String {
    let paragraphs: String = (0..1500).map(|n| format!("<p>{n} {PLAIN} {:x}</p>", n * 2_654_435_761_u64)).collect();
    format!("<html xmlns='http://www.w3.org/1999/xhtml'><head><title>t</title></head><body>{paragraphs}</body></html>")
}

/// An EPUB in which nothing is deflated.
#[must_use]
pub fn epub() -> Vec<u8> {
    let opf = format!(
        "<?xml version='1.0'?><package xmlns='http://www.idpf.org/2007/opf' version='3.0' unique-identifier='i'><metadata xmlns:dc='http://purl.org/dc/elements/1.1/'>\
         <dc:identifier id='i'>{MARKER}</dc:identifier><dc:title>카나리아</dc:title><dc:language>ko</dc:language></metadata><manifest>\
         <item id='n' href='nav.xhtml' media-type='application/xhtml+xml' properties='nav'/>\
         <item id='t' href='%EB%B3%B8%EB%AC%B8.xhtml' media-type='application/xhtml+xml'/></manifest><spine><itemref idref='t'/></spine></package>"
    );
    let entries = [
        ("mimetype", "application/epub+zip".to_owned()),
        ("META-INF/container.xml", CONTAINER.to_owned()),
        ("OEBPS/book.opf", opf),
        ("OEBPS/nav.xhtml", "<html xmlns='http://www.w3.org/1999/xhtml'><body/></html>".to_owned()),
        (TEXT, text()),
    ];
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for (name, data) in &entries {
        writer.add(&NewEntry::stored(name, data.as_bytes()), data.as_bytes()).expect("memory");
    }
    writer.finish().expect("memory");
    out
}

fn licence(package: &Package<'_>) -> anyhow::Result<Licence> {
    let document = package.licence()?.context("a licence in it")?;
    Ok(Licence::parse(&document)?)
}

/// That a file opens under its own passphrase, is the book, and does not open under another.
///
/// # Errors
/// It is otherwise.
pub fn check(file: &[u8], own: &str, other: &str) -> anyhow::Result<()> {
    let package = Package::open(&file, &Limits::default())?;
    let licence = licence(&package)?;
    let unlocked = licence.unlock(&BasicProfile, &PassphraseHash::of(own))?;
    let plain = package.read_whole(TEXT, &unlocked.content_key, 64 << 20)?;
    ensure!(plain == text().as_bytes(), "it is another book");
    ensure!(licence.unlock(&BasicProfile, &PassphraseHash::of(other)).is_err(), "it opens under another's passphrase");
    Ok(())
}

/// The content key, as a reader's program comes to know it.
///
/// # Errors
/// The file does not open.
pub fn content_key(file: &[u8], passphrase: &str) -> anyhow::Result<[u8; 32]> {
    let package = Package::open(&file, &Limits::default())?;
    let unlocked = licence(&package)?.unlock(&BasicProfile, &PassphraseHash::of(passphrase))?;
    Ok(*unlocked.content_key.expose())
}
