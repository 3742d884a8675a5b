use super::field::Fault;
use super::*;
use crate::canonical;
use crate::certificate::OutsideValidity;
use crate::testing::{Authority, LICENCE, Provider as Signing, Sample, Seeded, at, provider_params, rsa_key};
use crate::{BasicProfile, PassphraseHash, Profile, UserKey, signature};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: &str = "2026-05-01T10:00:00Z";
const LATER: &str = "2026-06-01T10:00:00Z";

fn signer() -> Signing {
    Authority::new("root").provider(&provider_params())
}

fn read(issued: &Issued) -> Licence {
    Licence::parse(issued.document.as_bytes()).expect("a licence")
}

fn json_of(issued: &Issued) -> Value {
    serde_json::from_str(&issued.document).expect("JSON")
}

fn fault(refused: Result<Unsigned, BadGrant>) -> (&'static str, Fault) {
    match refused.expect_err("refused") {
        BadGrant::Field(bad) => (bad.field, bad.fault),
        BadGrant::Long { bytes } => panic!("of {bytes} bytes"),
    }
}

fn check_signature(licence: &Licence, signer: &Signing) {
    let certificate = crate::certificate::Certificate::parse(&signer.certificate).expect("a certificate");
    let signature = licence.signature();
    assert_eq!(signature.certificate, signer.certificate);
    let text = licence.signed_text();
    assert_eq!(
        signature::verify(signature.algorithm, certificate.public_key(), text.as_bytes(), &signature.value),
        Ok(())
    );
}

#[test]
fn a_licence_is_what_the_format_says() {
    let signer = signer();
    let issued = Sample::new().issued(&signer, NOW);
    let mut document = json_of(&issued);
    for at in ["/encryption/content_key/encrypted_value", "/encryption/user_key/key_check", "/user/email", "/user/name"]
    {
        let value = document.pointer_mut(at).expect("there");
        let length = value.as_str().expect("base64").len();
        *value = json!(length);
    }
    document.as_object_mut().expect("an object").remove("signature");
    let expected = json!({
        "id": LICENCE,
        "issued": NOW,
        "provider": "https://store.example",
        "encryption": {
            "profile": "http://readium.org/lcp/basic-profile",
            "content_key": { "algorithm": "http://www.w3.org/2001/04/xmlenc#aes256-cbc", "encrypted_value": 88 },
            "user_key": {
                "algorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
                "text_hint": "늘 쓰던 것",
                "key_check": 88,
            },
        },
        "links": [
            {
                "rel": "publication",
                "href": "https://store.example/books/1.epub",
                "type": "application/epub+zip",
                "title": "책 \"하나\"",
                "length": 123_456,
                "hash": "ab".repeat(32),
            },
            { "rel": "hint", "href": format!("https://store.example/hint?licence={LICENCE}"), "type": "text/html" },
            {
                "rel": "status",
                "href": format!("https://store.example/lsd/licenses/{LICENCE}/status"),
                "type": STATUS_TYPE,
            },
            { "rel": "support", "href": "mailto:help@store.example", "type": "text/plain" },
        ],
        "rights": { "print": 10, "copy": 0 },
        "user": { "id": "독자-1", "email": 64, "name": 44, "encrypted": ["email", "name"] },
    });
    assert_eq!(document, expected);
    assert_eq!(issued.last_change, at(NOW));
}

#[test]
fn a_document_is_its_own_canonical_text() {
    let signer = signer();
    let issued = Sample::new().issued(&signer, NOW);
    let value = canonical::parse(issued.document.as_bytes()).expect("JSON of one meaning");
    assert_eq!(canonical::canonical(&value).as_deref(), Ok(issued.document.as_str()));
    check_signature(&read(&issued), &signer);
}

#[test]
fn the_right_passphrase_opens_it_and_no_other() {
    let mut sample = Sample::new();
    let licence = read(&sample.issued(&signer(), NOW));
    let unlocked = licence.unlock(&BasicProfile, &sample.passphrase).expect("the passphrase");
    assert_eq!(unlocked.content_key, sample.content_key);
    assert_eq!(licence.reader(&unlocked.user_key), Ok(Some(sample.reader.clone())));
    assert_eq!(licence.user_id(), Some("독자-1"));
    for other in ["비밀 124", "", " 비밀 123", "비밀 123 "] {
        let refused = licence.unlock(&BasicProfile, &PassphraseHash::of(other));
        assert_eq!(refused, Err(CannotUnlock::WrongPassphrase), "{other:?}");
    }
    assert!(licence.reader(&UserKey::from([9; 32])).is_err());
}

