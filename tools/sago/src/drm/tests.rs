//! From keys to a reader: what `ca-dev` makes signs, and `verify` finds in a book what is right and what is not.

use super::ca_dev;
use super::verify::{Looked, look};
use crate::cli::{CaDevArgs, VerifyArgs};
use crate::exit::{Done, Kind};
use ::drm::licence::{self, Grant, HashForm, Keys, Provider, Publication, Reader, Rights};
use ::drm::package::{Book, Options, Protected, protect};
use ::drm::splice::splice;
use ::drm::zip::{NewEntry, Writer};
use ::drm::{BasicProfile, ContentKey, Entropy, PassphraseHash};
use gateway_core::provider_key::ProviderKeys;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use types::Timestamp;

const NOW: &str = "2026-11-26T12:00:00Z";
const PASSPHRASE: &str = "비밀 123 ";

fn at(text: &str) -> Timestamp {
    ::drm::rfc3339::read(text).expect("a date")
}

struct System;

impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        rand::Rng::fill(&mut rand::rng(), bytes);
    }
}

fn epub() -> Vec<u8> {
    let container = r#"<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"#;
    let opf = r#"<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>별 헤는 밤</dc:title></metadata><manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="c1" href="%EC%9E%A5%201.xhtml" media-type="application/xhtml+xml"/></manifest></package>"#;
    let chapter = "<p>계절이 지나가는 하늘에는</p>".repeat(500);
    let mut archive = Vec::new();
    let mut writer = Writer::new(&mut archive);
    for (name, data) in [
        ("mimetype", "application/epub+zip"),
        ("META-INF/container.xml", container),
        ("OPS/book.opf", opf),
        ("OPS/nav.xhtml", "<nav/>"),
        ("OPS/장 1.xhtml", &chapter),
    ] {
        writer.add(&NewEntry::stored(name, data.as_bytes()), data.as_bytes()).expect("written");
    }
    writer.finish().expect("written");
    archive
}

/// An authority, and a book that its provider has sold.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ca(&self, name: &str, change: impl FnOnce(&mut CaDevArgs)) -> Done {
        let mut args = CaDevArgs {
            folder: self.path(name),
            rsa: false,
            ecdsa: false,
            days: 365,
            expired: false,
            revoked: false,
            provider: "provider".to_owned(),
            root: None,
        };
        change(&mut args);
        ca_dev::made(&args, at(NOW)).map(|_| ())
    }

    fn keys(&self, name: &str, now: &str) -> ProviderKeys {
        let folder = self.path(name);
        ProviderKeys::open(&folder.join("provider.pem"), &folder.join("provider.key.pem"), at(now)).expect("a pair")
    }

    /// A package, its licence, and both as one file.
    fn sell(&self, ca: &str) {
        let content_key = ContentKey::from([5; 32]);
        let mut package = Vec::new();
        let book = epub();
        let protected = protect(&Book::Epub(&book), &Options::default(), &content_key, &mut System, &mut package);
        let Protected { layout, directory, kind, .. } = protected.expect("a good book");
        let provider = Provider {
            uri: "https://store.example".to_owned(),
            hint_href: Some("https://store.example/hint".to_owned()),
            ..Provider::default()
        };
        let publication = Publication {
            href: "https://store.example/1.epub".to_owned(),
            media_type: kind.media_type().to_owned(),
            title: None,
            length: layout.len,
            sha256: layout.sha256,
            hash_form: HashForm::Hex,
        };
        let (reader, rights) = (Reader::new("1"), Rights::default());
        let grant = Grant {
            provider: &provider,
            publication: &publication,
            reader: &reader,
            hint: "as ever",
            rights: &rights,
            links: &[],
        };
        let passphrase = PassphraseHash::of(PASSPHRASE);
        let keys = Keys { profile: &BasicProfile, content_key: &content_key, passphrase: &passphrase };
        let id = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id");
        let unsigned = licence::issue(id, &grant, keys, at(NOW), &mut System).expect("a good grant");
        let issued = self.keys(ca, NOW).sign(unsigned, at(NOW)).expect("a valid certificate");
        let document = issued.document.as_bytes();
        let body = splice(&layout, &directory, kind.licence_path(), document).expect("they belong together");
        let sold = [&package[..layout.cd_offset as usize], body.tail()].concat();
        for (name, bytes) in [("package.epub", &package[..]), ("licence.lcpl", document), ("sold.epub", &sold)] {
            fs::write(self.path(name), bytes).expect("written");
        }
        fs::write(self.path("passphrase"), format!("{PASSPHRASE}\n")).expect("written");
    }

    fn args(&self, file: &str, ca: &str) -> VerifyArgs {
        VerifyArgs {
            file: self.path(file),
            passphrase_file: Some(self.path("passphrase")),
            passphrase: None,
            root: Some(self.path(ca).join("root.pem")),
            crl: Some(self.path(ca).join("crl.pem")),
            licence: None,
            extract: None,
        }
    }
}

