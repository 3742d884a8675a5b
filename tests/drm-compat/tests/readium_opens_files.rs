//! Readium's reader opens what a store sends, from a file: every resource as the source has it, and only with the passphrase.

use drm::licence::Rights;
use drm::open::Package;
use drm::zip::Limits;
use drm_compat::{HINT, KeyKind, Needs, Opening, PASSPHRASE, Sample, Shop, Title, at, lacks, made_up, open, real};
use ring::digest::{SHA256, digest};
use std::fs;
use std::path::{Path, PathBuf};

/// Writes what the owner of a new licence downloads of a book.
fn download(shop: &mut Shop, sample: &Sample, seed: u64, folder: &Path) -> anyhow::Result<(Title, PathBuf)> {
    let title = Title::protect(sample, seed)?;
    let issued = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
    let path = folder.join(format!("{seed}{}", title.protected.kind.extension()));
    fs::write(&path, title.download(&issued.document)?)?;
    Ok((title, path))
}

/// The hash of a plain resource as our own reader sees it.
fn ours(title: &Title, path: &str) -> anyhow::Result<String> {
    let package = Package::open(&*title.stored, &Limits::default())?;
    Ok(hex::encode(digest(&SHA256, &package.read_whole(path, &title.key, 1 << 24)?)))
}

fn check(samples: &[Sample]) -> anyhow::Result<()> {
    let (folder, mut shop) = (tempfile::tempdir()?, Shop::new(KeyKind::Ecdsa, "https://store.example")?);
    let (mut titles, mut openings) = (Vec::new(), Vec::new());
    for (seed, sample) in (1..).zip(samples) {
        let (title, path) = download(&mut shop, sample, seed, folder.path())?;
        titles.push(title);
        openings.push(Opening::new(path.to_string_lossy(), PASSPHRASE));
    }
    for ((sample, title), mut found) in samples.iter().zip(titles).zip(open(&openings)?) {
        let name = sample.path.display();
        assert!(found.opened, "{name}");
        assert_eq!(found.hint.as_deref(), Some(HINT));
        found.leave_out_what_was_added();
        // Files that the manifest forgets, as debmake-doc's does, are encrypted too. Other readers go by encryption.xml for them, this one does not.
        for path in &found.unlisted {
            println!("{name}: {path} is not in the manifest");
            found.plain.insert(path.clone(), ours(&title, path)?);
        }
        assert_eq!(found.plain, sample.resources()?, "{name}");
        println!("{name}: {} of {} entries decrypted", found.encrypted.len(), found.plain.len());
        assert!(!found.encrypted.is_empty(), "{name}");
    }
    Ok(())
}

#[test]
fn books_with_awkward_names_come_out_as_they_went_in() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    check(&made_up(folder.path())?)
}

#[test]
fn real_books_in_many_languages_come_out_as_they_went_in() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python, Needs::Epubcheck]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut books = real(folder.path())?;
    books.push(drm_compat::childrens_literature()?);
    check(&books)
}

#[test]
fn no_other_passphrase_opens_one() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python]) {
        return Ok(());
    }
    let (folder, mut shop) = (tempfile::tempdir()?, Shop::new(KeyKind::Ecdsa, "https://store.example")?);
    let mut openings = Vec::new();
    for (seed, sample) in (1..).zip(made_up(folder.path())?) {
        let (_, path) = download(&mut shop, &sample, seed, folder.path())?;
        for passphrase in ["", "비밀", PASSPHRASE.trim_end()] {
            openings.push(Opening::new(path.to_string_lossy(), passphrase));
        }
        // The right one among others is found.
        let mut several = Opening::new(path.to_string_lossy(), "비밀");
        several.keys.extend(Opening::new("", PASSPHRASE).keys);
        openings.push(several);
    }
    let opened: Vec<bool> = open(&openings)?.iter().map(|found| found.opened).collect();
    assert_eq!(opened, [false, false, false, true].repeat(3));
    Ok(())
}

#[test]
fn a_licence_that_was_issued_anew_opens_the_old_package() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python]) {
        return Ok(());
    }
    let (folder, mut shop) = (tempfile::tempdir()?, Shop::new(KeyKind::Ecdsa, "https://store.example")?);
    let [epub, _, _] = made_up(folder.path())?;
    let title = Title::protect(&epub, 1)?;
    let first = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
    let again = shop.reissue(&first, &title, "새 비밀", at("2026-06-02T00:00:00Z"))?;
    let path = folder.path().join("again.epub");
    fs::write(&path, title.download(&again.document)?)?;
    let openings = [PASSPHRASE, "새 비밀"].map(|passphrase| Opening::new(path.to_string_lossy(), passphrase));
    let found = open(&openings)?;
    assert_eq!(found.iter().map(|found| found.opened).collect::<Vec<_>>(), [false, true]);
    assert!(epub.resources()?.iter().all(|(name, hash)| found[1].plain.get(name) == Some(hash)));
    Ok(())
}
