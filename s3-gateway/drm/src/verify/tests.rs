use super::*;
use crate::BasicProfile;
use crate::certificate::{BrokenChain, OutsideValidity};
use crate::licence::{CannotUnlock, Issued, OutsideRights};
use crate::testing::{Authority, Provider, Sample, at, provider_params};
use proptest::prelude::*;

const NOW: &str = "2026-05-01T10:00:00Z";
const PROFILES: [&dyn Profile; 1] = [&BasicProfile];

fn trust(root: &Root) -> Trust<'_> {
    Trust { root: Some(root), revocations: None, profiles: &PROFILES }
}

fn sample_of(signer: &Provider) -> (Sample, Issued) {
    let mut sample = Sample::new();
    let issued = sample.issued(signer, NOW);
    (sample, issued)
}

/// The checks that failed, and the only failure if there is one.
fn failures(verified: Verified) -> (Vec<Check>, Option<Failure>) {
    let failed: Vec<(Check, Failure)> = verified
        .report
        .findings
        .into_iter()
        .filter_map(|finding| match finding.outcome {
            Outcome::Failed(failure) => Some((finding.check, failure)),
            Outcome::Passed | Outcome::Skipped(_) => None,
        })
        .collect();
    let checks = failed.iter().map(|(check, _)| *check).collect();
    (checks, failed.into_iter().next().map(|(_, failure)| failure))
}

#[test]
fn a_licence_of_ours_is_right_with_either_algorithm() {
    let authority = Authority::new("root");
    let root = authority.root();
    let list = RevocationList::parse(&authority.list(&[1, 2]), &root).expect("a list of the root");
    for signer in [authority.rsa_provider(&provider_params()), authority.provider(&provider_params())] {
        let (sample, issued) = sample_of(&signer);
        let trust = Trust { revocations: Some(&list), ..trust(&root) };
        let now = at("2026-06-15T00:00:00Z");
        let verified = verify(issued.document.as_bytes(), trust, Some(&sample.passphrase), now);
        let lines: Vec<String> = verified.report.findings().iter().map(Finding::to_string).collect();
        let expected = [
            "document: ok",
            "profile: ok",
            "chain: ok",
            "revocation: ok",
            "certificate dates: ok",
            "signature: ok",
            "rights: ok",
            "passphrase: ok",
        ];
        assert_eq!(lines, expected);
        assert!(verified.report.is_right());
        assert_eq!(verified.unlocked.expect("the passphrase").content_key, sample.content_key);
    }
}

#[test]
fn what_cannot_be_checked_is_said_and_is_no_fault() {
    let authority = Authority::new("root");
    let root = authority.root();
    let (_, issued) = sample_of(&authority.provider(&provider_params()));
    let verified = verify(issued.document.as_bytes(), trust(&root), None, at(NOW));
    assert!(verified.report.is_right() && verified.unlocked.is_none());
    let line = |check: usize| verified.report.findings()[check].to_string();
    assert_eq!(line(3), "revocation: not checked, there is no revocation list");
    assert_eq!(line(7), "passphrase: not checked, no passphrase was given");
    let list = RevocationList::parse(&authority.list(&[]), &root).expect("a list of the root");
    let trust = Trust { revocations: Some(&list), ..trust(&root) };
    let verified = verify(issued.document.as_bytes(), trust, None, at("2027-01-01T00:00:00Z"));
    assert!(matches!(verified.report.outcome(Check::Revocation), Some(Outcome::Skipped(Skipped::StaleList))));
}

#[test]
fn without_a_root_nothing_is_said_of_who_signed() {
    let authority = Authority::new("root");
    let signer = authority.provider(&provider_params());
    let (_, issued) = sample_of(&signer);
    let trust = Trust { root: None, revocations: None, profiles: &PROFILES };
    let verified = verify(issued.document.as_bytes(), trust, None, at(NOW));
    assert!(verified.report.is_right());
    assert!(matches!(verified.report.outcome(Check::Chain), Some(Outcome::Skipped(Skipped::NoRoot))));
    let mut params = provider_params();
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    let document = forged(&issued, &authority.provider(&params));
    assert_eq!(failures(verify(&document, trust, None, at(NOW))).0, [Check::CertificateDates]);
}

