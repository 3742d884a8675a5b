//! What is downloaded is an archive that other programs find no fault with, and the stored title with a licence behind it.

use drm::licence::Rights;
use drm_compat::{KeyKind, Needs, Shop, Title, at, lacks, made_up, output_of, plain_entries, real};
use ring::digest::{SHA256, digest};
use std::fs;
use std::process::Command;

#[test]
fn unzip_and_python_read_every_download() -> anyhow::Result<()> {
    if lacks(&[Needs::Unzip, Needs::Python]) {
        return Ok(());
    }
    let (folder, mut shop) = (tempfile::tempdir()?, Shop::new(KeyKind::Ecdsa, "https://store.example")?);
    let books = made_up(folder.path())?.into_iter().chain(real(folder.path())?);
    for (seed, sample) in (1..).zip(books) {
        let name = sample.path.display();
        let title = Title::protect(&sample, seed)?;
        let issued = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
        let (stored, download) = (folder.path().join("stored.zip"), folder.path().join("download.zip"));
        let bytes = title.download(&issued.document)?;
        fs::write(&stored, &*title.stored)?;
        fs::write(&download, &bytes)?;
        let said = output_of(Command::new("unzip").args(["-tqq"]).arg(&download))?;
        assert!(said.is_empty(), "{name}: {}", String::from_utf8_lossy(&said));
        let mut entries = plain_entries(&[&stored, &download])?;
        let (with_licence, without) = (entries.pop(), entries.pop());
        let licence = digest(&SHA256, issued.document.as_bytes());
        let mut expected = without.expect("the stored one was read too");
        expected.push((title.protected.kind.licence_path().to_owned(), hex::encode(licence)));
        assert_eq!(with_licence, Some(expected), "{name}");
        let before = title.protected.layout.cd_offset as usize;
        assert!(bytes[..before] == title.stored[..before], "{name}: stored bytes are sent as they lie");
    }
    Ok(())
}

#[test]
fn an_epub_says_so_in_its_first_bytes() -> anyhow::Result<()> {
    if lacks(&[Needs::Python]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let [epub, _, _] = made_up(folder.path())?;
    let title = Title::protect(&epub, 1)?;
    // Stored, first, without an extra field: the media type lies at byte 38.
    assert_eq!(&title.stored[30..58], b"mimetypeapplication/epub+zip");
    Ok(())
}
