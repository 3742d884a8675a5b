use super::testing::*;
use super::*;
use proptest::prelude::*;

/// Why an EPUB is refused.
fn refused(book: &[u8]) -> String {
    let error = protected(&Book::Epub(&book)).map(|_| ()).expect_err("to be refused");
    format!("{error:?}")
}

/// The book without an entry.
fn without(name: &str) -> Vec<u8> {
    let mut entries = epub_entries();
    entries.retain(|entry| entry.0 != name);
    zip_of(&entries)
}

fn encryption_xml(algorithm: &str, more: &str) -> String {
    format!(
        "<encryption xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><EncryptedData xmlns='http://www.w3.org/2001/04/xmlenc#'>\
<EncryptionMethod Algorithm='{algorithm}'/>{more}<CipherData><CipherReference URI='a'/></CipherData></EncryptedData></encryption>"
    )
}

#[test]
fn books_of_other_schemes_are_refused() {
    let aes = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";
    let retrieval = "<KeyInfo><RetrievalMethod Type='http://readium.org/2014/01/lcp#EncryptedContentKey'/></KeyInfo>";
    let path = "META-INF/encryption.xml";
    for (book, scheme) in [
        (epub_with(path, encryption_xml(aes, retrieval).as_bytes()), "Readium LCP"),
        (epub_with(path, encryption_xml(aes, "").as_bytes()), aes),
        (
            epub_with(path, encryption_xml("http://www.idpf.org/2008/embedding", "<EncryptedKey/>").as_bytes()),
            "it has encrypted keys",
        ),
        (epub_with("META-INF/rights.xml", b"<rights/>"), "Adobe ADEPT"),
        (epub_with("META-INF/sinf.xml", b"<sinf/>"), "Apple FairPlay"),
    ] {
        assert_eq!(refused(&book), format!("AlreadyProtected({scheme:?})"));
    }
    let (package, protected_) = protected(&Book::Epub(&zip_of(&epub_entries()))).expect("a good book");
    assert_eq!(refused(&package), "AlreadyProtected(\"Readium LCP\")");
    assert_eq!(protected_.layout.len, package.len() as u64);
    let (comic_package, _) = protected(&Book::Comic(&comic())).expect("a good comic");
    let again = protected(&Book::Comic(&comic_package)).map(|_| ());
    assert!(matches!(again, Err(ProtectError::AlreadyProtected(scheme)) if scheme == "Readium LCP"));
}

#[test]
fn what_is_no_epub_is_refused() {
    assert_eq!(refused(&without("mimetype")), "NotEpub(\"mimetype\")");
    assert_eq!(refused(&without("META-INF/container.xml")), "NotEpub(\"META-INF/container.xml\")");
    assert_eq!(refused(&without("OEBPS/content.opf")), "NotEpub(\"the package document\")");
    assert_eq!(refused(&epub_with("META-INF/container.xml", b"<container/>")), "NotEpub(\"the package document\")");
    let other = refused(&epub_with("mimetype", b"application/vnd.oasis.opendocument.text"));
    assert_eq!(other, "Mislabelled { claimed: \"EPUB\", found: \"an archive of another type\" }");
}

#[test]
fn what_is_not_what_it_is_said_to_be_is_refused() {
    let pdf = super::pdf::tests::pages(1);
    let picture = image(PNG, 100);
    let epub = zip_of(&epub_entries());
    let rar = b"Rar!\x1a\x07\x01\0".to_vec();
    let seven = b"7z\xbc\xaf\x27\x1c\0\0".to_vec();
    let kindle = [&[0; 60][..], b"BOOKMOBI"].concat();
    let nothing = Vec::new();
    for (book, found) in [
        (Book::Epub(&pdf), "PDF"),
        (Book::Epub(&kindle), "a book for Kindle"),
        (Book::Epub(&nothing), "nothing known"),
        (Book::Comic(&rar), "a RAR archive"),
        (Book::Comic(&seven), "a 7z archive"),
        (Book::Comic(&epub), "EPUB"),
        (Book::Pdf(&picture), "an image"),
        (Book::Pdf(&epub), "a ZIP archive"),
    ] {
        let error = protected(&book).map(|_| ()).expect_err("to be refused");
        assert!(matches!(error, ProtectError::Mislabelled { found: what, .. } if what == found), "{error:?}");
    }
}

#[test]
fn documents_that_attack_their_reader_are_refused() {
    let bomb = "<!DOCTYPE package [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><package>&b;</package>";
    assert!(refused(&epub_with("OEBPS/content.opf", bomb.as_bytes())).contains("Declarations"));
    let outside = "<!DOCTYPE package SYSTEM 'file:///etc/passwd'><package>&xxe;</package>";
    assert!(refused(&epub_with("OEBPS/content.opf", outside.as_bytes())).contains("Entity(\"xxe\")"));
    let deep = "<a>".repeat(100_000);
    assert!(refused(&epub_with("META-INF/container.xml", deep.as_bytes())).contains("TooDeep"));
    assert!(refused(&epub_with("META-INF/encryption.xml", b"<encryption>")).contains("Malformed"));
    assert!(refused(&epub_with("OEBPS/content.opf", b"\xff\xfe<\0a\0/\0>\0")).contains("NotUtf8"));
    let long = format!("<package>{}</package>", " ".repeat(16 << 20));
    assert!(refused(&epub_with("OEBPS/content.opf", long.as_bytes())).contains("EntryTooLarge"));
}

#[test]
fn names_that_no_document_could_refer_to_are_refused() {
    let mut book = epub_with("OEBPS/xx.bin", b"1");
    while let Some(at) = book.windows(6).position(|window| window == b"xx.bin") {
        book[at] = 0xb0;
    }
    assert_eq!(refused(&book), "Name(\"OEBPS/░x.bin\")");
}