/// A profile with a transform, as the ones for production have.
struct Turned;

impl Profile for Turned {
    fn uri(&self) -> &str {
        "http://store.example/profile-of-the-tests"
    }

    fn user_key(&self, hash: &PassphraseHash) -> UserKey {
        UserKey::from(hash.expose().map(|byte| !byte))
    }
}

#[test]
fn the_profile_makes_the_user_key() {
    let sample = Sample::new();
    let keys = Keys { profile: &Turned, ..sample.keys() };
    let id = LICENCE.parse().expect("an id");
    let unsigned = issue(id, &sample.grant(), keys, at(NOW), &mut Seeded::new(1)).expect("a sound grant");
    let licence = read(&unsigned.sign(&signer(), at(NOW)).expect("signed"));
    assert_eq!(licence.unlock(&BasicProfile, &sample.passphrase), Err(CannotUnlock::OtherProfile));
    let unlocked = licence.unlock(&Turned, &sample.passphrase).expect("the passphrase");
    assert_eq!(unlocked.content_key, sample.content_key);
}

#[test]
fn characters_that_cannot_be_signed_are_refused_everywhere() {
    type Put = fn(&mut Sample, String);
    let puts: [(&str, Put); 9] = [
        ("encryption.user_key.text_hint", |s, text| s.hint = text),
        ("user.id", |s, text| s.reader.id = text),
        ("user.name", |s, text| s.reader.name = Some(text)),
        ("user.email", |s, text| s.reader.email = Some(text)),
        ("user", |s, text| _ = s.reader.extensions.insert("urn:example:a".to_owned(), Scalar::Text(text))),
        ("rights", |s, text| _ = s.rights.extensions.insert("urn:example:a".to_owned(), Scalar::Text(text))),
        ("provider", |s, text| s.store.uri = format!("https://store.example/{text}")),
        ("links.href", |s, text| s.publication.href = format!("https://store.example/{text}")),
        ("links.title", |s, text| s.store.links[0].title = Some(text)),
    ];
    for (field, put) in puts {
        for code in [0u32, 0xa, 0x1f, 0x7f, 0x2028, 0x2029] {
            let mut sample = Sample::new();
            put(&mut sample, format!("a{}b", char::from_u32(code).expect("a character")));
            assert_eq!(fault(sample.unsigned(NOW)), (field, Fault::Character { code }), "{field}");
        }
        let mut sample = Sample::new();
        put(&mut sample, "가-b".to_owned());
        assert!(sample.unsigned(NOW).is_ok(), "{field}");
    }
}

#[test]
fn what_a_licence_must_have_is_asked_for() {
    let refused = |spoil: fn(&mut Sample)| {
        let mut sample = Sample::new();
        spoil(&mut sample);
        fault(sample.unsigned(NOW))
    };
    assert_eq!(refused(|s| s.hint.clear()), ("encryption.user_key.text_hint", Fault::Empty));
    assert_eq!(refused(|s| s.reader.id.clear()), ("user.id", Fault::Empty));
    assert_eq!(refused(|s| s.store.hint_href = None), ("links.hint", Fault::Missing));
    assert_eq!(refused(|s| s.store.uri = "ftp://store.example".to_owned()), ("provider", Fault::Uri));
    assert_eq!(refused(|s| s.store.status_href = Some("tel:1".to_owned())), ("links.href", Fault::Uri));
    assert_eq!(refused(|s| s.publication.media_type = "epub".to_owned()), ("links.type", Fault::MediaType));
    assert_eq!(refused(|s| s.links = vec![Link::new("other", "https://a.example", "a/b")]), ("links.rel", Fault::Uri));
    assert_eq!(refused(|s| s.links = vec![s.publication.link()]), ("links.publication", Fault::Twice));
    assert_eq!(refused(|s| s.links = vec![Link::default()]), ("links.rel", Fault::Missing));
    let many = |s: &mut Sample| s.links = vec![Link::new("support", "tel:1", "a/b"); LINKS_MAX];
    assert_eq!(refused(many), ("links", Fault::Many { max: LINKS_MAX }));
    assert_eq!(refused(|s| s.rights.print = Some(u64::MAX)), ("rights.print", Fault::Great));
    assert_eq!(
        refused(|s| (s.rights.start, s.rights.end) = (Some(at(LATER)), Some(at(NOW)))),
        ("rights.end", Fault::Order)
    );
    assert_eq!(refused(|s| _ = s.reader.encrypted.insert("encrypted".to_owned())), ("user.encrypted", Fault::Other));
    let number = |s: &mut Sample| {
        s.reader.extensions.insert("urn:example:a".to_owned(), Scalar::Integer(1));
        s.reader.encrypted.insert("urn:example:a".to_owned());
    };
    assert_eq!(refused(number), ("user.encrypted", Fault::Type));
    let name = |s: &mut Sample| _ = s.rights.extensions.insert("tts".to_owned(), Scalar::Flag(true));
    assert_eq!(refused(name), ("rights", Fault::Uri));
}

