//! Licences that are looked for, against a plain look at each.

use crate::{END, device, loan, policy, sale};
use drm::licence::{LicenceId, Reader};
use drm::status::State;
use gateway_core::lcp::{LcpError, LicenceEntry, LicenceFilter, NewLicence, SKIP_MAX};
use s3_compat::lcp::{Shop, at};
use types::Timestamp;

/// A shop with sixty licences: of two titles and three readers, one a minute, every fifth a loan; some used, returned or taken back.
async fn many() -> (Shop, Vec<LicenceEntry>) {
    let shop = Shop::open(|config| config.policy = policy());
    let titles = [shop.add_title("book-1").await, shop.add_title("book-2").await];
    let mut licences = Vec::new();
    for number in 0..60 {
        let title = &titles[number % 2];
        let new = if number % 5 == 0 { loan(title) } else { sale(title) };
        let reader = Reader::new(&format!("reader-{}", number % 3));
        let id = shop.lending.issue(NewLicence { reader, ..new }).await.expect("issued").licence.id;
        for name in 0..number % 4 {
            shop.lending.register(id, &device(&name.to_string())).await.expect("registered");
        }
        if number % 7 == 6 {
            shop.clock.pass(1);
            shop.lending.revoke(id).await.expect("revoked");
        }
        licences.push(shop.lending.licence(id).await.expect("there").value);
        shop.clock.pass(60);
    }
    (shop, licences)
}

fn ids(licences: &[LicenceEntry]) -> Vec<LicenceId> {
    licences.iter().map(|licence| licence.id).collect()
}

/// All that a filter finds, in pages of that size.
async fn all(shop: &Shop, filter: &LicenceFilter, max: u32) -> Vec<LicenceEntry> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = shop.lending.licences(filter, after, max).await.expect("found");
        assert!(page.found.len() <= max as usize);
        found.extend(page.found);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn filters(start: Timestamp) -> Vec<LicenceFilter> {
    let minute = |minute: i64| Some(Timestamp::from_secs(start.secs() + 60 * minute, 0));
    let none = LicenceFilter::default;
    let mut filters = vec![
        none(),
        LicenceFilter { title: Some("book-2".parse().expect("an id")), ..none() },
        LicenceFilter { title: Some("book-3".parse().expect("an id")), ..none() },
        LicenceFilter { user: Some("reader-1".to_owned()), ..none() },
        LicenceFilter { user: Some("reader-1".to_owned()), title: Some("book-1".parse().expect("an id")), ..none() },
        LicenceFilter { user: Some("reader-1".to_owned()), state: Some(State::Active), ..none() },
        LicenceFilter { devices: Some(2..=3), ..none() },
        LicenceFilter { devices: Some(0..=u32::MAX), ..none() },
        LicenceFilter { devices: Some(1..=1), from: minute(20), ..none() },
        LicenceFilter { from: minute(10), to: minute(30), ..none() },
        LicenceFilter { from: minute(10), title: Some("book-1".parse().expect("an id")), ..none() },
        LicenceFilter { to: minute(30), user: Some("reader-2".to_owned()), ..none() },
    ];
    let states =
        [State::Ready, State::Active, State::Returned, State::Revoked, State::Expired, State::Cancelled].map(Some);
    filters.extend(states.map(|state| LicenceFilter { state, ..none() }));
    filters.extend(states.map(|state| LicenceFilter { state, from: minute(15), to: minute(50), ..none() }));
    filters
}

fn matches(filter: &LicenceFilter, licence: &LicenceEntry, now: Timestamp) -> bool {
    filter.title.as_ref().is_none_or(|title| *title == licence.title)
        && filter.user.as_ref().is_none_or(|user| *user == licence.user)
        && filter.state.is_none_or(|state| state == licence.status.state_at(now))
        && filter.devices.as_ref().is_none_or(|range| range.contains(&(licence.status.devices().len() as u32)))
        && filter.from.is_none_or(|from| from <= licence.issued)
        && filter.to.is_none_or(|to| licence.issued < to)
}

