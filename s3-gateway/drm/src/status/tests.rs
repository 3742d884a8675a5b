use super::*;
use crate::licence::{self, Change, Licence, LicenceId, Rights};
use crate::testing::{Authority, LICENCE, Sample, at, provider_params};
use proptest::prelude::*;
use serde_json::json;
use types::Timestamp;

const ISSUED: &str = "2026-05-01T10:00:00Z";
const NOW: &str = "2026-05-05T10:00:00Z";
const END: &str = "2026-05-15T10:00:00Z";
const MAX: &str = "2026-06-30T10:00:00Z";
const AFTER: &str = "2026-05-15T10:00:01Z";

fn id() -> LicenceId {
    LICENCE.parse().expect("an id")
}

fn loan() -> Record {
    Record::new(id(), at(ISSUED), Some(at(END)), Some(at(MAX)))
}

fn sold() -> Record {
    Record::new(id(), at(ISSUED), None, None)
}

fn device(name: &str) -> Device {
    Device { id: Some(name.to_owned()), name: Some(format!("{name}의 단말")) }
}

fn policy() -> Policy {
    Policy { renew_days: Some(14), ..Policy::default() }
}

/// The record after a step that is taken.
fn after(record: &Record, step: Result<Step, Refusal>) -> Record {
    let mut record = record.clone();
    record.apply(step.expect("granted"));
    record
}

fn active() -> Record {
    let loan = loan();
    after(&loan, register(&loan, &policy(), &device("a"), at(NOW)))
}

fn problem(refused: Result<Step, Refusal>) -> (u16, String) {
    let problem = Problem::from(&refused.expect_err("refused"));
    let kind = problem.type_uri();
    (problem.status, kind.strip_prefix("http://readium.org/license-status-document/error/").expect("a type").to_owned())
}

fn refused(refused: Result<Step, Refusal>) -> Refusal {
    refused.expect_err("refused")
}

#[test]
fn a_device_registers_once() {
    let record = active();
    assert_eq!((record.state, record.licence_updated, record.status_updated), (State::Active, at(ISSUED), at(NOW)));
    assert_eq!(record.events, [Event { kind: EventKind::Register, device: device("a"), at: at(NOW) }]);
    let again = register(&record, &policy(), &Device { name: Some("other".to_owned()), ..device("a") }, at(END));
    assert_eq!(again.as_ref().expect("granted").event, None);
    assert_eq!(after(&record, again), record);
    let two = after(&record, register(&record, &policy(), &device("b"), at(END)));
    assert_eq!(two.devices().into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_device_says_who_it_is() {
    let nobody = [
        Device::default(),
        Device { name: None, ..device("a") },
        Device { id: None, ..device("a") },
        device(""),
        device("a\n"),
        device(&"a".repeat(256)),
    ];
    for device in nobody {
        assert_eq!(
            problem(register(&loan(), &policy(), &device, at(NOW))),
            (400, "registration".to_owned()),
            "{device:?}"
        );
    }
    let odd = device("a\u{7f}");
    assert_eq!(problem(renew(&loan(), &policy(), &odd, None, at(NOW))), (400, "renew".to_owned()));
    assert_eq!(problem(return_licence(&loan(), &odd, at(NOW))), (400, "return".to_owned()));
    assert!(renew(&loan(), &policy(), &Device::default(), None, at(NOW)).is_ok());
}

#[test]
fn devices_are_counted_and_limited() {
    let limited = Policy { devices_soft: Some(1), devices_hard: Some(2), ..policy() };
    let one = active();
    assert!(!limited.is_over_soft(&one));
    let two = after(&one, register(&one, &limited, &device("b"), at(NOW)));
    assert!(limited.is_over_soft(&two));
    let third = register(&two, &limited, &device("c"), at(NOW));
    assert_eq!(third, Err(Refusal::RegisterDevices { max: 2 }));
    assert_eq!(problem(third), (403, "registration".to_owned()));
    assert!(register(&two, &limited, &device("a"), at(NOW)).is_ok());
}

#[test]
fn events_are_bounded_and_leave_room_for_the_end() {
    let mut record = loan();
    for number in 0.. {
        match register(&record, &policy(), &device(&number.to_string()), at(NOW)) {
            Ok(step) => record.apply(step),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::RegisterFull);
                break;
            }
        }
    }
    assert_eq!(refused(renew(&record, &policy(), &device("a"), None, at(NOW))), Refusal::RenewFull);
    record = after(&record, return_licence(&record, &device("a"), at(NOW)));
    assert!(record.state == State::Returned && record.events.len() <= EVENTS_MAX);
}