#[test]
fn a_document_has_a_bound() {
    let mut sample = Sample::new();
    let long = || format!("https://store.example/{}", "a".repeat(2000));
    sample.links =
        (0..12).map(|at| Link { profile: Some(long()), ..Link::new("support", &long(), &format!("a/{at}")) }).collect();
    assert!(sample.unsigned(NOW).is_ok());
    sample.links.extend(sample.links.clone().into_iter().take(8));
    let title = "가".repeat(300);
    sample.links.iter_mut().for_each(|link| link.title = Some(title.clone()));
    assert!(matches!(sample.unsigned(NOW), Err(BadGrant::Long { .. })));
    let bytes = DOCUMENT_BYTES_MAX + 1;
    let long = vec![b' '; bytes];
    assert!(matches!(Licence::parse(&long), Err(BadLicence::Long { bytes: found }) if found == bytes));
}

#[test]
fn a_link_of_the_grant_takes_the_place_of_the_providers() {
    let mut sample = Sample::new();
    sample.links = vec![Link::new("hint", "https://other.example/hint", "text/html")];
    let licence = read(&sample.issued(&signer(), NOW));
    let hints: Vec<_> = licence.terms().links.iter().filter(|link| link.is("hint")).collect();
    assert_eq!(hints, [&sample.links[0]]);
}

#[test]
fn extensions_and_all_rights_come_back() {
    let mut sample = Sample::new();
    let extension =
        |value| (("urn:example:a".to_owned(), value), ("https://b.example/".to_owned(), Scalar::Flag(false)));
    sample.reader.extensions = extension(Scalar::Text("창가 자리".to_owned())).into_extensions();
    sample.reader.encrypted.insert("urn:example:a".to_owned());
    sample.rights = Rights {
        print: None,
        copy: Some(1000),
        start: Some(at(NOW)),
        end: Some(at(LATER)),
        extensions: extension(Scalar::Integer(-3)).into_extensions(),
    };
    let mut link = Link::new("urn:example:rel", "urn:example:b", "a/b");
    link.rel.push("self".to_owned());
    link.href = "https://store.example/self{?id}".to_owned();
    link.templated = true;
    link.extensions = extension(Scalar::Text("x".to_owned())).into_extensions();
    sample.links = vec![link.clone()];
    let licence = read(&sample.issued(&signer(), NOW));
    assert_eq!(licence.terms().rights, sample.rights);
    assert_eq!(licence.terms().link("self"), Some(&link));
    let key = BasicProfile.user_key(&sample.passphrase);
    assert_eq!(licence.reader(&key), Ok(Some(sample.reader.clone())));
    assert!(!sample.issued(&signer(), NOW).document.contains("창가"));
}

/// Two extensions as a map.
trait IntoExtensions {
    fn into_extensions(self) -> Extensions;
}

impl IntoExtensions for ((String, Scalar), (String, Scalar)) {
    fn into_extensions(self) -> Extensions {
        [self.0, self.1].into_iter().collect()
    }
}

#[test]
fn rights_hold_from_the_first_to_the_last_moment() {
    let rights = Rights { start: Some(at(NOW)), end: Some(at(LATER)), ..Rights::default() };
    assert_eq!(rights.hold_at(at("2026-05-01T09:59:59Z")), Err(OutsideRights::NotYet { start: at(NOW) }));
    assert_eq!(rights.hold_at(at(NOW)), Ok(()));
    assert_eq!(rights.hold_at(at(LATER)), Ok(()));
    assert_eq!(rights.hold_at(at("2026-06-01T10:00:01Z")), Err(OutsideRights::Ended { end: at(LATER) }));
}