#[test]
fn a_licence_of_another_root_fails_at_the_chain() {
    let (_, issued) = sample_of(&Authority::new("ours").provider(&provider_params()));
    let verified = verify(issued.document.as_bytes(), trust(&Authority::new("other").root()), None, at(NOW));
    assert!(
        matches!(failures(verified), (checks, Some(Failure::Chain(BrokenChain::OtherIssuer))) if checks == [Check::Chain])
    );
    let verified = verify(issued.document.as_bytes(), trust(&Authority::new("ours").root()), None, at(NOW));
    assert!(
        matches!(failures(verified), (checks, Some(Failure::Chain(BrokenChain::NotSigned))) if checks == [Check::Chain])
    );
}

#[test]
fn a_revoked_certificate_fails_even_by_an_old_list() {
    let authority = Authority::new("root");
    let root = authority.root();
    let (_, issued) = sample_of(&authority.provider(&provider_params()));
    let list = RevocationList::parse(&authority.list(&[7]), &root).expect("a list of the root");
    let trust = Trust { revocations: Some(&list), ..trust(&root) };
    for now in [NOW, "2030-01-01T00:00:00Z"] {
        let (checks, failure) = failures(verify(issued.document.as_bytes(), trust, None, at(now)));
        assert_eq!(checks, [Check::Revocation]);
        assert!(matches!(failure, Some(Failure::Revoked)));
    }
}

#[test]
fn dates_are_those_of_the_last_change_and_not_of_the_reader() {
    let authority = Authority::new("root");
    let root = authority.root();
    let signer = authority.provider(&provider_params());
    let (_, issued) = sample_of(&signer);
    assert!(verify(issued.document.as_bytes(), trust(&root), None, at("2050-01-01T00:00:00Z")).report.is_right());
    // The same key under certificates that begin later or have ended; a server would not sign so.
    for (from, until) in [((2026, 5, 2), (2028, 1, 1)), ((2025, 1, 1), (2026, 5, 1))] {
        let mut params = provider_params();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let document = forged(&issued, &authority.provider(&params));
        let (checks, failure) = failures(verify(&document, trust(&root), None, at(NOW)));
        assert_eq!(checks, [Check::CertificateDates]);
        assert!(matches!(
            failure,
            Some(Failure::Dates(OutsideValidity::NotYet { .. } | OutsideValidity::Expired { .. }))
        ));
    }
}

#[test]
fn a_root_that_had_ended_fails() {
    let mut params = crate::testing::root_params("root");
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    let authority = Authority::of(params);
    let (_, issued) = sample_of(&authority.provider(&provider_params()));
    let (checks, _) = failures(verify(issued.document.as_bytes(), trust(&authority.root()), None, at(NOW)));
    assert_eq!(checks, [Check::CertificateDates]);
}

/// The document signed without any of the checks that issuing makes.
fn forged(issued: &Issued, signer: &Provider) -> Vec<u8> {
    use crate::signature::{Signature, Signer};
    let licence = Licence::parse(issued.document.as_bytes()).expect("a licence");
    let value = signer.sign(licence.signed_text().as_bytes()).expect("the key signs");
    let signature = Signature { algorithm: signer.algorithm(), certificate: signer.certificate.clone(), value };
    let mut document: serde_json::Value = serde_json::from_str(&issued.document).expect("JSON");
    document["signature"] = signature.to_json();
    document.to_string().into_bytes()
}