#[test]
fn expiry_comes_by_itself() {
    for record in [loan(), active()] {
        assert!(record.state_at(at(END)).is_open());
        assert_eq!(record.state_at(at(AFTER)), State::Expired);
        assert_eq!(problem(register(&record, &policy(), &device("z"), at(AFTER))), (403, "registration".to_owned()));
        assert_eq!(problem(renew(&record, &policy(), &device("z"), None, at(AFTER))), (403, "renew".to_owned()));
        assert_eq!(problem(return_licence(&record, &device("z"), at(AFTER))), (403, "return/expired".to_owned()));
        assert_eq!(refused(cancel(&record, at(AFTER))), Refusal::CancelNotReady(State::Expired));
    }
    assert_eq!(sold().state_at(at("2200-01-01T00:00:00Z")), State::Ready);
}

#[test]
fn a_renewal_adds_days_as_the_policy_says() {
    let renewed = |record: &Record, policy: &Policy, now: &str| {
        renew(record, policy, &device("a"), None, at(now)).map(|step| step.new_end.expect("a new end"))
    };
    assert_eq!(renewed(&active(), &policy(), NOW), Ok(at("2026-05-29T10:00:00Z")));
    let from_now = Policy { renew_from_now: true, ..policy() };
    assert_eq!(renewed(&active(), &from_now, NOW), Ok(at("2026-05-19T10:00:00Z")));
    let few = Policy { renew_days: Some(1), ..from_now };
    assert!(matches!(renewed(&active(), &few, NOW), Err(Refusal::RenewDate { .. })));
    let many = Policy { renew_days: Some(1000), ..policy() };
    assert_eq!(renewed(&active(), &many, NOW), Ok(at(MAX)));
    let late = Policy { renew_expired: true, ..policy() };
    assert_eq!(renewed(&active(), &late, "2026-05-20T10:00:00Z"), Ok(at("2026-06-03T10:00:00Z")));
    assert_eq!(refused(renew(&active(), &Policy::default(), &device("a"), None, at(NOW))), Refusal::RenewOff);
    assert_eq!(problem(renew(&sold(), &policy(), &device("a"), None, at(NOW))), (403, "renew".to_owned()));
}

#[test]
fn a_renewal_moves_licence_and_status() {
    let record = active();
    let renewed = after(&record, renew(&record, &policy(), &device("a"), None, at("2026-05-06T00:00:00.5Z")));
    let now = at("2026-05-06T00:00:00Z");
    assert_eq!((renewed.licence_updated, renewed.status_updated, renewed.state), (now, now, State::Active));
    assert_eq!(renewed.end, Some(at("2026-05-29T10:00:00Z")));
    assert_eq!(renewed.events.last().map(|event| (event.kind, event.at)), Some((EventKind::Renew, now)));
    let to_max = Policy { renew_days: Some(1000), ..policy() };
    let last = after(&renewed, renew(&renewed, &to_max, &device("a"), None, at(NOW)));
    assert_eq!(last.licence_updated, at("2026-05-06T00:00:01Z"));
    let none = renew(&last, &to_max, &device("a"), None, at(NOW));
    assert_eq!(none, Err(Refusal::RenewDate { after: at(MAX), max: Some(at(MAX)) }));
    assert_eq!(problem(none), (403, "renew/date".to_owned()));
}

#[test]
fn an_end_that_is_asked_for_is_taken_or_refused() {
    let asked = |end: &str| renew(&active(), &policy(), &device("a"), Some(at(end)), at(NOW));
    assert_eq!(asked("2026-06-01T00:00:00Z").expect("granted").new_end, Some(at("2026-06-01T00:00:00Z")));
    assert_eq!(asked(MAX).expect("granted").new_end, Some(at(MAX)));
    assert_eq!(asked(END).expect("granted").event, None);
    for end in ["2026-06-30T10:00:01Z", "2026-05-14T00:00:00Z", "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        assert_eq!(problem(asked(end)), (403, "renew/date".to_owned()), "{end}");
    }
    let late = Policy { renew_expired: true, ..policy() };
    let in_the_past = renew(&active(), &late, &device("a"), Some(at(END)), at(AFTER));
    assert_eq!(problem(in_the_past), (403, "renew/date".to_owned()));
}