#[test]
fn no_licence_is_issued_outside_the_validity_of_the_certificate() {
    let signer = signer();
    for (now, early) in [("2025-12-31T23:59:59Z", true), ("2028-01-01T00:00:01Z", false)] {
        let refused = Sample::new().unsigned(now).expect("a sound grant").sign(&signer, at(now));
        assert!(
            matches!(
                refused,
                Err(SigningError::Validity(OutsideValidity::NotYet { .. })) if early
            ) || matches!(refused, Err(SigningError::Validity(OutsideValidity::Expired { .. })) if !early)
        );
    }
}

#[test]
fn a_key_that_is_not_the_certificates_signs_nothing() {
    let authority = Authority::new("root");
    let sign = |signer: &Signing| Sample::new().unsigned(NOW).expect("sound").sign(signer, at(NOW));
    let mixed = Signing::of(authority.provider(&provider_params()).certificate, &rsa_key());
    assert!(matches!(sign(&mixed), Err(SigningError::OtherKey(_))));
    let other = rcgen::KeyPair::generate().expect("a key");
    let mixed = Signing::of(authority.provider(&provider_params()).certificate, &other);
    assert!(matches!(sign(&mixed), Err(SigningError::OtherKey(_))));
    assert!(matches!(check_signer(&mixed, at(NOW)), Err(SigningError::OtherKey(_))));
    let ours = authority.rsa_provider(&provider_params());
    let certificate = check_signer(&ours, at(NOW)).expect("its own key");
    assert_eq!(certificate.der(), ours.certificate);
    assert!(matches!(check_signer(&ours, at("2029-01-01T00:00:00Z")), Err(SigningError::Validity(_))));
    let none = Signing::of(b"no certificate".to_vec(), &other);
    assert!(matches!(sign(&none), Err(SigningError::Certificate(_))));
}

#[test]
fn an_old_licence_under_a_new_certificate_changes_at_its_start() {
    let mut params = provider_params();
    params.not_before = rcgen::date_time_ymd(2026, 5, 20);
    let authority = Authority::new("root");
    let (old, new) = (authority.provider(&provider_params()), authority.provider(&params));
    let stored = read(&Sample::new().issued(&old, NOW));
    let issued = stored.unsigned().expect("small").sign(&new, at(LATER)).expect("a valid certificate");
    assert_eq!(issued.last_change, at("2026-05-20T00:00:00Z"));
    assert_eq!(read(&issued).terms().updated, Some(issued.last_change));
    check_signature(&read(&issued), &new);
    // With the same certificate nothing moves.
    let again = stored.unsigned().expect("small").sign(&old, at(LATER)).expect("a valid certificate");
    assert_eq!(again.last_change, at(NOW));
    assert_eq!(read(&again).signed_text(), stored.signed_text());
}

#[test]
fn a_change_keeps_the_keys_and_moves_updated() {
    let signer = signer();
    let mut sample = Sample::new();
    let stored = read(&sample.issued(&signer, NOW));
    let publication = Publication {
        length: 5,
        sha256: [1; 32],
        title: None,
        hash_form: HashForm::Base64,
        ..sample.publication.clone()
    };
    let rights = Rights { end: Some(at(LATER)), print: None, ..stored.terms().rights.clone() };
    let asked = Change {
        rights: Some(rights.clone()),
        publication: Some(publication.clone()),
        provider_uri: Some("https://new.example".to_owned()),
        user_id: Some("독자-2".to_owned()),
        links: None,
    };
    let issued = change(&stored, &asked, at(LATER)).expect("sound").sign(&signer, at(LATER)).expect("signed");
    let changed = read(&issued);
    check_signature(&changed, &signer);
    let terms = changed.terms();
    assert_eq!((terms.issued, terms.updated, issued.last_change), (at(NOW), Some(at(LATER)), at(LATER)));
    assert_eq!((&terms.rights, terms.provider.as_str()), (&rights, "https://new.example"));
    assert_eq!(terms.link("publication"), Some(&publication.link()));
    assert_eq!(terms.link("publication").and_then(|link| link.hash.as_deref()).map(str::len), Some(44));
    assert_eq!(terms.links[1..], stored.terms().links[1..]);
    let unlocked = changed.unlock(&BasicProfile, &sample.passphrase).expect("the passphrase");
    assert_eq!(unlocked.content_key, sample.content_key);
    let reader = changed.reader(&unlocked.user_key).expect("its key").expect("there");
    sample.reader.id = "독자-2".to_owned();
    assert_eq!(reader, sample.reader);
}

