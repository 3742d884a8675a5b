use super::*;
use crate::certificate::Certificate;
use crate::testing::{Authority, provider_params};
use proptest::prelude::*;

#[test]
fn both_algorithms_sign_and_are_checked() {
    let authority = Authority::new("root");
    let rsa = authority.rsa_provider(&provider_params());
    let ecdsa = authority.provider(&provider_params());
    for (signer, bytes) in [(rsa, 256), (ecdsa, 64)] {
        let certificate = Certificate::parse(signer.certificate()).expect("a certificate");
        assert_eq!(certificate.algorithm(), signer.algorithm());
        let value = signer.sign(b"a licence").expect("the key signs");
        assert_eq!(value.len(), bytes);
        let check =
            |algorithm, message: &[u8], value: &[u8]| verify(algorithm, certificate.public_key(), message, value);
        assert_eq!(check(signer.algorithm(), b"a licence", &value), Ok(()));
        assert_eq!(check(signer.algorithm(), b"A licence", &value), Err(WrongSignature));
        assert_eq!(check(signer.algorithm(), b"a licence", &value[1..]), Err(WrongSignature));
        let other = match signer.algorithm() {
            Algorithm::RsaSha256 => Algorithm::EcdsaSha256,
            Algorithm::EcdsaSha256 => Algorithm::RsaSha256,
        };
        assert_eq!(check(other, b"a licence", &value), Err(WrongSignature));
    }
}

#[test]
fn a_signature_comes_back_from_its_json() {
    for algorithm in [Algorithm::RsaSha256, Algorithm::EcdsaSha256] {
        let signature = Signature { algorithm, certificate: vec![1, 2, 3], value: vec![4; 64] };
        assert_eq!(Signature::read(&signature.to_json()), Ok(signature));
    }
}

#[test]
fn a_signature_has_three_members_and_nothing_else() {
    let good = Signature { algorithm: Algorithm::RsaSha256, certificate: vec![1], value: vec![2] }.to_json();
    let with = |name: &str, value: Value| {
        let mut other = good.clone();
        other[name] = value;
        Signature::read(&other).expect_err("not that of a licence")
    };
    assert_eq!(with("note", json!("x")), BadSignature::Shape);
    assert_eq!(with("value", json!(1)), BadSignature::Shape);
    assert_eq!(with("algorithm", json!("http://www.w3.org/2000/09/xmldsig#rsa-sha1")), BadSignature::Algorithm);
    assert_eq!(with("value", json!("A===")), BadSignature::Base64);
    assert_eq!(with("value", json!("Ag=")), BadSignature::Base64);
    assert_eq!(with("certificate", json!("A".repeat(BASE64_CHARS_MAX + 4))), BadSignature::Base64);
    assert_eq!(Signature::read(&json!("text")), Err(BadSignature::Shape));
    assert_eq!(Signature::read(&json!({ "algorithm": "", "value": "" })), Err(BadSignature::Shape));
}

proptest! {
    #[test]
    fn no_key_and_no_value_make_it_panic(
        key in proptest::collection::vec(any::<u8>(), 0..300),
        value in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert_eq!(verify(Algorithm::RsaSha256, &key, b"text", &value), Err(WrongSignature));
        prop_assert_eq!(verify(Algorithm::EcdsaSha256, &key, b"text", &value), Err(WrongSignature));
    }
}
