//! Readium's reader opens a download where it lies, by Range, without fetching all of it.

use drm::licence::Rights;
use drm_compat::http::{Request, Response, Server};
use drm_compat::{Download, KeyKind, Needs, Opening, PASSPHRASE, Shop, Title, at, lacks, made_up, open, plain_entries};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A server with the downloads of the made-up books, by their extensions, and the books' titles.
fn serve(folder: &Path) -> anyhow::Result<(Server, BTreeMap<String, Download>)> {
    let mut shop = Shop::new(KeyKind::Rsa, "https://store.example")?;
    let mut downloads = BTreeMap::new();
    for (seed, sample) in (1..).zip(made_up(folder)?) {
        let title = Title::protect(&sample, seed)?;
        let issued = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
        let path = format!("/downloads/book{}", title.protected.kind.extension());
        downloads.insert(path, Download::new(&title, &issued.document)?);
    }
    let answers = downloads.clone();
    let server = Server::start(move |request: &Request| match answers.get(&request.path) {
        Some(download) => download.answer(request),
        None => Response::new(404, "text/plain", ""),
    })?;
    Ok((server, downloads))
}

#[test]
fn a_download_is_read_by_ranges() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python, Needs::Openssl]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (server, downloads) = serve(folder.path())?;
    let places: Vec<String> = downloads.keys().map(|path| format!("{}{path}", server.base())).collect();
    let openings: Vec<Opening> = places.iter().map(|place| Opening::new(place, PASSPHRASE)).collect();
    let found = open(&openings)?;
    assert!(found.iter().all(|found| found.opened && !found.encrypted.is_empty()));
    let sources = [folder.path().join("korean.epub"), folder.path().join("comic.cbz")];
    let expected = plain_entries(&[&sources[0], &sources[1]])?;
    // In the order of their extensions: .epub, .lcpdf, .lcpdi.
    for (source, found) in expected.iter().zip([&found[0], &found[2]]) {
        let listed = source.iter().filter(|(name, _)| found.plain.contains_key(name));
        let same: Vec<_> = listed.map(|(name, hash)| found.plain.get(name) == Some(hash)).collect();
        assert!(same.len() >= 6 && same.iter().all(|same| *same));
    }
    let pdf = digest(&SHA256, &fs::read(folder.path().join("small.pdf"))?);
    assert_eq!(found[1].plain.get("publication.pdf"), Some(&hex::encode(pdf)));
    for path in downloads.keys() {
        let log = server.log();
        let of_book: Vec<_> = log.iter().filter(|(request, _)| request.path == *path).collect();
        // It asks for the whole to see its length and whether there are ranges, and does not read what comes.
        let (ranges, whole): (Vec<_>, Vec<_>) =
            of_book.into_iter().partition(|(request, _)| request.headers.contains_key("range"));
        assert_eq!(whole.iter().map(|(_, status)| *status).collect::<Vec<_>>(), [200], "{path}");
        assert!(!ranges.is_empty() && ranges.iter().all(|(_, status)| *status == 206), "{path}");
    }
    Ok(())
}

#[test]
fn no_other_passphrase_opens_it() -> anyhow::Result<()> {
    if lacks(&[Needs::Readium, Needs::Python, Needs::Openssl]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (server, downloads) = serve(folder.path())?;
    let places = downloads.keys().map(|path| format!("{}{path}", server.base()));
    let openings: Vec<Opening> = places.map(|place| Opening::new(place, "비밀")).collect();
    assert!(open(&openings)?.iter().all(|found| !found.opened && found.plain.is_empty()));
    Ok(())
}
