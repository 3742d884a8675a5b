use super::*;

fn counted(id: u8) -> Counted {
    Counted::new(b't', &[id], 100)
}

fn config(change: impl FnOnce(&mut LcpConfig)) -> LcpConfig {
    let mut config = LcpConfig::new("https://s.example", "https://store.example", "https://store.example/hint");
    change(&mut config);
    config
}

#[test]
fn what_is_counted_is_told_apart_and_sorts_by_its_end() {
    let licence = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id");
    let at = |secs| Timestamp::from_secs(secs, 5);
    assert_eq!(Counted::licence_day(licence, at(0)), Counted::licence_day(licence, at(86_399)));
    assert_ne!(Counted::licence_day(licence, at(86_399)), Counted::licence_day(licence, at(86_400)));
    assert_eq!(Counted::title_minute("a", at(60)).until, Timestamp::from_secs(120, 0));
    assert_ne!(Counted::title_minute("a", at(60)), Counted::title_minute("b", at(60)));
    assert!(Counted::title_minute("a", at(60)).key < Counted::licence_day(licence, at(0)).key);
}

#[test]
fn gateways_keep_their_own_shares() {
    let (here, there) = (Meters::new(1), Meters::new(2));
    let key = counted(1).key;
    let mine = here.meter(counted(1), None).expect("room");
    here.add(&mine, 100);
    let taken = here.take(64);
    let record = Counter::new(&key).with(1, taken.meters[0].own());
    taken.written();
    let theirs = there.meter(counted(1), Some(&record)).expect("room");
    assert_eq!((theirs.bytes(), theirs.own()), (100, 0));
    there.add(&theirs, 30);
    let record = record.with(2, theirs.own());
    here.add(&mine, 1);
    assert_eq!(here.meter(counted(1), Some(&record)).expect("room").bytes(), 131);
    // The same write again counts nothing twice.
    assert_eq!(record.clone().with(2, theirs.own()), record);
    // One that has forgotten its meter takes it up where it was.
    let again = Meters::new(2).meter(counted(1), Some(&record)).expect("room");
    assert_eq!((again.bytes(), again.own()), (130, 30));
}

#[test]
fn a_meter_is_written_again_if_something_was_counted_since() {
    let meters = Meters::new(1);
    let meter = meters.meter(counted(1), None).expect("room");
    let take = || {
        let taken = meters.take(64);
        let count = taken.meters.len();
        taken.written();
        count
    };
    assert_eq!(take(), 0);
    meters.add(&meter, 1);
    meters.add(&meter, 1);
    assert_eq!(take(), 1);
    assert_eq!(take(), 0);
    meters.give_back(&meter, 2);
    drop(meters.take(64));
    assert_eq!(meter.bytes(), 0);
    assert_eq!(take(), 1, "what was not written waits again");
}

#[test]
fn the_bytes_of_a_counter_are_pinned() {
    let licence = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id");
    let counted = Counted::licence_day(licence, Timestamp::from_secs(7, 0));
    // Made by another program.
    let key = "80004e94914f00006c3f0c1a529c1e4b8e8a370d6b6f3f2a10";
    assert_eq!(hex::encode(&counted.key), key);
    let counter = Counter { rest: 5, ..Counter::new(&counted.key) }.with(1, 100).with(1 << 40, 300);
    let bytes = super::super::records::encode(&counter).expect("a value");
    assert_eq!(hex::encode(bytes), format!("0119{key}05020164808080808020ac02"));
}

#[test]
fn many_gateways_are_put_together() {
    let mut counter = Counter::new(&counted(1).key);
    for instance in 0..100 {
        counter = counter.with(instance, 10);
    }
    assert!(postcard::to_stdvec(&counter).expect("plain data").len() < 1000);
    assert_eq!(counter.split(99), (10, 990));
    assert_eq!(counter.split(0), (0, 1000));
}

#[tokio::test(start_paused = true)]
async fn idle_meters_make_room_and_others_do_not() {
    let meters = Meters::new(1);
    let id = |id: usize| Counted::new(b't', &id.to_be_bytes(), 100);
    let held = meters.meter(id(0), None).expect("room");
    let waiting = meters.meter(id(1), None).expect("room");
    meters.add(&waiting, 1);
    drop(waiting);
    for at in 2..METERS_MAX {
        meters.meter(id(at), None).expect("room");
    }
    assert_eq!(meters.meter(id(METERS_MAX), None).map(|_| ()), Err(ClusterError::Busy));
    tokio::time::advance(METER_IDLE).await;
    meters.meter(id(METERS_MAX), None).expect("the idle ones made room");
    assert_eq!(meters.len(), 3, "one in use, one to be written, the new one");
    drop(held);
    meters.take(64).written();
    tokio::time::advance(METER_IDLE).await;
    meters.sweep();
    assert_eq!(meters.len(), 0);
}

#[test]
fn copies_are_counted_in_bytes() {
    let config = config(|config| {
        (config.token_downloads, config.licence_downloads, config.title_downloads) = (2, Some(3), Some(1));
    });
    let meters = Meters::new(1);
    let now = Timestamp::from_secs(70, 0);
    let meter = |id, until| meters.meter(Counted::new(b'x', &[id], until), None).expect("room");
    let tally = Tally { token: Some(meter(1, 100)), licence: Some(meter(2, 86_400)), title: Some(meter(3, 120)) };
    let refused = || tally.admit(&config, 1000, now).err().map(|(error, refused)| (error.to_string(), refused));
    assert_eq!(refused(), None);
    meters.add(tally.token.as_ref().expect("set"), 1999);
    meters.add(tally.licence.as_ref().expect("set"), 2999);
    meters.add(tally.title.as_ref().expect("set"), 999);
    assert_eq!(refused(), None);
    meters.add(tally.title.as_ref().expect("set"), 1);
    let retry = |error: Option<(LcpError, Refused)>| match error {
        Some((LcpError::TooMany { retry_seconds }, refused)) => Some((retry_seconds, refused)),
        _ => None,
    };
    assert_eq!(retry(tally.admit(&config, 1000, now).err()), Some((50, Refused::TitleLimit)));
    meters.add(tally.licence.as_ref().expect("set"), 1);
    assert_eq!(retry(tally.admit(&config, 1000, now).err()), Some((86_330, Refused::LicenceLimit)));
    meters.add(tally.token.as_ref().expect("set"), 1);
    assert_eq!(refused().map(|(_, refused)| refused), Some(Refused::TokenSpent));
    let unlimited = Tally::default();
    assert!(unlimited.admit(&config, 1000, now).is_ok());
}