#[test]
fn a_loan_is_returned_once() {
    for (record, state) in [(active(), State::Returned), (loan(), State::Cancelled)] {
        let returned = after(&record, return_licence(&record, &device("a"), at(NOW)));
        assert_eq!((returned.state, returned.end, returned.licence_updated), (state, Some(at(NOW)), at(NOW)));
        assert_eq!(returned.events.last().map(|event| event.kind), Some(EventKind::Return));
        assert_eq!(problem(return_licence(&returned, &device("a"), at(NOW))), (403, "return/already".to_owned()));
        assert_eq!(problem(register(&returned, &policy(), &device("a"), at(NOW))), (403, "registration".to_owned()));
        assert_eq!(problem(renew(&returned, &policy(), &device("a"), None, at(NOW))), (403, "renew".to_owned()));
        assert_eq!(returned.state_at(at("2030-01-01T00:00:00Z")), state);
    }
    assert_eq!(problem(return_licence(&sold(), &device("a"), at(NOW))), (400, "return".to_owned()));
}

#[test]
fn a_store_takes_back_what_it_lent_or_sold() {
    let sold = sold();
    let used = after(&sold, register(&sold, &policy(), &device("a"), at(NOW)));
    for (record, state) in
        [(active(), State::Revoked), (used, State::Revoked), (loan(), State::Cancelled), (sold, State::Cancelled)]
    {
        let taken = after(&record, revoke(&record, at(NOW)));
        assert_eq!((taken.state, taken.end, taken.licence_updated), (state, Some(at(NOW)), at(NOW)));
        assert_eq!(revoke(&taken, at(NOW)), Err(Refusal::RevokeFinal(state)));
        assert_eq!(problem(revoke(&taken, at(NOW))), (400, "cancel".to_owned()));
    }
    let revoked = after(&active(), revoke(&active(), at(NOW)));
    assert_eq!(problem(return_licence(&revoked, &device("a"), at(NOW))), (400, "return".to_owned()));
    let cancelled = after(&loan(), cancel(&loan(), at(NOW)));
    assert_eq!((cancelled.state, cancelled.end), (State::Cancelled, Some(at(NOW))));
    assert_eq!(problem(cancel(&active(), at(NOW))), (400, "cancel".to_owned()));
}

#[test]
fn what_has_expired_can_be_revoked_and_its_licence_stays() {
    let revoked = after(&active(), revoke(&active(), at(AFTER)));
    assert_eq!((revoked.state, revoked.end, revoked.licence_updated), (State::Revoked, Some(at(END)), at(ISSUED)));
}

#[test]
fn the_latest_end_is_counted_from_the_issue() {
    let policy = Policy { renew_days_max: Some(30), ..policy() };
    assert_eq!(policy.max_end(at(ISSUED), Some(at(END))), Some(at("2026-05-31T10:00:00Z")));
    assert_eq!(policy.max_end(at(ISSUED), Some(at(MAX))), Some(at(MAX)));
    assert_eq!(policy.max_end(at(ISSUED), None), None);
    assert_eq!(Policy::default().max_end(at(ISSUED), Some(at(END))), None);
}

fn links() -> StatusLinks {
    StatusLinks {
        licence_href: "https://s.example/lcp/licenses/{license_id}/fresh".to_owned(),
        register_href: Some("https://s.example/lsd/licenses/{license_id}/register".to_owned()),
        renew: Some(RenewLink::Here("https://s.example/lsd/licenses/{license_id}/renew".to_owned())),
        return_href: Some("https://s.example/lsd/licenses/{license_id}/return".to_owned()),
    }
}

fn view(language: Language) -> View {
    View { language, with_events: false }
}

#[test]
fn a_status_document_is_what_the_format_says() {
    let view = View { language: Language::Korean, with_events: true };
    let href = |what: &str| format!("https://s.example/lsd/licenses/{LICENCE}/{what}");
    let status = "application/vnd.readium.license.status.v1.0+json";
    let expected = json!({
        "id": LICENCE,
        "status": "active",
        "message": "사용 중인 이용권입니다.",
        "updated": { "license": ISSUED, "status": NOW },
        "links": [
            {
                "rel": "license",
                "href": format!("https://s.example/lcp/licenses/{LICENCE}/fresh"),
                "type": "application/vnd.readium.lcp.license.v1.0+json",
            },
            { "rel": "register", "href": href("register{?id,name}"), "type": status, "templated": true },
            { "rel": "renew", "href": href("renew{?end,id,name}"), "type": status, "templated": true },
            { "rel": "return", "href": href("return{?id,name}"), "type": status, "templated": true },
        ],
        "potential_rights": { "end": MAX },
        "events": [{ "type": "register", "id": "a", "name": "a의 단말", "timestamp": NOW }],
    });
    assert_eq!(document(&active(), &links(), &policy(), view, at(END)), expected);
}

