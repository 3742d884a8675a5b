use super::*;
use crate::testing::{Authority, at, provider_params, root_params, rsa_key};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CustomExtension, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).expect("a certificate")
}

#[test]
fn a_root_signs_its_providers_and_no_others() {
    let (ours, other, namesake) = (Authority::new("ours"), Authority::new("other"), Authority::new("ours"));
    for der in [ours.provider(&provider_params()).certificate, ours.rsa_provider(&provider_params()).certificate] {
        let provider = parse(&der);
        assert_eq!(ours.root().signed(&provider), Ok(()));
        assert_eq!(other.root().signed(&provider), Err(BrokenChain::OtherIssuer));
        assert_eq!(namesake.root().signed(&provider), Err(BrokenChain::NotSigned));
    }
    let root = parse(&ours.der);
    assert_eq!(ours.root().signed(&root), Err(BrokenChain::Authority));
    assert_eq!((provider_subject(&ours).as_str(), root.subject()), ("CN=provider of the tests", "CN=ours"));
}

fn provider_subject(authority: &Authority) -> String {
    let provider = parse(&authority.provider(&provider_params()).certificate);
    assert_eq!(provider.serial(), "07");
    provider.subject().to_owned()
}

#[test]
fn an_intermediate_authority_signs_no_licences() {
    let ours = Authority::new("ours");
    let mut params = root_params("between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let between = ours.certify(&params, &KeyPair::generate().expect("a key"));
    assert_eq!(ours.root().signed(&parse(&between)), Err(BrokenChain::Authority));
}

#[test]
fn a_root_is_an_authority_for_certificates() {
    let mut params = root_params("no authority");
    params.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(Root::parse(&Authority::of(params).der), Err(BadCertificate::NoAuthority));
    let mut params = root_params("for lists only");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(Root::parse(&Authority::of(params).der), Err(BadCertificate::NoAuthority));
}

#[test]
fn validity_has_both_ends() {
    let provider = parse(&Authority::new("root").provider(&provider_params()).certificate);
    let (from, until) = (at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"));
    assert_eq!(provider.validity(), (from, until));
    assert_eq!(provider.may_issue(from), Ok(()));
    assert_eq!(provider.may_issue(Timestamp(until.0 + 999_999_999)), Ok(()));
    assert_eq!(provider.may_issue(Timestamp(from.0 - 1)), Err(OutsideValidity::NotYet { from }));
    let after = at("2028-01-01T00:00:01Z");
    let expired = provider.may_issue(after).expect_err("it has ended");
    assert_eq!(expired, OutsideValidity::Expired { until });
    assert_eq!(expired.to_string(), "the certificate was valid until 2028-01-01T00:00:00Z");
    assert_eq!(provider.days_left(at("2027-12-31T00:00:00Z")), 1);
    assert_eq!(provider.days_left(at("2027-12-31T00:00:01Z")), 0);
    assert_eq!(provider.days_left(after), -1);
    assert_eq!(
        provider.days_left(Timestamp(i64::MIN)),
        until.secs().saturating_sub(i64::MIN / 1_000_000_000 - 1) / 86_400
    );
}

#[test]
fn an_old_licence_moves_to_the_start_of_a_new_certificate() {
    let provider = parse(&Authority::new("root").provider(&provider_params()).certificate);
    let start = at("2026-01-01T00:00:00Z");
    assert_eq!(provider.moves_change_to(at("2025-12-31T23:59:59Z")), Some(start));
    assert_eq!(provider.moves_change_to(start), None);
    assert_eq!(provider.moves_change_to(at("2026-05-01T00:00:00Z")), None);
}

#[test]
fn what_is_critical_must_be_understood() {
    let authority = Authority::new("root");
    let mut params = provider_params();
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    params.custom_extensions = vec![extension.clone()];
    assert!(Certificate::parse(&authority.provider(&params).certificate).is_ok());
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    let refused = Certificate::parse(&authority.provider(&params).certificate);
    assert_eq!(refused, Err(BadCertificate::Extension));
}

#[test]
fn only_keys_that_sign_licences_are_taken() {
    let authority = Authority::new("root");
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let der = authority.certify(&provider_params(), &key);
        assert_eq!(Certificate::parse(&der), Err(BadCertificate::Key));
    }
    let itself = provider_params().self_signed(&KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"));
    assert_eq!(Certificate::parse(itself.expect("a certificate").der()), Err(BadCertificate::Algorithm));
}

#[test]
fn a_list_revokes_what_it_names() {
    let authority = Authority::new("root");
    let root = authority.root();
    let provider = parse(&authority.provider(&provider_params()).certificate);
    let list = |serials: &[u64]| RevocationList::parse(&authority.list(serials), &root).expect("a list of the root");
    assert!(list(&[3, 7, 9]).revokes(&provider));
    assert!(!list(&[3, 70, 0x0700]).revokes(&provider) && !list(&[]).revokes(&provider));
    assert_eq!(list(&[]).made(), at("2026-06-01T00:00:00Z"));
    assert!(!list(&[]).is_stale(at("2026-07-01T00:00:00Z")) && list(&[]).is_stale(at("2026-07-02T00:00:00Z")));
    assert_eq!(RevocationList::parse(&Authority::new("other").list(&[7]), &root), Err(BadRevocationList::NotSigned));
    assert_eq!(RevocationList::parse(&Authority::new("root").list(&[7]), &root), Err(BadRevocationList::NotSigned));
    assert_eq!(RevocationList::parse(&authority.der, &root), Err(BadRevocationList::Der));
}

#[test]
fn a_certificate_with_any_byte_changed_is_none_of_the_root() {
    let authority = Authority::new("root");
    let mut params = provider_params();
    params.not_after = date_time_ymd(2060, 1, 1);
    let root = authority.root();
    let der = authority.certify(&params, &rsa_key());
    for at in 0..der.len() {
        for change in 1..=255u8 {
            // Every change of what is not signed, some of what is.
            if change.count_ones() > 2 && (5..der.len() - 90).contains(&at) {
                continue;
            }
            let mut other = der.clone();
            other[at] ^= change;
            let accepted = Certificate::parse(&other).is_ok_and(|certificate| root.signed(&certificate).is_ok());
            assert!(!accepted, "byte {at} of {} changed by {change:#x}", der.len());
        }
    }
    let longer = [&der[..], &[0]].concat();
    assert_eq!(Certificate::parse(&longer), Err(BadCertificate::Der));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..600) {
        let authority = Authority::new("root");
        let root = authority.root();
        let _ = Certificate::parse(&bytes);
        let _ = RevocationList::parse(&bytes, &root);
        let _ = Certificate::parse(&authority.der[..cut.min(authority.der.len())]);
        let mut patched = authority.list(&[1, 2, 3]);
        let begun = cut.min(patched.len());
        let taken = bytes.len().min(patched.len() - begun);
        patched[begun..begun + taken].copy_from_slice(&bytes[..taken]);
        let _ = RevocationList::parse(&patched, &root);
    }
}