#[test]
fn two_changes_are_never_of_the_same_second() {
    let signer = signer();
    let first = read(&Sample::new().issued(&signer, NOW));
    let touch = |licence: &Licence, now: &str| {
        let unsigned = change(licence, &Change::default(), at(now)).expect("sound");
        read(&unsigned.sign(&signer, at(NOW)).expect("signed"))
    };
    let second = touch(&first, NOW);
    assert_eq!(second.terms().updated, Some(at("2026-05-01T10:00:01Z")));
    // A clock that runs behind does not turn the order round.
    let third = touch(&second, "2026-05-01T09:00:00Z");
    assert_eq!(third.terms().updated, Some(at("2026-05-01T10:00:02Z")));
    assert_eq!(touch(&third, "2026-05-01T10:00:09.999Z").terms().updated, Some(at("2026-05-01T10:00:09Z")));
}

#[test]
fn a_change_keeps_what_is_not_known() {
    let signer = signer();
    let mut document = json_of(&Sample::new().issued(&signer, NOW));
    document["note"] = json!({ "deep": [1, null, { "a": "b" }] });
    document["rights"]["urn:example:list"] = json!([1, 2]);
    document["rights"]["urn:example:flag"] = json!(true);
    let stored = Licence::parse(document.to_string().as_bytes()).expect("a licence");
    let asked = Change { rights: Some(Rights::default()), ..Change::default() };
    let changed = read(&change(&stored, &asked, at(LATER)).expect("sound").sign(&signer, at(LATER)).expect("signed"));
    let document: Value = serde_json::from_str(&changed.signed_text()).expect("JSON");
    assert_eq!(document["note"], json!({ "deep": [1, null, { "a": "b" }] }));
    assert_eq!(document["rights"], json!({ "urn:example:list": [1, 2] }));
}

#[test]
fn a_change_is_checked_like_a_grant() {
    let mut sample = Sample::new();
    sample.reader.encrypted.insert("id".to_owned());
    let stored = read(&sample.issued(&signer(), NOW));
    assert_eq!(stored.user_id(), None);
    let refused = |asked: Change| fault(change(&stored, &asked, at(LATER)));
    let none = Change::default;
    assert_eq!(refused(Change { user_id: Some("a".to_owned()), ..none() }), ("user.id", Fault::Encrypted));
    assert_eq!(
        refused(Change { user_id: Some("\n".to_owned()), ..none() }),
        ("user.id", Fault::Character { code: 10 })
    );
    assert_eq!(refused(Change { provider_uri: Some("a".to_owned()), ..none() }), ("provider", Fault::Uri));
    assert_eq!(refused(Change { links: Some(Vec::new()), ..none() }), ("links.hint", Fault::Missing));
    let rights = Rights { copy: Some(u64::MAX), ..Rights::default() };
    assert_eq!(refused(Change { rights: Some(rights), ..none() }), ("rights.copy", Fault::Great));
    // One that is returned before it begins ends before it begins.
    let rights = Rights { start: Some(at(LATER)), end: Some(at(NOW)), ..Rights::default() };
    assert!(change(&stored, &Change { rights: Some(rights), ..none() }, at(LATER)).is_ok());
}

#[test]
fn a_licence_issued_anew_keeps_its_id_and_its_first_date() {
    let signer = signer();
    let mut sample = Sample::new();
    let stored = read(&sample.issued(&signer, NOW));
    sample.reader.name = Some("홍길순".to_owned());
    sample.passphrase = PassphraseHash::of("다른 것");
    let unsigned = reissue(&stored, &sample.grant(), sample.keys(), at(LATER), &mut Seeded::new(2)).expect("sound");
    let anew = read(&unsigned.sign(&signer, at(LATER)).expect("signed"));
    let terms = anew.terms();
    assert_eq!((terms.id.as_str(), terms.issued, terms.updated), (LICENCE, at(NOW), Some(at(LATER))));
    let unlocked = anew.unlock(&BasicProfile, &sample.passphrase).expect("the new passphrase");
    assert_eq!(anew.reader(&unlocked.user_key), Ok(Some(sample.reader.clone())));
}