#[test]
fn links_are_those_that_can_be_followed() {
    let rels = |record: &Record, policy: &Policy, now: &str| {
        let document = document(record, &links(), policy, view(Language::English), at(now));
        assert_eq!(document.get("events"), None);
        let links = document["links"].as_array().expect("links").clone();
        let potential = document.get("potential_rights").is_some();
        (
            links.iter().map(|link| link["rel"].as_str().expect("a rel").to_owned()).collect::<Vec<_>>().join(" "),
            potential,
        )
    };
    let all = ("license register renew return".to_owned(), true);
    assert_eq!(rels(&loan(), &policy(), NOW), all);
    assert_eq!(rels(&active(), &policy(), NOW), all);
    assert_eq!(rels(&sold(), &policy(), NOW), ("license register".to_owned(), false));
    assert_eq!(rels(&active(), &policy(), AFTER), ("license".to_owned(), false));
    let late = Policy { renew_expired: true, ..policy() };
    assert_eq!(rels(&active(), &late, AFTER), ("license renew".to_owned(), false));
    let returned = after(&active(), return_licence(&active(), &device("a"), at(NOW)));
    assert_eq!(rels(&returned, &late, NOW), ("license".to_owned(), false));
}

#[test]
fn an_expired_document_changed_at_the_end() {
    let shown = document(&active(), &links(), &policy(), view(Language::English), at("2027-01-01T00:00:00Z"));
    assert_eq!(shown["status"], "expired");
    assert_eq!(shown["message"], "The licence has expired.");
    assert_eq!(shown["updated"], json!({ "license": ISSUED, "status": END }));
}

#[test]
fn a_page_to_renew_has_no_parameters() {
    let page = RenewLink::Page("https://s.example/renew?l={license_id}".to_owned());
    let links = StatusLinks { renew: Some(page), ..links() };
    assert_eq!(links.check(), Ok(()));
    let shown = document(&loan(), &links, &policy(), view(Language::English), at(NOW));
    let expected =
        json!({ "rel": "renew", "href": format!("https://s.example/renew?l={LICENCE}"), "type": "text/html" });
    assert_eq!(shown["links"][2], expected);
    assert!(StatusLinks { register_href: Some("s.example".to_owned()), ..links }.check().is_err());
}

#[test]
fn the_language_is_the_one_liked_best() {
    let accepted = |header: &str| Language::accepted(header, Language::English);
    for header in
        ["ko", "KO-KR", "ko-KR,ko;q=0.9,en-US;q=0.8", "fr, ko;q=0.1", "en;q=0.5, ko;q=0.7", "en;q=0, ko;q=0.001"]
    {
        assert_eq!(accepted(header), Language::Korean, "{header}");
    }
    for header in ["", "en, ko", "*", "fr", "ko;q=NaN", "ko;q=2", "ko;q=0", "korean", ";;,,=", "*;q=0.9, ko;q=0.8"] {
        assert_eq!(accepted(header), Language::English, "{header}");
    }
    assert_eq!((Language::accepted("fr", Language::Korean), Language::Korean.tag()), (Language::Korean, "ko"));
}

#[test]
fn problems_are_what_the_format_says() {
    let problem = Problem::from(&Refusal::RenewDate { after: at(END), max: Some(at(MAX)) });
    let expected = json!({
        "type": "http://readium.org/license-status-document/error/renew/date",
        "title": "The loan cannot end at that date",
        "status": 403,
        "detail": format!("the new end has to be after {END} and not later than {MAX}"),
    });
    assert_eq!(problem.to_json(), expected);
    assert_eq!(Problem::not_found().to_json()["status"], 404);
    assert_eq!(Problem::server().type_uri(), "http://readium.org/license-status-document/error/server");
}

#[test]
fn a_step_and_the_licence_change_alike() {
    let signer = Authority::new("root").provider(&provider_params());
    let mut sample = Sample::new();
    sample.rights.end = Some(at(END));
    let issued = sample.issued(&signer, ISSUED);
    let stored = Licence::parse(issued.document.as_bytes()).expect("a licence");
    let mut record = Record::new(id(), issued.last_change, stored.terms().rights.end, None);
    // Within the second of the issue.
    let step = return_licence(&record, &device("a"), at(ISSUED)).expect("granted");
    let rights = Rights { end: step.new_end, ..stored.terms().rights.clone() };
    let changed =
        licence::change(&stored, &Change { rights: Some(rights), ..Change::default() }, at(ISSUED)).expect("sound");
    assert_eq!(step.licence_updated, Some(changed.last_change()));
    record.apply(step);
    assert_eq!(record.licence_updated, at("2026-05-01T10:00:01Z"));
    record.licence_changed(at(NOW), Some(at(MAX)));
    assert_eq!((record.licence_updated, record.end), (at(NOW), Some(at(MAX))));
}

