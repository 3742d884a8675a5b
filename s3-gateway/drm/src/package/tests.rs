use super::encryption_xml::PATH;
use super::testing::*;
use super::*;
use crate::open::Package;
use crate::source::tests::{Full, Watched};
use crate::splice::splice;
use crate::zip::{Archive, Method, PIECE_BYTES};
use sha2::{Digest, Sha256};

fn check_layout(package: &[u8], protected: &Protected) {
    let layout = &protected.layout;
    assert_eq!(layout.len, package.len() as u64);
    assert_eq!(layout.sha256, <[u8; 32]>::from(Sha256::digest(package)));
    let cd = layout.cd_offset as usize..(layout.cd_offset + layout.cd_size) as usize;
    assert_eq!(&package[cd], &protected.directory);
    let archive = Archive::open(&package, &Limits::default()).expect("a good archive");
    assert_eq!(archive.entries().len() as u64, layout.entries);
    assert!(archive.find(protected.kind.licence_path()).is_none());
}

/// With a licence spliced in it opens just the same.
fn with_licence(package: &[u8], protected: &Protected) -> Vec<u8> {
    let path = protected.kind.licence_path();
    let body = splice(&protected.layout, &protected.directory, path, b"{\"id\":1}").expect("they belong together");
    [&package[..protected.layout.cd_offset as usize], body.tail()].concat()
}

#[test]
fn an_epub_comes_out_as_it_went_in() {
    let entries = epub_entries();
    let (bytes, protected) = protected(&Book::Epub(&zip_of(&entries))).expect("a good book");
    check_layout(&bytes, &protected);
    let downloaded = with_licence(&bytes, &protected);
    let package = Package::open(&downloaded, &Limits::default()).expect("protected");
    assert_eq!(package.licence().expect("there").as_deref(), Some(&b"{\"id\":1}"[..]));
    for (name, data, _) in &entries {
        if !name.ends_with('/') && *name != "META-INF/license.lcpl" && *name != PATH {
            assert_eq!(&package.read_whole(name, &key(), 1 << 30).expect("readable"), data, "{name}");
        }
    }
    assert_eq!(protected.title.as_deref(), Some("제목"), "the store's title wins");
    assert_eq!((protected.kind, protected.cover.as_deref()), (Kind::Epub, Some("OEBPS/표지.jpg")));
}

#[test]
fn an_epub_keeps_clear_what_a_reader_needs_and_deflates_what_is_worth_it() {
    let (bytes, _) = protected(&Book::Epub(&zip_of(&epub_entries()))).expect("a good book");
    let package = Package::open(&bytes, &Limits::default()).expect("protected");
    let how: Vec<String> = package
        .entries()
        .map(|(entry, encryption)| match encryption {
            None => format!("{} clear", entry.name()),
            Some(encryption) => {
                assert_eq!(entry.method(), Method::Stored);
                format!("{} {}", entry.name(), encryption.compression.number())
            }
        })
        .collect();
    let expected = [
        "mimetype clear",
        "META-INF/container.xml clear",
        "META-INF/com.apple.ibooks.display-options.xml clear",
        "OEBPS/content.opf clear",
        "OEBPS/nav.xhtml clear",
        "OEBPS/toc.ncx clear",
        "OEBPS/표지.jpg clear",
        "OEBPS/제 1 장.xhtml 8",
        "OEBPS/100% & #1.xhtml 8",
        "OEBPS/empty.css 0",
        "OEBPS/fifteen.js 8",
        "OEBPS/sixteen.js 8",
        "OEBPS/a.mp3 0",
        "OEBPS/blank.bmp 8",
        "OEBPS/noise.png 0",
        "OEBPS/font.otf clear",
        "OEBPS/forgotten.bin 8",
        "META-INF/encryption.xml clear",
    ];
    assert_eq!(how, expected);
    assert_eq!(
        &bytes[..58],
        b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\x6f\x61\xab\x2c\x14\0\0\0\x14\0\0\0\x08\0\0\0mimetypeapplication/epub+zip"
    );
}

#[test]
fn the_document_names_paths_as_uris_and_keeps_the_fonts() {
    let (bytes, _) = protected(&Book::Epub(&zip_of(&epub_entries()))).expect("a good book");
    let archive = Archive::open(&bytes, &Limits::default()).expect("a good archive");
    let document = archive.read_whole(archive.find(PATH).expect("there"), 1 << 20).expect("good");
    let text = String::from_utf8(document).expect("UTF-8");
    assert!(text.starts_with(OBFUSCATED.trim_end_matches("</encryption>")));
    assert!(text.contains("URI=\"OEBPS/%EC%A0%9C%201%20%EC%9E%A5.xhtml\""));
    assert!(text.contains("URI=\"OEBPS/100%25%20%26%20%231.xhtml\""));
    assert!(
        text.contains("Method=\"0\" OriginalLength=\"0\"") && text.contains("Method=\"0\" OriginalLength=\"600000\"")
    );
    assert_eq!(text.matches("<EncryptedData").count(), 9);
}

