//! Titles that a store has encrypted itself.

use drm::ContentKey;
use gateway_core::lcp::{Brought, BroughtTitle, LcpError, Place, TitleFilter};
use s3_compat::lcp::{BUCKET, Library, picture};

fn brought(id: &str) -> BroughtTitle {
    BroughtTitle {
        id: id.parse().expect("an id"),
        alt_id: Some("urn:isbn:9788954692014".to_owned()),
        name: Some("별 헤는 밤".to_owned()),
        content_key: Some(ContentKey::from([7; 32])),
        href: "https://cdn.example/a.epub".to_owned(),
        len: 1234,
        sha256: [9; 32],
        media_type: "application/epub+zip".to_owned(),
    }
}

#[tokio::test]
async fn a_title_is_brought_once_and_replaced_by_another_version() {
    let library = Library::open(|_| {}).await;
    let lending = &library.shop.lending;
    let first = brought("a");
    assert_eq!(lending.bring_title(&first).await.expect("taken"), Brought::New);
    let held = lending.title(&first.id).await.expect("a title");
    assert_eq!(lending.bring_title(&first).await.expect("taken"), Brought::Replaced);
    assert_eq!(lending.title(&first.id).await.expect("a title"), held, "the same again changes nothing");
    let second = BroughtTitle { len: 5678, content_key: None, ..first.clone() };
    assert_eq!(lending.bring_title(&second).await.expect("taken"), Brought::Replaced);
    let title = lending.title(&first.id).await.expect("a title").value;
    assert_eq!((title.packages.len(), title.package().map(|package| package.version)), (2, Some(2)));
    assert_eq!(title.package().map(|package| &package.place), Some(&Place::There { href: first.href.clone() }));
    assert!(!library.shop.is_kept(&[7; 32]), "the key is kept wrapped");
    // Nobody has a licence yet.
    let other = BroughtTitle { content_key: Some(ContentKey::from([8; 32])), ..second };
    assert_eq!(lending.bring_title(&other).await.expect("taken"), Brought::Replaced);
    assert_eq!(
        *super::content_key(&library, &lending.title(&first.id).await.expect("a title").value).await.expose(),
        [8; 32]
    );
    let filter = TitleFilter::Alt("urn:isbn:9788954692014".to_owned());
    assert_eq!(lending.titles(&filter, None, 10).await.expect("an answer").found.len(), 1);
    lending.remove_title(&first.id, false).await.expect("removed");
    assert!(matches!(lending.title(&first.id).await, Err(LcpError::NoSuchTitle)));
}

#[tokio::test]
async fn what_cannot_stand_in_a_licence_is_not_taken() {
    let library = Library::open(|_| {}).await;
    let lending = &library.shop.lending;
    let good = || brought("a");
    let bad = [
        BroughtTitle { href: "ftp://cdn.example/a.epub".to_owned(), ..good() },
        BroughtTitle { href: "https://cdn.example/a b.epub".to_owned(), ..good() },
        BroughtTitle { href: format!("https://cdn.example/{}", "a".repeat(2048)), ..good() },
        BroughtTitle { len: 0, ..good() },
        BroughtTitle { media_type: "epub".to_owned(), ..good() },
        BroughtTitle { media_type: "a/b\r\nc: d".to_owned(), ..good() },
        BroughtTitle { name: Some("a\u{2028}b".to_owned()), ..good() },
        BroughtTitle { alt_id: Some(String::new()), ..good() },
        BroughtTitle { content_key: None, ..good() },
    ];
    for brought in bad {
        let taken = lending.bring_title(&brought).await;
        assert!(matches!(taken, Err(LcpError::Invalid { .. })), "{brought:?}: {taken:?}");
    }
    library.put("a.png", &picture(5_000, 1)).await;
    let ours = library.title("a.png").await.id;
    let taken = lending.bring_title(&BroughtTitle { id: ours, ..good() }).await;
    assert!(matches!(taken, Err(LcpError::Invalid { field: "id", .. })), "{taken:?}");
}

#[tokio::test]
async fn titles_come_page_by_page() {
    let library = Library::open(|_| {}).await;
    let lending = &library.shop.lending;
    for n in 0..25 {
        lending.bring_title(&brought(&format!("t{n:02}"))).await.expect("taken");
    }
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = lending.titles(&TitleFilter::All, after, 10).await.expect("an answer");
        ids.extend(page.found.iter().map(|held| held.value.id.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(ids, (0..25).map(|n| format!("t{n:02}")).collect::<Vec<_>>());
    lending.name_title(&"t03".parse().expect("an id"), Some("다른 이름"), None).await.expect("named");
    let title = lending.title(&"t03".parse().expect("an id")).await.expect("a title").value;
    assert_eq!((title.name.as_deref(), title.alt_id.is_some()), (Some("다른 이름"), true));
    assert!(lending.title_of(BUCKET, "t03").await.expect("an answer").is_none());
}