#[test]
fn what_is_kept_has_a_binary_form() {
    let record = after(&active(), renew(&active(), &policy(), &Device::default(), None, at(NOW)));
    let bytes = postcard::to_allocvec(&record).expect("plain data");
    assert_eq!(postcard::from_bytes::<Record>(&bytes), Ok(record.clone()));
    let step = revoke(&record, at(NOW)).expect("granted");
    let bytes = postcard::to_allocvec(&(step.clone(), policy(), links())).expect("plain data");
    assert_eq!(postcard::from_bytes(&bytes), Ok((step, policy(), links())));
    let sample = Sample::new();
    let bytes = postcard::to_allocvec(&(&sample.store, &sample.publication, &sample.rights)).expect("plain data");
    assert_eq!(postcard::from_bytes(&bytes), Ok((sample.store, sample.publication, sample.rights)));
}

/// What may be asked for, and how many seconds later.
#[derive(Clone, Debug)]
enum Ask {
    Register(u8),
    Renew(Option<i64>),
    Return,
    Revoke,
    Cancel,
}

fn asks() -> impl Strategy<Value = Vec<(Ask, i64)>> {
    let ask = prop_oneof![
        4 => (0u8..5).prop_map(Ask::Register),
        4 => proptest::option::of(-100i64..3_000_000).prop_map(Ask::Renew),
        1 => Just(Ask::Return),
        1 => Just(Ask::Revoke),
        1 => Just(Ask::Cancel),
    ];
    proptest::collection::vec((ask, 0i64..400_000), 0..20)
}

fn taken(record: &Record, policy: &Policy, ask: &Ask, now: Timestamp) -> Result<Step, Refusal> {
    match ask {
        Ask::Register(number) => register(record, policy, &device(&number.to_string()), now),
        Ask::Renew(end) => {
            let end = end.map(|later| Timestamp::from_secs(now.secs() + later, 0));
            renew(record, policy, &Device::default(), end, now)
        }
        Ask::Return => return_licence(record, &Device::default(), now),
        Ask::Revoke => revoke(record, now),
        Ask::Cancel => cancel(record, now),
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_the_rules_hold(
        asks in asks(),
        is_loan in any::<bool>(),
        renew_from_now in any::<bool>(),
        renew_expired in any::<bool>(),
    ) {
        let policy = Policy { renew_from_now, renew_expired, devices_hard: Some(3), ..policy() };
        let mut record = if is_loan { loan() } else { sold() };
        let mut now = at(ISSUED);
        for (ask, later) in asks {
            now = Timestamp::from_secs(now.secs() + later, 0);
            let before = record.clone();
            let Ok(step) = taken(&record, &policy, &ask, now) else { continue };
            record.apply(step.clone());
            let is_final = !before.state.is_open();
            prop_assert!(!is_final && record.state != State::Expired);
            prop_assert_eq!(record.end != before.end, step.new_end.is_some());
            prop_assert_eq!(record.licence_updated > before.licence_updated, record.end != before.end);
            prop_assert!(record.status_updated >= before.status_updated && record.devices().len() <= 3);
            prop_assert!(record.events.starts_with(&before.events) && record.events.len() <= before.events.len() + 1);
            prop_assert!(before.end.is_none() || record.end <= before.end.max(record.max_end));
            if record.state.is_open() {
                prop_assert!(record.state_at(now).is_open() || step.event.is_none());
            } else {
                prop_assert!(record.end <= Some(now) && record.end.is_some());
            }
            prop_assert_eq!(postcard::from_bytes::<Record>(&postcard::to_allocvec(&record).expect("plain data")), Ok(record.clone()));
        }
        let shown = document(&record, &links(), &policy, view(Language::English), now);
        prop_assert_eq!(shown["status"].as_str(), Some(record.state_at(now).name()));
    }

    #[test]
    fn no_header_makes_it_panic(header in "\\PC{0,60}") {
        let _ = Language::accepted(&header, Language::Korean);
    }
}
