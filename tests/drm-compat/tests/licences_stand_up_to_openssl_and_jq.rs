//! Every licence that a store issues is its own canonical text, signed by a certificate that the root has signed and not taken back: by openssl and jq.

use drm::BasicProfile;
use drm::licence::{Change, Issued, Licence, Link, Rights, Scalar};
use drm::rfc3339;
use drm::verify::{Trust, verify};
use drm_compat::{
    Authority, Format, KeyKind, LicenceFiles, Needs, PASSPHRASE, Sample, Shop, Title, at, hashed, lacks, made_up,
    output_of, program,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const NEEDS: [Needs; 3] = [Needs::Openssl, Needs::Jq, Needs::Python];

fn comic(folder: &Path) -> anyhow::Result<Title> {
    let [_, comic, _] = made_up(folder)?;
    Title::protect(&comic, 1)
}

/// Rights at their edges, and members that the format does not know.
fn odd_rights() -> Rights {
    let extensions = [
        ("https://store.example/\u{e000}", Scalar::Integer(-9_007_199_254_740_991)),
        ("https://store.example/\u{10000}", Scalar::Flag(false)),
        ("urn:example:z", Scalar::Text("탭 없이 / \\ \" '<>&".to_owned())),
    ];
    Rights {
        print: Some(0),
        copy: Some(9_007_199_254_740_991),
        start: Some(at("2026-06-01T00:00:00Z")),
        end: Some(at("2026-07-01T00:00:00Z")),
        extensions: extensions.map(|(name, value)| (name.to_owned(), value)).into(),
    }
}

/// A licence through its whole life, by what happened last.
fn life(shop: &mut Shop, title: &Title, second: &Title) -> anyhow::Result<BTreeMap<&'static str, Issued>> {
    let new = shop.issue(title, &odd_rights(), at("2026-06-01T00:00:00Z"))?;
    let renewed = shop.end_at(&new, at("2026-08-01T00:00:00Z"), at("2026-06-10T00:00:00Z"))?;
    let moved = Change {
        publication: Some(second.publication()),
        links: Some(vec![
            Link::new("hint", "https://store.example/힌트", "text/html"),
            Link { title: Some("도움말".to_owned()), ..Link::new("support", "tel:+8221234567", "text/plain") },
        ]),
        provider_uri: Some("https://other.example".to_owned()),
        user_id: Some("독자-2".to_owned()),
        ..Change::default()
    };
    let changed = shop.change(&renewed, &moved, at("2026-06-11T00:00:00Z"))?;
    let reissued = shop.reissue(&changed, second, "새 비밀", at("2026-06-12T00:00:00Z"))?;
    let returned = shop.end_at(&reissued, at("2026-06-13T00:00:00Z"), at("2026-06-13T00:00:00Z"))?;
    let unlimited = shop.issue(title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
    let all = [("new", new), ("renewed", renewed), ("changed", changed), ("reissued", reissued)];
    Ok(all.into_iter().chain([("returned", returned), ("unlimited", unlimited)]).collect())
}

#[test]
fn licences_of_every_kind_are_right() -> anyhow::Result<()> {
    if lacks(&NEEDS) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let title = comic(folder.path())?;
    let [epub, _, _] = made_up(folder.path())?;
    let second = Title::protect(&Sample { format: Format::Epub, ..epub }, 2)?;
    for kind in KeyKind::ALL {
        let mut shop = Shop::new(kind, "https://store.example")?;
        // Another certificate than the shop's was taken back.
        let files = LicenceFiles::new(&shop.authority, &[Shop::SERIAL + 1])?;
        for (what, issued) in life(&mut shop, &title, &second)? {
            assert_eq!(
                files.failures(&issued.document)?,
                [""; 0],
                "{kind:?}: {what}: {:?}",
                files.check(&issued.document)?
            );
            let root = shop.authority.root()?;
            let trust = Trust { root: Some(&root), revocations: None, profiles: &[&BasicProfile] };
            let ours = verify(issued.document.as_bytes(), trust, None, at("2026-06-13T00:00:00Z"));
            assert!(ours.report.is_right(), "{kind:?}: {what}: {:?}", ours.report);
        }
    }
    Ok(())
}

#[test]
fn a_new_certificate_signs_old_licences() -> anyhow::Result<()> {
    if lacks(&NEEDS) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let title = comic(folder.path())?;
    let mut shop = Shop::new(KeyKind::Rsa, "https://store.example")?;
    let old = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?;
    shop.signer = shop.authority.provider(KeyKind::Ecdsa, 8, (2027, 2029))?;
    let new = shop.sign_anew(&old, at("2027-02-01T00:00:00Z"))?;
    let files = LicenceFiles::new(&shop.authority, &[Shop::SERIAL])?;
    assert_eq!(files.failures(&old.document)?, ["revocation"], "its certificate was taken back");
    assert_eq!(files.failures(&new.document)?, [""; 0]);
    assert_eq!(rfc3339::write(new.last_change), "2027-01-01T00:00:00Z", "before that the certificate was not valid");
    Ok(())
}

#[test]
fn licences_that_are_not_right_fail_where_they_should() -> anyhow::Result<()> {
    if lacks(&NEEDS) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let title = comic(folder.path())?;
    for kind in KeyKind::ALL {
        let mut shop = Shop::new(kind, "https://store.example")?;
        let document = shop.issue(&title, &odd_rights(), at("2026-06-01T00:00:00Z"))?.document;
        let files = LicenceFiles::new(&shop.authority, &[])?;
        let altered = document.replace("\"print\":0", "\"print\":9");
        assert_eq!(files.failures(&altered)?, ["signature"]);
        let added = document.replacen('{', "{\"a\":1,", 1);
        assert_eq!(files.failures(&added)?, ["signature"], "what is not known is signed too");
        let spaced = document.replacen('{', "{ ", 1);
        assert_eq!(files.failures(&spaced)?, ["canonical"], "it means the same");
        let strangers = LicenceFiles::new(&Authority::new(kind)?, &[])?;
        assert_eq!(strangers.failures(&document)?, ["chain", "revocation"]);
    }
    Ok(())
}

#[test]
fn openssl_decrypts_what_a_licence_holds_for_its_reader() -> anyhow::Result<()> {
    if lacks(&NEEDS) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let title = comic(folder.path())?;
    let mut shop = Shop::new(KeyKind::Ecdsa, "https://store.example")?;
    let document = shop.issue(&title, &Rights::default(), at("2026-06-01T00:00:00Z"))?.document;
    let licence = folder.path().join("license.lcpl");
    fs::write(&licence, &document)?;
    let opened = |member: &str, passphrase: &str| {
        output_of(program("sh/decrypt-member.sh")?.arg(&licence).args([member, &hashed(passphrase)]))
    };
    let id = Licence::parse(document.as_bytes())?.terms().id.clone();
    assert_eq!(opened(".encryption.user_key.key_check", PASSPHRASE)?, id.as_bytes());
    assert_eq!(opened(".encryption.content_key.encrypted_value", PASSPHRASE)?, title.key.expose());
    assert_eq!(Some(String::from_utf8(opened(".user.name", PASSPHRASE)?)?), shop.reader.name);
    assert_eq!(Some(String::from_utf8(opened(".user.email", PASSPHRASE)?)?), shop.reader.email);
    let other = opened(".encryption.content_key.encrypted_value", "비밀");
    assert!(other.is_err() || other.is_ok_and(|bytes| bytes != title.key.expose()));
    Ok(())
}