fn failed(looked: &Looked) -> Vec<&str> {
    assert_eq!(looked.right, looked.checks.iter().all(|line| line.outcome != "failed"));
    looked.checks.iter().filter(|line| line.outcome == "failed").map(|line| &*line.check).collect()
}

fn skipped(looked: &Looked) -> Vec<&str> {
    looked.checks.iter().filter(|line| line.outcome == "not checked").map(|line| &*line.check).collect()
}

#[test]
fn a_book_that_was_sold_is_right_and_comes_out_as_it_went_in() {
    let place = Place::new();
    place.ca("ca", |_| ()).expect("made");
    place.sell("ca");
    let to = place.path("plain");
    let args = VerifyArgs { extract: Some(to.clone()), ..place.args("sold.epub", "ca") };
    let looked = look(&args, at(NOW)).expect("it can be looked at");
    assert!(failed(&looked).is_empty() && skipped(&looked) == ["publication"], "{looked:?}");
    assert_eq!(looked.extracted.as_ref().expect("extracted").files, 7);
    let chapter = fs::read_to_string(to.join("OPS/장 1.xhtml")).expect("a chapter");
    assert_eq!(chapter, "<p>계절이 지나가는 하늘에는</p>".repeat(500));
    assert_eq!(fs::metadata(to.join("OPS/장 1.xhtml")).expect("a file").mode() & 0o777, 0o600);
    let again = look(&args, at(NOW)).expect_err("the folder is not empty");
    assert_eq!(again.kind, Kind::Failed);
    assert_eq!(fs::read_to_string(to.join("OPS/장 1.xhtml")).expect("a chapter"), chapter);
}

#[test]
fn a_package_is_held_against_a_licence_beside_it() {
    let place = Place::new();
    place.ca("ca", |_| ()).expect("made");
    place.sell("ca");
    assert_eq!(failed(&look(&place.args("package.epub", "ca"), at(NOW)).expect("looked")), ["document"]);
    let beside = VerifyArgs { licence: Some(place.path("licence.lcpl")), ..place.args("package.epub", "ca") };
    let looked = look(&beside, at(NOW)).expect("looked");
    assert!(failed(&looked).is_empty() && skipped(&looked).is_empty(), "{looked:?}");
    let other = VerifyArgs { file: place.path("sold.epub"), ..beside };
    assert_eq!(failed(&look(&other, at(NOW)).expect("looked")), ["publication"]);
    let alone = look(&place.args("licence.lcpl", "ca"), at(NOW)).expect("looked");
    assert!(failed(&alone).is_empty() && alone.checks.len() == 8);
}

