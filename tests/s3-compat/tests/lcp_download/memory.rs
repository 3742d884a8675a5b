//! What downloads hold while nobody reads them.

use super::*;
use s3_compat::lcp::{epub_entries, picture, zip};

const DOWNLOADS: usize = 50;

#[tokio::test]
async fn a_download_that_nobody_reads_holds_a_mebibyte_at_most() {
    let mut entries = epub_entries("가을로");
    entries.push(("OEBPS/큰 그림.png".to_owned(), picture(50 << 20, 3), false));
    let lent = Lent::of(KEY, &zip(&entries), |_| {}).await;
    let store = &lent.library.shop.store;
    assert_eq!(store.download_bytes_held(), 0);
    let mut held = Vec::new();
    for _ in 0..DOWNLOADS {
        let download = open(lent.lending(), lent.licence.id).await.expect("open");
        assert!(download.len() > 50 << 20);
        let mut body = download.read(None).await.expect("readable");
        let pieces = [body.try_next().await, body.try_next().await];
        held.push((body, pieces.map(|piece| piece.expect("readable").expect("a piece").len())));
    }
    // The piece before, whose rest the network may still have, the one that it has now, and what is read ahead.
    let before: usize = held.iter().map(|(_, pieces)| pieces[0]).sum();
    let all = store.download_bytes_held() + before;
    assert!(all <= DOWNLOADS << 20, "{} KiB each", all / DOWNLOADS / 1024);
    drop(held);
    assert_eq!(store.download_bytes_held(), 0);
}
