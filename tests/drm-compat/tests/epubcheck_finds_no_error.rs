//! EPUBCheck calls nothing in a protected EPUB an error that it did not call one in the source.

use drm::licence::Rights;
use drm_compat::{EXPECTED, KeyKind, Needs, Shop, Title, at, childrens_literature, lacks, made_up, mistakes, real};
use std::fs;

/// How many of the books have no mistakes, so that their sources need not be looked at.
const SOUND: usize = 2;

#[test]
fn protected_epubs_have_no_errors_of_their_own() -> anyhow::Result<()> {
    if lacks(&[Needs::Epubcheck, Needs::Python]) {
        return Ok(());
    }
    let (folder, mut shop) = (tempfile::tempdir()?, Shop::new(KeyKind::Ecdsa, "https://store.example")?);
    let [korean, _, _] = made_up(folder.path())?;
    // Books of Debian have mistakes of their own. A run takes seconds, so two of them: an EPUB 2 and an EPUB 3.
    let wanted = |name: &str| matches!(name, "debmake-doc.ja.epub" | "developers-reference.epub");
    let mut books = vec![korean, childrens_literature()?];
    books.extend(real(folder.path())?.into_iter().filter(|book| {
        let name = book.path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| wanted(&name))
    }));
    let mut paths = Vec::new();
    for (seed, sample) in (1..).zip(&books) {
        let title = Title::protect(sample, seed)?;
        let issued = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
        let path = folder.path().join(format!("protected-{seed}.epub"));
        fs::write(&path, title.download(&issued.document)?)?;
        paths.push(path);
    }
    paths.extend(books[SOUND..].iter().map(|book| book.path.clone()));
    let checked = mistakes(&paths)?;
    let (protected, sources) = checked.split_at(books.len());
    for (i, (book, protected)) in books.iter().zip(protected).enumerate() {
        let of_source = i.checked_sub(SOUND).map_or(&[][..], |i| &sources[i]);
        let known = |mistake: &&String| of_source.contains(mistake) || EXPECTED.contains(&mistake.as_str());
        let new: Vec<_> = protected.iter().filter(|mistake| !known(mistake)).collect();
        assert!(new.is_empty(), "{}: {new:?}", book.path.display());
    }
    Ok(())
}
