use super::*;
use drm::licence::{self, Grant, HashForm, Keys, Licence, Provider, Publication, Reader, Rights};
use drm::{BasicProfile, ContentKey, Entropy, PassphraseHash, rfc3339};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use types::Timestamp;

/// For tests only: anybody has it.
const RSA_KEY: &str = include_str!("../../../drm/src/testing/testdata/test-only-rsa-2048.pem");

fn at(text: &str) -> Timestamp {
    rfc3339::read(text).expect("a date")
}

struct Place {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Place {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = Issuer::new(params, KeyPair::generate().expect("a key of P-256"));
        Place { folder: tempfile::tempdir().expect("a folder"), issuer }
    }

    fn certify(&self, key: &KeyPair, serial: u64, (from, until): (i32, i32)) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "provider of the tests");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.signed_by(key, &self.issuer).expect("a certificate")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("provider.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("provider.key.pem")
    }

    fn put(&self, certificate: &[u8], key: &str) {
        fs::write(self.certificate(), certificate).expect("written");
        fs::write(self.key(), key).expect("written");
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Certificate and key of a new provider.
    fn put_new(&self, serial: u64, years: (i32, i32)) {
        let key = KeyPair::generate().expect("a key of P-256");
        self.put(self.certify(&key, serial, years).pem().as_bytes(), &key.serialize_pem());
    }

    fn load(&self) -> Result<ProviderKey, ProviderKeyError> {
        ProviderKey::load(&self.certificate(), &self.key())
    }

    fn open(&self, now: &str) -> ProviderKeys {
        ProviderKeys::open(&self.certificate(), &self.key(), at(now)).expect("a pair")
    }
}

struct Seven;