#[test]
fn the_title_is_the_books_own_unless_it_is_given() {
    let book = zip_of(&epub_entries());
    let mut package = Vec::new();
    let protected = protect(&Book::Epub(&book), &Options::default(), &key(), &mut Random::new(1), &mut package);
    assert_eq!(protected.expect("a good book").title.as_deref(), Some("별 헤는 밤"));
}

#[test]
fn each_resource_and_each_run_has_a_vector_of_its_own() {
    let book = zip_of(&epub_entries());
    let run = |seed| {
        let mut package = Vec::new();
        protect(&Book::Epub(&book), &Options::default(), &key(), &mut Random::new(seed), &mut package).expect("good");
        package
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let bytes = run(1);
    let archive = Archive::open(&bytes, &Limits::default()).expect("a good archive");
    let package = Package::open(&bytes, &Limits::default()).expect("protected");
    let encrypted = package.entries().filter(|(_, encryption)| encryption.is_some());
    let mut vectors: Vec<Vec<u8>> =
        encrypted.map(|(entry, _)| archive.read_whole(entry, 1 << 30).expect("good")[..16].to_vec()).collect();
    let count = vectors.len();
    vectors.sort();
    vectors.dedup();
    assert_eq!((count, vectors.len()), (9, 9));
}

#[test]
fn a_wrong_key_opens_nothing() {
    let book = zip_of(&epub_entries());
    let (bytes, _) = protected(&Book::Epub(&book)).expect("a good book");
    let package = Package::open(&bytes, &Limits::default()).expect("protected");
    let wrong = ContentKey::from([9; 32]);
    for (entry, encryption) in package.entries() {
        let read = package.read_whole(entry.name(), &wrong, 1 << 30);
        assert_eq!(read.is_ok(), encryption.is_none(), "{}", entry.name());
    }
}

#[test]
fn a_comic_becomes_a_package_of_its_images_in_natural_order() {
    let entries = comic_entries();
    let (bytes, protected) = protected(&Book::Comic(&zip_of(&entries))).expect("a good comic");
    check_layout(&bytes, &protected);
    assert_eq!((protected.kind.media_type(), protected.cover.as_deref()), ("application/divina+lcp", None));
    let downloaded = with_licence(&bytes, &protected);
    let package = Package::open(&downloaded, &Limits::default()).expect("protected");
    let names: Vec<_> =
        package.entries().map(|(entry, encryption)| (entry.name(), encryption.map(|e| e.compression))).collect();
    let (stored, deflated) = (Some(Method::Stored), Some(Method::Deflated));
    let expected = [
        ("책/1 쪽 & %.bmp", deflated),
        ("책/2쪽.png", stored),
        ("책/10쪽.jpg", stored),
        ("manifest.json", None),
        ("license.lcpl", None),
    ];
    assert_eq!(names, expected);
    for (name, data, _) in entries.iter().filter(|(name, ..)| names.iter().any(|(kept, _)| kept == name)) {
        assert_eq!(&package.read_whole(name, &key(), 1 << 30).expect("readable"), data, "{name}");
    }
    let manifest = package.read_whole("manifest.json", &key(), 1 << 20).expect("clear");
    let first = r#"{"@context":"https://readium.org/webpub-manifest/context.jsonld","metadata":{"@type":"http://schema.org/VisualArtwork","conformsTo":"https://readium.org/webpub-manifest/profiles/divina","title":"제목"},"links":[{"href":"manifest.json","type":"application/webpub+json","rel":"self"}],"readingOrder":[{"href":"%EC%B1%85/1%20%EC%AA%BD%20%26%20%25.bmp","type":"image/bmp","properties":{"encrypted":{"scheme":"http://readium.org/2014/01/lcp","algorithm":"http://www.w3.org/2001/04/xmlenc#aes256-cbc","originalLength":9002,"compression":"deflate"}}},"#;
    assert!(String::from_utf8(manifest).expect("UTF-8").starts_with(first));
}

#[test]
fn images_alone_become_a_package_with_a_cover_if_one_is_given() {
    let (photo, cover) = (image(PNG, 1_000), image(JPEG, 100));
    let images = [Image { name: "사진", source: &photo }, Image { name: "cover.jpg", source: &photo }];
    for images in [&images[..1], &images] {
        let options = Options { title: Some("사진"), cover: Some(&cover), ..Options::default() };
        let mut bytes = Vec::new();
        let protected =
            protect(&Book::Images(images), &options, &key(), &mut Random::new(1), &mut bytes).expect("good");
        check_layout(&bytes, &protected);
        let package = Package::open(&bytes, &Limits::default()).expect("protected");
        let path = if images.len() == 1 { "cover.jpg" } else { "_cover.jpg" };
        assert_eq!(protected.cover.as_deref(), Some(path));
        assert_eq!(package.read_whole(path, &ContentKey::from([0; 32]), 1 << 20).expect("clear"), cover);
        assert_eq!(package.read_whole("사진.png", &key(), 1 << 20).expect("readable"), photo);
        assert_eq!(package.entries().count(), images.len() + 2);
    }
}

#[test]
fn a_pdf_becomes_a_package_that_says_how_many_pages_it_has() {
    let pdf = pdf::tests::pages(3);
    let (bytes, protected) = protected(&Book::Pdf(&pdf)).expect("a good PDF");
    check_layout(&bytes, &protected);
    assert_eq!((protected.kind.media_type(), protected.kind.licence_path()), ("application/pdf+lcp", "license.lcpl"));
    let package = Package::open(&bytes, &Limits::default()).expect("protected");
    assert_eq!(package.read_whole("publication.pdf", &key(), 1 << 30).expect("readable"), pdf);
    let manifest = package.read_whole("manifest.json", &key(), 1 << 20).expect("clear");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest["metadata"]["numberOfPages"], 3);
    assert_eq!(manifest["readingOrder"][0]["properties"]["encrypted"]["originalLength"], pdf.len());
}