#[tokio::test]
async fn all_that_is_looked_for_is_found_in_pages_of_any_size() {
    let (shop, licences) = many().await;
    let start = licences[0].issued;
    for now in [shop.clock.now(), at(END), at("2026-05-15T10:00:01Z")] {
        shop.clock.set(now);
        for filter in filters(start) {
            let mut expected: Vec<_> = licences.iter().filter(|licence| matches(&filter, licence, now)).collect();
            expected.sort_by_key(|licence| licence.id);
            for max in [1, 7, 60, 1024] {
                let mut found = all(&shop, &filter, max).await;
                found.sort_by_key(|licence| licence.id);
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?} by {max} at {now:?}");
            }
        }
    }
}

#[tokio::test]
async fn they_come_in_the_order_of_their_issue() {
    let (shop, licences) = many().await;
    assert_eq!(ids(&all(&shop, &LicenceFilter::default(), 7).await), ids(&licences));
    let of_reader = LicenceFilter { user: Some("reader-0".to_owned()), ..LicenceFilter::default() };
    let expected: Vec<_> = licences.iter().step_by(3).cloned().collect();
    assert_eq!(ids(&all(&shop, &of_reader, 7).await), ids(&expected));
}

#[tokio::test]
async fn pages_have_numbers_too() {
    let (shop, licences) = many().await;
    let start = licences[0].issued;
    for filter in filters(start) {
        let whole = ids(&all(&shop, &filter, 1024).await);
        for (skip, max) in [(0, 10), (10, 10), (20, 100), (3, 1), (60, 5), (1000, 5)] {
            let page = shop.lending.licences_from(&filter, skip, max).await.expect("found");
            let expected: Vec<_> = whole.iter().skip(skip as usize).take(max as usize).copied().collect();
            assert_eq!(ids(&page.found), expected, "{filter:?} {skip} {max}");
        }
    }
    let far = shop.lending.licences_from(&LicenceFilter::default(), SKIP_MAX + 1, 10).await;
    assert!(matches!(far, Err(LcpError::Invalid { field: "page", .. })), "{far:?}");
}

#[tokio::test]
async fn licences_are_counted_by_the_time_of_their_issue() {
    let (shop, licences) = many().await;
    let count = |from, to| shop.lending.count_licences(from, to);
    assert_eq!(count(None, None).await.expect("counted"), 60);
    assert_eq!(count(Some(licences[10].issued), Some(licences[30].issued)).await.expect("counted"), 20);
    assert_eq!(count(Some(licences[59].issued), None).await.expect("counted"), 1);
    assert_eq!(count(None, Some(licences[0].issued)).await.expect("counted"), 0);
    let empty = Shop::open(|_| {});
    assert_eq!(empty.lending.count_licences(None, None).await.expect("counted"), 0);
}

#[tokio::test]
async fn a_rare_one_is_found_behind_many() {
    let shop = Shop::open(|config| config.policy = policy());
    let title = shop.add_title("book-1").await;
    let mut last = None;
    for _ in 0..600 {
        last = Some(shop.lending.issue(sale(&title)).await.expect("issued").licence.id);
        shop.clock.pass(1);
    }
    shop.lending.revoke(last.expect("the last")).await.expect("cancelled");
    let devices = LicenceFilter { devices: Some(0..=0), state: Some(State::Cancelled), ..LicenceFilter::default() };
    let title = LicenceFilter { title: Some(title), state: Some(State::Cancelled), ..LicenceFilter::default() };
    for filter in [devices, title] {
        for max in [1, 10] {
            let found = shop.lending.licences(&filter, None, max).await.expect("found").found;
            assert_eq!(found.iter().map(|licence| Some(licence.id)).collect::<Vec<_>>(), [last], "{filter:?}");
            assert_eq!(ids(&shop.lending.licences_from(&filter, 0, max).await.expect("found").found), ids(&found));
            assert!(shop.lending.licences_from(&filter, 1, max).await.expect("none").found.is_empty());
        }
    }
    assert_eq!(shop.lending.count_licences(None, None).await.expect("counted"), 600);
    let page = shop.lending.licences_from(&LicenceFilter::default(), 500, 300).await.expect("found");
    assert_eq!((page.found.len(), page.next.is_some()), (100, false));
}