#[test]
fn rights_and_passphrase_are_those_of_now_and_of_the_reader() {
    let authority = Authority::new("root");
    let root = authority.root();
    let mut sample = Sample::new();
    sample.rights.end = Some(at("2026-06-01T00:00:00Z"));
    let issued = sample.issued(&authority.provider(&provider_params()), NOW);
    let check = |passphrase: &str, now: &str| {
        failures(verify(issued.document.as_bytes(), trust(&root), Some(&PassphraseHash::of(passphrase)), at(now)))
    };
    assert!(check("비밀 123", NOW).0.is_empty());
    let (checks, failure) = check("비밀 124", NOW);
    assert_eq!(checks, [Check::Passphrase]);
    assert!(matches!(failure, Some(Failure::Passphrase(CannotUnlock::WrongPassphrase))));
    let (checks, failure) = check("비밀 123", "2026-06-01T00:00:01Z");
    assert_eq!(checks, [Check::Rights]);
    assert!(matches!(failure, Some(Failure::Rights(OutsideRights::Ended { .. }))));
}

#[test]
fn a_profile_that_is_not_known_is_said() {
    let authority = Authority::new("root");
    let (sample, issued) = sample_of(&authority.provider(&provider_params()));
    let root = authority.root();
    let trust = Trust { profiles: &[], ..trust(&root) };
    let verified = verify(issued.document.as_bytes(), trust, Some(&sample.passphrase), at(NOW));
    assert!(matches!(verified.report.outcome(Check::Passphrase), Some(Outcome::Skipped(Skipped::NoProfile))));
    assert_eq!(failures(verified).0, [Check::Profile]);
}

#[test]
fn other_white_space_and_order_are_the_same_licence() {
    let authority = Authority::new("root");
    let (_, issued) = sample_of(&authority.provider(&provider_params()));
    let value: serde_json::Value = serde_json::from_str(&issued.document).expect("JSON");
    let pretty = serde_json::to_string_pretty(&value).expect("JSON");
    assert!(verify(pretty.as_bytes(), trust(&authority.root()), None, at(NOW)).report.is_right());
}

#[test]
fn a_licence_with_any_byte_changed_is_not_right() {
    let authority = Authority::new("root");
    let root = authority.root();
    for signer in [authority.rsa_provider(&provider_params()), authority.provider(&provider_params())] {
        let (_, issued) = sample_of(&signer);
        let document = issued.document.into_bytes();
        for at_byte in 0..document.len() {
            // Each bit, the other case of a letter, and what JSON is made of.
            let flips = (0..8).map(|bit| document[at_byte] ^ (1 << bit));
            for other in flips.chain(*b" \"\\/,:{}[]0A=+") {
                if other == document[at_byte] {
                    continue;
                }
                let mut changed = document.clone();
                changed[at_byte] = other;
                let verified = verify(&changed, trust(&root), None, at(NOW));
                assert!(!verified.report.is_right(), "byte {at_byte} as {other:#x}: {:?}", verified.report);
            }
        }
    }
}

#[test]
fn a_member_that_is_added_or_taken_away_is_seen() {
    let authority = Authority::new("root");
    let root = authority.root();
    let (_, issued) = sample_of(&authority.provider(&provider_params()));
    let seen = |change: fn(&mut serde_json::Value)| {
        let mut document: serde_json::Value = serde_json::from_str(&issued.document).expect("JSON");
        change(&mut document);
        let (checks, _) = failures(verify(document.to_string().as_bytes(), trust(&root), None, at(NOW)));
        assert_eq!(checks, [Check::Signature]);
    };
    seen(|document| document["note"] = "unknown".into());
    seen(|document| document["rights"]["urn:example:a"] = true.into());
    seen(|document| document["links"][0]["title"] = "other".into());
    seen(|document| _ = document.as_object_mut().expect("an object").remove("rights"));
    seen(|document| document["updated"] = NOW.into());
}

proptest! {
    #[test]
    fn no_bytes_are_right_and_none_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let root = Authority::new("root").root();
        prop_assert!(!verify(&bytes, trust(&root), None, at(NOW)).report.is_right());
    }
}
