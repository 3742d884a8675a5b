//! What is sent.

use super::*;
use drm::certificate::Root;
use drm::open::Package;
use drm::verify::{Trust, verify};
use drm::zip::Limits;
use drm::{BasicProfile, ContentKey};
use gateway_core::lcp::{OpenPackage, Place, Wanted};
use gateway_core::{ByteRange, IfRange, ObjectError, ReadCondition, TagMatch};
use s3_compat::lcp::{Entries, comic, comic_entries, epub_entries, noise, zip};

/// What a reader's program makes of a file with a passphrase.
fn unlocked(file: &[u8], root: &Root, passphrase: &PassphraseHash, lent: &Lent) -> Option<ContentKey> {
    let package = Package::open(&file, &Limits::default()).expect("a protected package");
    let document = package.licence().expect("readable").expect("a licence");
    let trust = Trust { root: Some(root), revocations: None, profiles: &[&BasicProfile] };
    let verified = verify(&document, trust, Some(passphrase), lent.library.shop.clock.now());
    if verified.report.is_right() { verified.unlocked.map(|unlocked| unlocked.content_key) } else { None }
}

/// Whether all that the book has comes out as it went in.
fn comes_out(file: &[u8], key: &ContentKey, entries: &Entries) {
    let package = Package::open(&file, &Limits::default()).expect("a protected package");
    for (name, data, _) in entries.iter().filter(|(name, ..)| name != "ComicInfo.xml") {
        assert!(package.read_whole(name, key, u64::MAX).expect("it comes out") == *data, "{name}");
    }
}

#[tokio::test]
async fn a_file_opens_with_the_passphrase_of_its_reader_and_no_other() {
    let lent = Lent::new(|_| {}).await;
    let neighbour = PassphraseHash::of("이웃의 비밀");
    let other = lent.another("독자-2", neighbour.clone()).await;
    let (mine, theirs) = (lent.file().await, read(open(lent.lending(), other.id).await.expect("open"), None).await);
    let root = lent.library.shop.authority.root();
    let key = unlocked(&mine, &root, &passphrase(), &lent).expect("his passphrase opens it");
    comes_out(&mine, &key, &epub_entries("가을로"));
    assert!(unlocked(&theirs, &root, &neighbour, &lent).is_some());
    assert!(unlocked(&mine, &root, &neighbour, &lent).is_none());
    assert!(unlocked(&theirs, &root, &passphrase(), &lent).is_none());
}

#[tokio::test]
async fn files_of_a_title_share_what_is_stored() {
    let lent = Lent::new(|_| {}).await;
    let other = lent.another("독자-2", passphrase()).await;
    let chunks = lent.library.shop.cluster.stored();
    let (mine, theirs) = (lent.file().await, read(open(lent.lending(), other.id).await.expect("open"), None).await);
    let package = lent.library.package(&lent.title, 1).await;
    let Place::Here { layout, .. } = &lent.title.package().expect("protected").place else { panic!("it is here") };
    let shared = layout.cd_offset as usize;
    assert!(mine[..shared] == package[..shared] && theirs[..shared] == package[..shared]);
    assert!(mine != theirs);
    assert_eq!(lent.library.shop.cluster.stored(), chunks, "nothing is stored for a download");
}

#[tokio::test]
async fn every_range_is_the_range_of_the_whole_at_any_gateway() {
    let lent = Lent::of(KEY, &large_epub(), |config| config.licence_downloads = None).await;
    let other = lent.library.shop.other_gateway();
    let whole = lent.file().await;
    let len = whole.len() as u64;
    let Place::Here { layout, .. } = &lent.title.package().expect("protected").place else { panic!("it is here") };
    let edge = layout.cd_offset;
    let mut all = ranges(len, 200, 7);
    all.extend([0..len, 0..1, len - 1..len, edge - 1..edge + 1, edge..len, 0..edge, edge + 30..edge + 31]);
    for (at, range) in all.into_iter().enumerate() {
        let gateway = if at % 2 == 0 { lent.lending() } else { &other };
        let download = open(gateway, lent.licence.id).await.expect("open");
        assert_eq!(download.len(), len);
        let part = read(download, Some(range.clone())).await;
        assert!(part == whole[range.start as usize..range.end as usize], "{range:?}");
    }
}

