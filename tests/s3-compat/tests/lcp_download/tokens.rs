//! Tokens: what each is good for, and what it is not.

use super::*;
use gateway_core::lcp::{SKEW_SECONDS_MAX, TOKEN_TEXT_BYTES, TokenFault};
use s3_compat::lcp::at;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn token(lent: &Lent) -> String {
    lent.lending().issue_token(lent.licence.id, HOUR).await.expect("issued").text
}

fn fault<T>(result: Result<T, LcpError>) -> TokenFault {
    match result.map(|_| ()) {
        Err(LcpError::Token(fault)) => fault,
        other => panic!("no fault of the token: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_opens_its_licence_at_every_gateway_until_it_expires() {
    let lent = Lent::new(|_| {}).await;
    let issued = lent.lending().issue_token(lent.licence.id, HOUR).await.expect("issued");
    assert_eq!(issued.expires, at("2026-05-01T11:00:00Z"));
    assert_eq!(issued.text.len(), TOKEN_TEXT_BYTES);
    assert!(issued.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert!(!format!("{issued:?}").contains(&issued.text));
    let other = lent.library.shop.other_gateway();
    let file = lent.file().await;
    for gateway in [lent.lending(), &other] {
        let download = open_with(gateway, lent.licence.id, &issued.text).await.expect("open");
        assert!(read(download, None).await == file);
    }
    lent.library.shop.clock.pass(3600);
    for gateway in [lent.lending(), &other] {
        assert_eq!(fault(gateway.check_token(&issued.text, lent.licence.id).await), TokenFault::Expired);
    }
}

#[tokio::test]
async fn a_token_that_was_altered_anywhere_opens_nothing() {
    let lent = Lent::new(|_| {}).await;
    let text = token(&lent).await;
    for at in 0..text.len() {
        for other in ["A", "B", "z", "9", "-", "_", "=", "+"] {
            if &text[at..=at] != other {
                let altered = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert_eq!(fault(lent.lending().check_token(&altered, lent.licence.id).await), TokenFault::Foreign);
            }
        }
    }
    for other in [String::new(), text[1..].to_owned(), format!("{text}A"), format!("{text} "), "A".repeat(1 << 16)] {
        assert_eq!(fault(lent.lending().check_token(&other, lent.licence.id).await), TokenFault::Foreign);
    }
    assert!(lent.lending().check_token(&text, lent.licence.id).await.is_ok());
}

#[tokio::test]
async fn a_token_is_for_one_licence() {
    let lent = Lent::new(|_| {}).await;
    let other = lent.another("독자-2", passphrase()).await.id;
    let text = token(&lent).await;
    assert_eq!(fault(lent.lending().check_token(&text, other).await), TokenFault::OtherLicence);
    let good = lent.lending().check_token(&text, lent.licence.id).await.expect("good");
    let swapped = DownloadRequest { permit: Permit::Token(good), ..request(other) };
    assert_eq!(fault(lent.lending().open(swapped).await), TokenFault::OtherLicence);
}

#[tokio::test]
async fn a_token_from_the_future_opens_nothing() {
    let lent = Lent::new(|_| {}).await;
    lent.library.shop.clock.pass(SKEW_SECONDS_MAX);
    let slightly = token(&lent).await;
    lent.library.shop.clock.pass(1);
    let too_much = token(&lent).await;
    lent.library.shop.clock.pass(-SKEW_SECONDS_MAX - 1);
    assert!(lent.lending().check_token(&slightly, lent.licence.id).await.is_ok());
    assert_eq!(fault(lent.lending().check_token(&too_much, lent.licence.id).await), TokenFault::Early);
}

#[tokio::test]
async fn a_token_is_issued_for_a_licence_that_is_open_and_no_longer_than_allowed() {
    let lent = Lent::new(|config| config.token_max = HOUR).await;
    let issue = |licence, seconds| lent.lending().issue_token(licence, Duration::from_secs(seconds));
    for seconds in [0, 3601, u64::MAX] {
        assert!(matches!(issue(lent.licence.id, seconds).await, Err(LcpError::Invalid { field: "ttl", .. })));
    }
    assert!(issue(lent.licence.id, 3600).await.is_ok());
    let unknown = "00000000-0000-4000-8000-000000000000".parse().expect("an id");
    assert!(matches!(issue(unknown, 60).await, Err(LcpError::NoSuchLicence)));
    lent.lending().revoke(lent.licence.id).await.expect("revoked");
    assert!(matches!(issue(lent.licence.id, 60).await, Err(LcpError::Closed("cancelled"))));
}

#[tokio::test]
async fn two_secrets_count_and_older_ones_do_not() {
    let lent = Lent::new(|_| {}).await;
    let lending = lent.lending();
    let first = token(&lent).await;
    assert_eq!(lending.rotate_token_secret().await.expect("memory"), 2);
    let second = token(&lent).await;
    assert!(lending.check_token(&first, lent.licence.id).await.is_ok());
    assert_eq!(lending.rotate_token_secret().await.expect("memory"), 3);
    assert_eq!(fault(lending.check_token(&first, lent.licence.id).await), TokenFault::Foreign);
    assert!(lending.check_token(&second, lent.licence.id).await.is_ok());
    let fresh = lent.library.shop.other_gateway();
    assert_eq!(fault(fresh.check_token(&first, lent.licence.id).await), TokenFault::Foreign);
    assert!(fresh.check_token(&second, lent.licence.id).await.is_ok());
    assert_eq!(lending.rewrap_token_secrets().await.expect("memory"), 0, "they are wrapped under the newest key");
}

#[tokio::test]
async fn gateways_that_issue_their_first_token_at_once_agree_on_the_secret() {
    let lent = Lent::new(|_| {}).await;
    let gateways = [lent.library.shop.other_gateway(), lent.library.shop.other_gateway()];
    let (one, two) =
        tokio::join!(gateways[0].issue_token(lent.licence.id, HOUR), gateways[1].issue_token(lent.licence.id, HOUR));
    for text in [one.expect("issued").text, two.expect("issued").text] {
        for gateway in &gateways {
            assert!(gateway.check_token(&text, lent.licence.id).await.is_ok());
        }
    }
}

#[tokio::test]
async fn secrets_are_kept_wrapped_and_read_once() {
    let lent = Lent::new(|_| {}).await;
    let keys = &lent.library.shop.keys;
    let text = token(&lent).await;
    let unwrapped = keys.unwrapped();
    for _ in 0..10 {
        lent.lending().check_token(&text, lent.licence.id).await.expect("good");
    }
    assert_eq!(keys.unwrapped(), unwrapped);
    keys.set_away(true);
    lent.lending().check_token(&text, lent.licence.id).await.expect("at hand");
    let fresh = lent.library.shop.other_gateway();
    assert!(matches!(fresh.check_token(&text, lent.licence.id).await, Err(LcpError::Key(_))));
    assert!(!lent.library.shop.is_kept(text.as_bytes()));
}

#[tokio::test]
async fn a_token_is_good_for_so_many_copies_counted_in_bytes_and_at_all_gateways() {
    let lent = Lent::new(|config| config.token_downloads = 2).await;
    let (here, there) = (lent.lending(), lent.library.shop.other_gateway());
    let text = token(&lent).await;
    let len = open_with(here, lent.licence.id, &text).await.expect("open").len();
    // A copy in two parts, and one at the other gateway.
    for range in [0..len / 2, len / 2..len] {
        let download = open_with(here, lent.licence.id, &text).await.expect("open");
        read(download, Some(range)).await;
    }
    here.flush_downloads().await.expect("memory");
    let download = open_with(&there, lent.licence.id, &text).await.expect("open");
    assert_eq!(read(download, Some(0..len - 1)).await.len() as u64, len - 1);
    there.flush_downloads().await.expect("memory");
    // One byte is left of it, and whoever has begun may end.
    let download = open_with(here, lent.licence.id, &text).await.expect("open");
    assert_eq!(read(download, Some(len - 1..len)).await.len(), 1);
    here.flush_downloads().await.expect("memory");
    for gateway in [here, &there, &lent.library.shop.other_gateway()] {
        assert_eq!(fault(open_with(gateway, lent.licence.id, &text).await), TokenFault::Spent);
    }
    let another = token(&lent).await;
    assert!(open_with(here, lent.licence.id, &another).await.is_ok());
}

#[tokio::test]
async fn a_token_that_many_use_at_once_is_good_for_one_copy_more() {
    let lent = Lent::new(|config| (config.token_downloads, config.licence_downloads) = (1, None)).await;
    let text = token(&lent).await;
    let mut bodies = Vec::new();
    for _ in 0..20 {
        let download = open_with(lent.lending(), lent.licence.id, &text).await.expect("nothing was sent yet");
        bodies.push(download.read(None).await.expect("readable"));
    }
    let len = lent.file().await.len();
    let (mut sent, mut cut) = (0, 0);
    for body in bodies {
        let mut body = std::pin::pin!(body);
        loop {
            match body.try_next().await {
                Ok(Some(piece)) => sent += piece.len(),
                Ok(None) => break,
                Err(LcpError::Token(TokenFault::Spent)) => {
                    cut += 1;
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(cut >= 17, "{cut} were cut short");
    // The piece that was on its way when it was over comes on top.
    assert!(sent <= 2 * len + (256 << 10), "{sent} of {len}");
}

#[tokio::test]
async fn a_reader_who_gives_up_at_once_has_not_used_a_copy() {
    let lent = Lent::new(|config| config.token_downloads = 1).await;
    let text = token(&lent).await;
    for _ in 0..5 {
        let download = open_with(lent.lending(), lent.licence.id, &text).await.expect("open");
        let mut body = download.read(None).await.expect("readable");
        body.try_next().await.expect("readable").expect("a piece");
    }
    let download = open_with(lent.lending(), lent.licence.id, &text).await.expect("still good");
    assert!(read(download, None).await == lent.file().await);
}