#[test]
fn what_is_no_licence_is_not_read() {
    let document = json_of(&Sample::new().issued(&signer(), NOW));
    let spoilt = |pointer: &str, value: Value| {
        let mut other = document.clone();
        *other.pointer_mut(pointer).expect("there") = value;
        Licence::parse(other.to_string().as_bytes()).expect_err("no licence")
    };
    let field = |bad: BadLicence| match bad {
        BadLicence::Field(bad) => (bad.field, bad.fault),
        other => panic!("{other}"),
    };
    assert_eq!(field(spoilt("/id", json!(1))), ("id", Fault::Type));
    assert_eq!(field(spoilt("/issued", json!("yesterday"))), ("issued", Fault::Date));
    assert_eq!(field(spoilt("/rights/print", json!(-1))), ("rights.print", Fault::Type));
    assert_eq!(field(spoilt("/links", json!([]))), ("links.hint", Fault::Missing));
    assert_eq!(
        field(spoilt("/encryption/user_key/key_check", json!("?"))),
        ("encryption.user_key.key_check", Fault::Base64)
    );
    assert_eq!(
        field(spoilt("/encryption/content_key/algorithm", json!("urn:a"))),
        ("encryption.content_key.algorithm", Fault::Other)
    );
    assert_eq!(field(spoilt("/user", json!([]))), ("user", Fault::Type));
    assert!(matches!(spoilt("/rights/print", json!(1.5)), BadLicence::NotJson(_)));
    assert!(matches!(spoilt("/signature/value", json!(1)), BadLicence::Signature(_)));
    let mut more = document.clone();
    more["encryption"]["user_key"]["note"] = json!("a");
    let refused = Licence::parse(more.to_string().as_bytes()).expect_err("closed by the schema");
    assert_eq!(field(refused), ("encryption.user_key", Fault::Other));
    let mut less = document;
    less.as_object_mut().expect("an object").remove("signature");
    let refused = Licence::parse(less.to_string().as_bytes()).expect_err("not signed");
    assert_eq!(field(refused), ("signature", Fault::Missing));
}

proptest! {
    #[test]
    fn whatever_is_granted_comes_back(
        id in "[a-zA-Z0-9가-힣 \"\\\\<>&/]{1,20}",
        name in proptest::option::of("\\PC{1,20}"),
        hint in "[^\\pC\u{2028}\u{2029}]{1,40}",
        numbers in (proptest::option::of(0..=field::INTEGER_MAX), proptest::option::of(0..=field::INTEGER_MAX)),
        end in proptest::option::of(1_800_000_000i64..4_000_000_000),
        seed in any::<u64>(),
    ) {
        let mut sample = Sample::new();
        sample.entropy = Seeded::new(seed);
        sample.reader.id = id;
        sample.reader.name = name.filter(|name| field::text("", name, 100).is_ok());
        if sample.reader.name.is_none() {
            // Only what is there is said to be encrypted.
            sample.reader.encrypted.remove("name");
        }
        sample.hint = hint;
        (sample.rights.print, sample.rights.copy) = numbers;
        sample.rights.end = end.map(|end| types::Timestamp::from_secs(end, 0));
        let licence = read(&sample.issued(&signer(), NOW));
        let unlocked = licence.unlock(&BasicProfile, &sample.passphrase).expect("the passphrase");
        prop_assert_eq!(licence.reader(&unlocked.user_key), Ok(Some(sample.reader.clone())));
        prop_assert_eq!(&licence.terms().rights, &sample.rights);
        prop_assert_eq!(&licence.terms().hint, &sample.hint);
        prop_assert_eq!(&unlocked.content_key, &sample.content_key);
    }

    #[test]
    fn no_document_makes_it_panic(at in 0usize..4000, bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut document = Sample::new().issued(&signer(), NOW).document.into_bytes();
        let begun = at.min(document.len());
        let end = (begun + bytes.len()).min(document.len());
        document.splice(begun..end, bytes);
        if let Ok(licence) = Licence::parse(&document) {
            let _ = (licence.signed_text(), licence.user_id(), licence.reader(&UserKey::from([1; 32])));
            let _ = change(&licence, &Change { rights: Some(Rights::default()), ..Change::default() }, licence.terms().issued);
        }
    }
}