#[test]
fn what_is_not_right_is_named_and_nothing_is_extracted() {
    let place = Place::new();
    place.ca("ca", |_| ()).expect("made");
    place.ca("other", |_| ()).expect("made");
    place.ca("revoked", |args| (args.root, args.revoked) = (Some(place.path("ca")), true)).expect("made");
    place.sell("ca");
    let extract = Some(place.path("plain"));
    let looked = |change: &dyn Fn(&mut VerifyArgs)| {
        let mut args = VerifyArgs { extract: extract.clone(), ..place.args("sold.epub", "ca") };
        change(&mut args);
        let looked = look(&args, at(NOW)).expect("it can be looked at");
        assert!(looked.extracted.is_none() && !place.path("plain").exists());
        failed(&looked).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let other = |args: &mut VerifyArgs| {
        (args.root, args.crl) = (Some(place.path("other").join("root.pem")), None);
    };
    assert_eq!(looked(&other), ["chain"]);
    let wrong = |args: &mut VerifyArgs| {
        (args.passphrase_file, args.passphrase) = (None, Some("비밀 123".to_owned()));
    };
    assert_eq!(looked(&wrong), ["passphrase"]);
    let sold = fs::read(place.path("sold.epub")).expect("bytes");
    let mut damaged = sold.clone();
    let chapter =
        sold.windows(10).position(|window| window == "장 1.xhtml".as_bytes().get(..10).expect("ten")).expect("it");
    damaged[chapter + 60] ^= 1;
    fs::write(place.path("sold.epub"), &damaged).expect("written");
    assert_eq!(looked(&|_| ()), ["resources"]);
    let mut altered = fs::read(place.path("licence.lcpl")).expect("bytes");
    let hint = altered.windows(7).position(|window| window == b"as ever").expect("the hint");
    altered[hint] = b'i';
    fs::write(place.path("altered.lcpl"), &altered).expect("written");
    let args = place.args("altered.lcpl", "ca");
    assert_eq!(failed(&look(&args, at(NOW)).expect("looked")), ["signature"]);
    place.sell("revoked");
    assert_eq!(looked(&|args| args.crl = Some(place.path("revoked").join("crl.pem"))), ["revocation"]);
    fs::write(place.path("sold.epub"), &sold[..sold.len() - 1]).expect("written");
    assert_eq!(looked(&|_| ()), ["package"]);
}

#[test]
fn what_nothing_was_given_for_is_not_checked() {
    let place = Place::new();
    place.ca("ca", |_| ()).expect("made");
    place.sell("ca");
    let bare = VerifyArgs { root: None, crl: None, passphrase_file: None, ..place.args("sold.epub", "ca") };
    let looked = look(&bare, at(NOW)).expect("looked");
    assert!(looked.right);
    assert_eq!(skipped(&looked), ["chain", "revocation", "passphrase", "publication", "resources"]);
    let kind = |args: VerifyArgs| look(&args, at(NOW)).expect_err("refused").kind;
    assert_eq!(kind(VerifyArgs { extract: Some(place.path("plain")), ..bare }), Kind::Usage);
    assert_eq!(kind(VerifyArgs { extract: Some(place.path("p")), ..place.args("licence.lcpl", "ca") }), Kind::Usage);
    assert_eq!(kind(VerifyArgs { file: place.path("none"), ..place.args("x", "ca") }), Kind::NotFound);
    assert_eq!(kind(VerifyArgs { root: Some(place.path("passphrase")), ..place.args("sold.epub", "ca") }), Kind::Usage);
    assert_eq!(kind(VerifyArgs { crl: Some(place.path("ca/root.pem")), ..place.args("sold.epub", "ca") }), Kind::Usage);
}

#[test]
fn an_authority_is_made_once_and_its_keys_are_private() {
    let place = Place::new();
    place.ca("ca", |args| args.rsa = openssl()).expect("made");
    let mode = |file: &str| fs::metadata(place.path("ca").join(file)).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode("root.key.pem"), mode("provider.key.pem"), mode("root.pem")), (0o600, 0o600, 0o644));
    assert_eq!(place.ca("ca", |_| ()).expect_err("it is there").kind, Kind::Failed);
    place.ca("next", |args| (args.root, args.days) = (Some(place.path("ca")), 10)).expect("made");
    assert_eq!(place.keys("next", NOW).days_left(at(NOW)), 10);
    let root = |name: &str| fs::read(place.path(name).join("root.pem")).expect("a root");
    assert_eq!(root("ca"), root("next"));
    place.ca("expired", |args| args.expired = true).expect("made");
    let expired = place.keys("expired", NOW);
    assert!(expired.may_issue(at(NOW)).is_err() && expired.may_issue(at("2026-11-20T00:00:00Z")).is_ok());
    for name in ["ca", "next", "expired"] {
        let root = super::trust::root(&place.path(name).join("root.pem")).expect("a root");
        assert_eq!(root.signed(place.keys(name, NOW).current().parsed_certificate()), Ok(()));
        assert!(super::trust::list(&place.path(name).join("crl.pem"), &root).is_ok());
    }
}

/// Whether keys of RSA can be made here.
fn openssl() -> bool {
    std::process::Command::new("openssl").arg("version").output().is_ok_and(|run| run.status.success())
}

#[test]
fn a_folder_is_no_book() {
    let place = Place::new();
    place.ca("ca", |_| ()).expect("made");
    place.sell("ca");
    assert!(look(&place.args("ca", "ca"), at(NOW)).is_err());
    let empty: &Path = &place.path("empty");
    fs::write(empty, "").expect("written");
    assert_eq!(failed(&look(&place.args("empty", "ca"), at(NOW)).expect("looked")), ["document"]);
}