impl Entropy for Seven {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn unsigned(now: &str) -> licence::Unsigned {
    let provider = Provider {
        uri: "https://store.example".to_owned(),
        hint_href: Some("https://store.example/hint".to_owned()),
        ..Provider::default()
    };
    let publication = Publication {
        href: "https://store.example/1.epub".to_owned(),
        media_type: "application/epub+zip".to_owned(),
        title: None,
        length: 1,
        sha256: [1; 32],
        hash_form: HashForm::Hex,
    };
    let (reader, rights) = (Reader::new("1"), Rights::default());
    let grant = Grant {
        provider: &provider,
        publication: &publication,
        reader: &reader,
        hint: "hint",
        rights: &rights,
        links: &[],
    };
    let (content_key, passphrase) = (ContentKey::from([1; 32]), PassphraseHash::of("p"));
    let keys = Keys { profile: &BasicProfile, content_key: &content_key, passphrase: &passphrase };
    let id = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id");
    licence::issue(id, &grant, keys, at(now), &mut Seven).expect("a sound grant")
}

fn fault(loaded: Result<ProviderKey, ProviderKeyError>) -> FormFault {
    match loaded {
        Err(ProviderKeyError::Form { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn either_algorithm_signs_from_pem_or_der() {
    let place = Place::new();
    let (rsa, ecdsa) = (KeyPair::from_pem(RSA_KEY).expect("a key"), KeyPair::generate().expect("a key"));
    for (key, algorithm) in [(rsa, Algorithm::RsaSha256), (ecdsa, Algorithm::EcdsaSha256)] {
        let certificate = place.certify(&key, 7, (2026, 2028));
        let chatty = format!("Certificate:\n    Data: 30\n{}", certificate.pem());
        for form in [certificate.der().to_vec(), certificate.pem().into_bytes(), chatty.into_bytes()] {
            place.put(&form, &key.serialize_pem());
            let loaded = place.load().expect("a pair");
            assert_eq!((loaded.algorithm(), loaded.certificate()), (algorithm, &certificate.der()[..]));
            let value = loaded.sign(b"text").expect("signed");
            let public = loaded.parsed_certificate().public_key();
            assert_eq!(drm::signature::verify(algorithm, public, b"text", &value), Ok(()));
        }
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let place = Place::new();
    let (one, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let certificate = place.certify(&one, 7, (2026, 2028)).pem();
    place.put(certificate.as_bytes(), &other.serialize_pem());
    let error = place.load().expect_err("another key");
    assert!(
        matches!(&error, ProviderKeyError::OtherKey { source, .. } if matches!(**source, SigningError::OtherKey(_)))
    );
    place.put(certificate.as_bytes(), RSA_KEY);
    let error = place.load().expect_err("a key of another kind");
    assert!(error.to_string().ends_with("the key is not one of ECDSA on P-256 (it is of another kind)"), "{error}");
    let rsa = KeyPair::from_pem(RSA_KEY).expect("a key");
    place.put(place.certify(&rsa, 7, (2026, 2028)).pem().as_bytes(), &one.serialize_pem());
    assert!(place.load().expect_err("a key of another kind").to_string().contains("RSA with 2048 to 4096 bits"));
}

#[test]
fn files_of_other_forms_are_refused_and_told_apart() {
    let place = Place::new();
    let key = KeyPair::generate().expect("a key");
    let (certificate, key) = (place.certify(&key, 7, (2026, 2028)).pem(), key.serialize_pem());
    let with = |certificate: &str, key: &str| {
        place.put(certificate.as_bytes(), key);
        fault(place.load())
    };
    assert_eq!(with("", &key), FormFault::NoCertificate);
    assert_eq!(with(&key, &key), FormFault::NoCertificate);
    assert_eq!(with(&"x".repeat(50 << 10), &key), FormFault::NoCertificate);
    assert_eq!(with(&format!("{certificate}{certificate}"), &key), FormFault::Certificates);
    assert_eq!(with(&certificate.replace("MI", "!!"), &key), FormFault::Pem);
    assert_eq!(with(&certificate, &certificate), FormFault::NoKey);
    assert_eq!(with(&certificate, &format!("{key}{key}")), FormFault::Keys);
    assert_eq!(with(&certificate, &key.replace("PRIVATE", "EC PRIVATE")), FormFault::Older);
    assert_eq!(with(&certificate, &key.replace("PRIVATE", "RSA PRIVATE")), FormFault::Older);
    assert_eq!(with(&certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")), FormFault::Encrypted);
    assert_eq!(with(&certificate, &key.replace("MI", "!!")), FormFault::Pem);
    let root = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let of_root = params.self_signed(&root).expect("a certificate").pem();
    assert_eq!(with(&of_root, &root.serialize_pem()), FormFault::Authority);
    place.put(b"\x30\x03\x02\x01\x01", &key);
    assert!(matches!(place.load(), Err(ProviderKeyError::Certificate { source: BadCertificate::Der, .. })));
    place.put(certificate.as_bytes(), &key);
    fs::set_permissions(place.key(), fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(matches!(place.load(), Err(ProviderKeyError::Secret(SecretFileError::Exposed(_)))));
}

#[test]
fn nothing_shows_the_key() {
    let place = Place::new();
    place.put_new(7, (2026, 2028));
    let pem = fs::read_to_string(place.key()).expect("text");
    let line = pem.lines().nth(1).expect("base64");
    let shown = format!("{:?} {:?}", place.open("2026-05-01T00:00:00Z"), place.load());
    assert!(shown.contains("provider of the tests") && !shown.contains(line), "{shown}");
    let middle = pem.replacen(&line[20..24], "AAAA", 1);
    place.put(&fs::read(place.certificate()).expect("bytes"), &middle);
    let error = place.load().expect_err("damaged");
    assert!(!format!("{error} {error:?}").contains(&line[..16]));
}

#[test]
fn nothing_is_signed_outside_of_the_validity() {
    let place = Place::new();
    place.put_new(7, (2026, 2028));
    let keys = place.open("2029-01-01T00:00:00Z");
    for (now, good) in
        [("2025-12-31T23:59:59Z", false), ("2026-01-01T00:00:00Z", true), ("2028-01-01T00:00:01Z", false)]
    {
        let signed = keys.sign(unsigned(now), at(now));
        assert_eq!((signed.is_ok(), keys.may_issue(at(now)).is_ok()), (good, good), "{now}");
        assert!(good || matches!(signed, Err(SigningError::Validity(_))));
    }
    assert_eq!(keys.days_left(at("2027-12-02T00:00:00Z")), 30);
    assert_eq!(keys.look(at("2028-01-03T00:00:00Z")), -2);
}

#[test]
fn a_reload_takes_a_good_pair_or_keeps_the_old_one() {
    let place = Place::new();
    let now = "2026-05-01T00:00:00Z";
    place.put_new(7, (2026, 2028));
    let keys = place.open(now);
    assert!(!keys.reload(at(now)).expect("the same"));
    let serial = || keys.current().parsed_certificate().serial();
    for years in [(2027, 2029), (2020, 2025)] {
        place.put_new(8, years);
        assert!(matches!(keys.reload(at(now)), Err(ProviderKeyError::Dates { .. })));
    }
    place.put(b"", "");
    assert!(keys.reload(at(now)).is_err());
    fs::remove_file(place.certificate()).expect("removed");
    assert!(matches!(keys.reload(at(now)), Err(ProviderKeyError::File { .. })));
    assert_eq!(serial(), "07");
    place.put_new(9, (2026, 2029));
    assert!(keys.reload(at(now)).expect("another"));
    assert_eq!(serial(), "09");
}

#[test]
fn a_licence_older_than_the_new_certificate_moves_to_its_beginning() {
    let place = Place::new();
    place.put_new(7, (2026, 2028));
    let keys = place.open("2026-12-01T00:00:00Z");
    let issued = keys.sign(unsigned("2026-12-01T00:00:00Z"), at("2026-12-01T00:00:00Z")).expect("valid");
    place.put_new(8, (2027, 2029));
    let now = at("2027-06-01T00:00:00Z");
    assert!(keys.reload(now).expect("another"));
    let licence = Licence::parse(issued.document.as_bytes()).expect("as it was");
    assert_eq!(licence.terms().updated, None, "the reload has changed nothing");
    let again = keys.sign(licence.unsigned().expect("ours"), now).expect("valid");
    assert_eq!(again.last_change, at("2027-01-01T00:00:00Z"));
}

#[test]
fn people_are_told_once_a_day() {
    let place = Place::new();
    place.put_new(7, (2026, 2028));
    let keys = place.open("2026-05-01T00:00:00Z");
    let told = |now: &str| {
        let before = *keys.warned.lock();
        keys.look(at(now));
        *keys.warned.lock() != before
    };
    assert!(!told("2027-11-30T00:00:00Z"));
    assert!(told("2027-12-03T00:00:00Z") && !told("2027-12-03T23:59:59Z") && told("2027-12-04T00:00:00Z"));
    assert!(told("2028-02-01T00:00:00Z"));
}