/// Some megabytes, so that there are many pieces.
fn large_epub() -> Vec<u8> {
    let mut entries = epub_entries("가을로");
    entries.push(("OEBPS/큰 그림.png".to_owned(), s3_compat::lcp::picture(5_000_000, 3), false));
    zip(&entries)
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_at_another_gateway() {
    let lent = Lent::of(KEY, &large_epub(), |_| {}).await;
    let other = lent.library.shop.other_gateway();
    let whole = lent.file().await;
    let download = open(lent.lending(), lent.licence.id).await.expect("open");
    let tag = download.validators().etag.clone();
    let mut body = download.read(None).await.expect("readable");
    let first = body.try_next().await.expect("readable").expect("a piece");
    drop(body);
    let again = open(&other, lent.licence.id).await.expect("open");
    let wanted = Wanted {
        range: Some(ByteRange::From(first.len() as u64)),
        if_range: Some(IfRange::Tag(tag)),
        ..Wanted::default()
    };
    let range = again.choose(&wanted).expect("the same file").expect("a range");
    assert_eq!(range.start, first.len() as u64);
    let rest = read(again, Some(range)).await;
    assert!([first.to_vec(), rest].concat() == whole);
}

#[tokio::test]
async fn the_tag_is_that_of_licence_and_package_at_every_gateway() {
    let lent = Lent::new(|_| {}).await;
    let other = lent.library.shop.other_gateway();
    let (here, there) = (open(lent.lending(), lent.licence.id).await, open(&other, lent.licence.id).await);
    let (here, there) = (here.expect("open"), there.expect("open"));
    assert_eq!(here.validators(), there.validators());
    assert_eq!(here.validators().mtime, lent.licence.status.licence_updated);
    assert_eq!((here.media_type(), here.file_name()), ("application/epub+zip", "별 헤는 밤.epub"));
    let neighbour = lent.another("독자-2", passphrase()).await;
    let theirs = open(&other, neighbour.id).await.expect("open");
    assert_ne!(here.validators().etag, theirs.validators().etag);
    let with = |tag: &str| TagMatch::Tags(vec![tag.to_owned()]);
    let tag = here.validators().etag.as_str();
    let choose = |condition| there.choose(&Wanted { condition, ..Wanted::default() });
    let matches = ReadCondition { if_match: Some(with(tag)), ..ReadCondition::default() };
    assert_eq!(choose(matches), Ok(None));
    let not = ReadCondition { if_none_match: Some(with(tag)), ..ReadCondition::default() };
    assert_eq!(choose(not), Err(ObjectError::NotModified(here.validators().clone())));
    let other = ReadCondition { if_match: Some(with("other")), ..ReadCondition::default() };
    assert_eq!(choose(other), Err(ObjectError::PreconditionFailed));
    let ranged = |range, if_range| there.choose(&Wanted { range: Some(range), if_range, ..Wanted::default() });
    assert_eq!(ranged(ByteRange::Suffix(5), None), Ok(Some(there.len() - 5..there.len())));
    assert_eq!(ranged(ByteRange::Suffix(5), Some(IfRange::Tag("other".into()))), Ok(None));
    let behind = ObjectError::RangeNotSatisfiable { size: there.len() };
    assert_eq!(ranged(ByteRange::From(there.len()), None), Err(behind));
}

#[tokio::test]
async fn a_new_version_of_the_book_comes_with_the_licence_brought_to_it() {
    let mut lent = Lent::new(|_| {}).await;
    let other = lent.library.shop.other_gateway();
    let old = lent.file().await;
    let tag = open(&other, lent.licence.id).await.expect("open").validators().etag.clone();
    lent.library.shop.clock.pass(3600);
    let title = protected(&mut lent.library, KEY, &epub("봄으로")).await;
    assert_eq!(title.package().map(|package| package.version), Some(2));
    // The other gateway still holds the title as it was a moment ago; the licence tells it.
    let new = lent.file_anew().await;
    let download = open(&other, lent.licence.id).await.expect("open");
    assert_ne!(download.validators().etag, tag);
    let there = read(download, None).await;
    assert!(there == new);
    let root = lent.library.shop.authority.root();
    let key = unlocked(&new, &root, &passphrase(), &lent).expect("the same passphrase");
    comes_out(&new, &key, &epub_entries("봄으로"));
    comes_out(&old, &key, &epub_entries("가을로"));
    let licence = lent.lending().licence(lent.licence.id).await.expect("kept").value;
    assert_eq!(licence.version, 2);
    assert!(licence.status.licence_updated > lent.licence.status.licence_updated);
}

impl Lent {
    /// The file from a gateway that has just started.
    async fn file_anew(&self) -> Vec<u8> {
        let gateway = self.library.shop.other_gateway();
        read(open(&gateway, self.licence.id).await.expect("open"), None).await
    }
}

#[tokio::test]
async fn other_kinds_of_packages_have_names_of_their_own() {
    let key = "만화/1권.v2.cbz";
    let lent = Lent::of(key, &comic(50_000), |_| {}).await;
    let download =
        lent.lending().open(DownloadRequest { source: Some((BUCKET, key)), ..request(lent.licence.id) }).await;
    let download = download.expect("open");
    assert_eq!((download.media_type(), download.file_name()), ("application/divina+lcp", "1권.v2.lcpdi"));
    let file = read(download, None).await;
    let key = unlocked(&file, &lent.library.shop.authority.root(), &passphrase(), &lent).expect("his passphrase");
    comes_out(&file, &key, &comic_entries(50_000));
}

#[tokio::test]
async fn a_package_alone_is_the_same_for_all() {
    let lent = Lent::new(|_| {}).await;
    let package = lent.title.package().expect("protected").clone();
    for version in [None, Some(1)] {
        let opened = lent.lending().open_package(&lent.title.id, version).await.expect("open");
        let OpenPackage::Here(download) = opened else { panic!("it is here") };
        assert_eq!(download.validators().etag, hex::encode(package.sha256));
        assert_eq!(download.validators().mtime, package.made);
        assert!(read(*download, None).await == lent.library.package(&lent.title, 1).await);
    }
    let missing = lent.lending().open_package(&lent.title.id, Some(2)).await;
    assert!(matches!(missing, Err(LcpError::NoSuchTitle)));
    let elsewhere = lent.library.shop.add_title("brought").await;
    let opened = lent.lending().open_package(&elsewhere, None).await.expect("open");
    assert!(matches!(opened, OpenPackage::There(href) if href == "https://cdn.example/brought/1.epub"));
    assert!(lent.lending().recorded_downloads(&Default::default(), None, 10).await.expect("read").found.is_empty());
}

#[tokio::test]
async fn seventy_thousand_entries_need_zip64_and_are_sent_all_the_same() {
    let mut entries = epub_entries("가을로");
    entries.extend((0..70_000).map(|at| (format!("OEBPS/{at}.txt"), noise(1, at), false)));
    let lent = Lent::of(KEY, &zip(&entries), |config| {
        config.limits.entries = 100_000;
    })
    .await;
    let Place::Here { layout, .. } = &lent.title.package().expect("protected").place else { panic!("it is here") };
    assert!(layout.zip64 && layout.cd_size > 1 << 20, "{layout:?}");
    let file = lent.file().await;
    let limits = Limits { entries: 100_000, document_bytes: 64 << 20, ..Limits::default() };
    let package = Package::open(&file, &limits).expect("a protected package");
    assert_eq!(package.entries().count() as u64, layout.entries + 1);
    let tail = ranges(file.len() as u64 - layout.cd_offset, 20, 3);
    for range in tail.into_iter().map(|range| range.start + layout.cd_offset..range.end + layout.cd_offset) {
        let download = open(lent.lending(), lent.licence.id).await.expect("open");
        let part = read(download, Some(range.clone())).await;
        assert!(part == file[range.start as usize..range.end as usize], "{range:?}");
    }
}