#[test]
fn sets_of_images_that_are_none_are_refused() {
    let (picture, text, nothing) = (image(PNG, 10), b"<p>text</p>".to_vec(), Vec::new());
    let refused = |images: &[(&str, &Vec<u8>)]| {
        let images: Vec<_> = images.iter().map(|(name, source)| Image { name, source: *source }).collect();
        format!("{:?}", protected(&Book::Images(&images)).map(|_| ()).expect_err("to be refused"))
    };
    assert_eq!(refused(&[]), "NoPages");
    assert_eq!(refused(&[("a.png", &picture), ("a.png", &picture)]), "ImageTwice(\"a.png\")");
    assert_eq!(refused(&[("a.png", &text)]), "Image { path: \"a.png\", cause: NotAnImage }");
    assert_eq!(refused(&[("a.png", &nothing)]), "Image { path: \"a.png\", cause: NotAnImage }");
    for (name, fault) in [
        ("../a.png", "Traversal"),
        ("/a.png", "Absolute"),
        ("a\\b.png", "Backslash"),
        ("a/", "Traversal"),
        ("", "Empty"),
    ] {
        assert_eq!(refused(&[(name, &picture)]), format!("ImageName {{ name: {name:?}, fault: {fault} }}"));
    }
    let named_like_a_document =
        [Image { name: "license.lcpl", source: &picture }, Image { name: "manifest.json", source: &picture }];
    let (bytes, _) = protected(&Book::Images(&named_like_a_document)).expect("they get extensions");
    assert!(bytes.windows(16).any(|window| window == b"license.lcpl.png"));
    let no_pages = zip_of(&vec![("ComicInfo.xml", b"<x/>".to_vec(), true), ("__MACOSX/a.png", picture.clone(), false)]);
    assert!(matches!(protected(&Book::Comic(&no_pages)), Err(ProtectError::NoPages)));
    let lying = zip_of(&vec![("a.png", text.clone(), true)]);
    assert!(matches!(protected(&Book::Comic(&lying)), Err(ProtectError::Image { path, .. }) if path == "a.png"));
}

#[test]
fn packages_need_a_title_and_kept_limits() {
    let comic = comic();
    let run = |options: &Options<'_>| {
        let result = protect(&Book::Comic(&comic), options, &key(), &mut Random::new(1), &mut Vec::new());
        format!("{:?}", result.map(|_| ()).expect_err("to be refused"))
    };
    for title in [None, Some(""), Some(" \u{2028}\n")] {
        assert_eq!(run(&Options { title, ..Options::default() }), "NoTitle");
    }
    let limits = Limits { pages: 2, ..Limits::default() };
    assert_eq!(run(&Options { title: Some("a"), limits, ..Options::default() }), "TooManyPages { pages: 3, max: 2 }");
    let limits = Limits { entry_bytes: 100, ..Limits::default() };
    assert!(run(&Options { title: Some("a"), limits, ..Options::default() }).contains("EntryTooLarge"));
    let cover = Some(&b"no image"[..]);
    assert!(run(&Options { title: Some("a"), cover, ..Options::default() }).contains("NotAnImage"));
}

fn small_epub() -> Vec<u8> {
    let mut entries = epub_entries();
    entries.iter_mut().for_each(|entry| {
        if entry.1.len() > 4_000 {
            entry.1.truncate(1_000);
        }
    });
    zip_of(&entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_books_are_protected_or_refused(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut book = small_epub();
        for (at, new) in damage {
            let at = at.index(book.len());
            book[at] = new;
        }
        let _ = protected(&Book::Epub(&book));
        let _ = protected(&Book::Comic(&book));
        if let Ok(package) = crate::open::Package::open(&book, &Limits::default()) {
            package.entries().for_each(|(entry, _)| drop(package.read_whole(entry.name(), &key(), 1 << 20)));
        }
    }

    #[test]
    fn damaged_packages_are_opened_or_refused(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (mut bytes, _) = protected(&Book::Epub(&small_epub())).expect("a good book");
        for (at, new) in damage {
            let at = at.index(bytes.len());
            bytes[at] = new;
        }
        if let Ok(package) = crate::open::Package::open(&bytes, &Limits::default()) {
            package.entries().for_each(|(entry, _)| drop(package.read_whole(entry.name(), &key(), 1 << 20)));
        }
    }

    #[test]
    fn anything_is_protected_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in 0usize..4) {
        let heads = [&b""[..], b"%PDF-1.7\n", b"PK\x03\x04", PNG];
        let bytes = [heads[head], &bytes].concat();
        for book in [Book::Epub(&bytes), Book::Pdf(&bytes), Book::Comic(&bytes), Book::Images(&[Image { name: "a.png", source: &bytes }])] {
            let _ = protected(&book);
        }
    }

    #[test]
    fn whatever_a_resource_holds_comes_back(data in proptest::collection::vec(any::<u8>(), 0..70), repeat in 1usize..300, name in "[a가 %&#\"<>']{1,8}") {
        let data = data.repeat(repeat);
        let entries: [(&str, &[u8], bool); 4] = [
            ("mimetype", b"application/epub+zip", false),
            ("META-INF/container.xml", CONTAINER.as_bytes(), true),
            ("OEBPS/content.opf", OPF.as_bytes(), true),
            (&name, &data, true),
        ];
        let book = crate::zip::tests::archive(&entries);
        let (bytes, _) = protected(&Book::Epub(&book)).expect("a good book");
        let package = crate::open::Package::open(&bytes, &Limits::default()).expect("protected");
        prop_assert!(package.entries().any(|(entry, encryption)| entry.name() == name && encryption.is_some()));
        prop_assert_eq!(package.read_whole(&name, &key(), 1 << 30).expect("readable"), data);
    }
}