#[test]
fn what_is_larger_than_the_memory_for_it_is_encrypted_in_two_runs() {
    // Both sides of what is kept, and a deflated one whose ciphertext is too large.
    for (bytes, name) in [(8 << 20, "a.jpg"), ((8 << 20) - 64, "a.jpg"), (9 << 20, "a.png")] {
        let large = image(if name == "a.jpg" { JPEG } else { PNG }, bytes - 8);
        let watched = Watched::new(&large);
        let options = Options { title: Some("큰 것"), ..Options::default() };
        let mut package = Vec::new();
        let images = [Image { name, source: &watched }];
        protect(&Book::Images(&images), &options, &key(), &mut Random::new(1), &mut package).expect("a good image");
        assert!(watched.longest.get() <= PIECE_BYTES);
        let package = Package::open(&package, &Limits::default()).expect("protected");
        assert_eq!(package.read_whole(name, &key(), 1 << 30).expect("readable"), large);
    }
    let text = noise(7 << 20).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let book = epub_with("OEBPS/large.txt", text.as_bytes());
    let (bytes, _) = protected(&Book::Epub(&book)).expect("a good book");
    let package = Package::open(&bytes, &Limits::default()).expect("protected");
    assert_eq!(package.read_whole("OEBPS/large.txt", &key(), 1 << 30).expect("readable"), text.as_bytes());
}

/// Gives other bytes each time.
struct Fickle(std::cell::Cell<u8>);

impl Source for Fickle {
    fn len(&self) -> u64 {
        9 << 20
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), crate::SourceError> {
        self.0.set(self.0.get().wrapping_add(1));
        out.fill(self.0.get());
        if offset == 0 {
            out[..4].copy_from_slice(JPEG);
        }
        Ok(())
    }
}

#[test]
fn a_source_that_changes_meanwhile_is_noticed() {
    let fickle = Fickle(std::cell::Cell::new(0));
    let images = [Image { name: "a.jpg", source: &fickle }];
    assert!(matches!(protected(&Book::Images(&images)), Err(ProtectError::Changed(name)) if name == "a.jpg"));
}

#[test]
fn failures_of_source_and_sink_are_told_apart() {
    let book = zip_of(&epub_entries());
    let options = Options::default();
    for taken in [0, 100, 5_000] {
        let full = protect(&Book::Epub(&book), &options, &key(), &mut Random::new(1), &mut Full(taken));
        assert!(matches!(full, Err(ProtectError::Sink(_))));
    }
    struct Broken(Vec<u8>);
    impl Source for Broken {
        fn len(&self) -> u64 {
            Source::len(&self.0)
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), crate::SourceError> {
            if offset < 2_000 && offset > 1_024 {
                Err(crate::SourceError::new("gone"))
            } else {
                self.0.read_at(offset, out)
            }
        }
    }
    assert!(matches!(protected(&Book::Epub(&Broken(book))), Err(ProtectError::Source(_))));
}

#[test]
fn a_package_that_is_damaged_does_not_open() {
    let (bytes, _) = protected(&Book::Epub(&zip_of(&epub_entries()))).expect("a good book");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("mimetype"));
    let plain = Package::open(&b"PK"[..].to_vec(), &Limits::default()).map(|_| ());
    assert!(plain.is_err());
    let comic = comic();
    assert!(matches!(Package::open(&comic, &Limits::default()), Err(crate::open::OpenError::NotProtected)));
}
