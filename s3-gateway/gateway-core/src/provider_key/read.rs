//! The files of a certificate and a key.

use super::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, FormFault, PrivateKey, ProviderKeyError, RsaKeyPair};
use crate::secret_file;
use drm::certificate::{CERTIFICATE_BYTES_MAX, Certificate, Root};
use drm::signature::Algorithm;
use ring::rand::SystemRandom;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a certificate's file: PEM, with what `openssl x509 -text` writes before it.
const CERTIFICATE_FILE_BYTES_MAX: u64 = 4 * CERTIFICATE_BYTES_MAX as u64;
/// Bytes of a key's file. A key of RSA-4096 has 3,272 in PEM.
const KEY_FILE_BYTES_MAX: u64 = 32 << 10;
/// How DER begins: with a sequence.
const DER_BEGIN: u8 = 0x30;

pub(super) fn certificate(path: &Path) -> Result<Certificate, ProviderKeyError> {
    let failed = |source| ProviderKeyError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(CERTIFICATE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let fault = |fault| ProviderKeyError::Form { path: path.to_owned(), fault };
    if bytes.len() as u64 > CERTIFICATE_FILE_BYTES_MAX {
        return Err(fault(FormFault::NoCertificate));
    }
    let der = match bytes.first() {
        Some(&DER_BEGIN) => bytes,
        _ => certificate_of_pem(&bytes).map_err(fault)?,
    };
    let parsed =
        Certificate::parse(&der).map_err(|source| ProviderKeyError::Certificate { path: path.to_owned(), source })?;
    // What can be a root is none of a provider.
    if Root::parse(&der).is_ok() {
        return Err(fault(FormFault::Authority));
    }
    Ok(parsed)
}

fn certificate_of_pem(text: &[u8]) -> Result<Vec<u8>, FormFault> {
    let mut found = CertificateDer::pem_slice_iter(text);
    let first = found.next().ok_or(FormFault::NoCertificate)?.map_err(|_| FormFault::Pem)?;
    if found.next().is_some() {
        return Err(FormFault::Certificates);
    }
    Ok(first.to_vec())
}

/// The key of a file, which a certificate of that algorithm asks for.
pub(super) fn key(path: &Path, algorithm: Algorithm) -> Result<PrivateKey, ProviderKeyError> {
    let text = secret_file::read_text(path, KEY_FILE_BYTES_MAX)?;
    let der = key_of_pem(&text).map_err(|fault| ProviderKeyError::Form { path: path.to_owned(), fault })?;
    let wanted = match algorithm {
        Algorithm::RsaSha256 => "RSA with 2048 to 4096 bits",
        Algorithm::EcdsaSha256 => "ECDSA on P-256",
    };
    let key = match algorithm {
        Algorithm::RsaSha256 => RsaKeyPair::from_pkcs8(&der).map(|key| PrivateKey::Rsa(Box::new(key))),
        Algorithm::EcdsaSha256 => {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
            key.map(|key| PrivateKey::Ecdsa(Box::new(key)))
        }
    };
    key.map_err(|error| {
        // Its words are fixed ones, such as "TooSmall".
        let reason = rejection(&error.to_string());
        ProviderKeyError::Key { path: path.to_owned(), wanted, reason }
    })
}

/// What ring says of a key, in our words.
fn rejection(said: &str) -> &'static str {
    match said {
        "WrongAlgorithm" => "it is of another kind",
        "TooSmall" => "it is too short",
        "TooLarge" => "it is too long",
        "PrivateModulusLenNotMultipleOf512Bits" => "its length is no multiple of 512 bits",
        "PublicKeyIsMissing" => "it lacks the public key",
        _ => "it is damaged",
    }
}

fn key_of_pem(text: &str) -> Result<Zeroizing<Vec<u8>>, FormFault> {
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(FormFault::Encrypted);
    }
    let mut key = None;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|_| FormFault::Pem)?;
        let der = Zeroizing::new(der);
        match kind {
            SectionKind::PrivateKey if key.is_some() => return Err(FormFault::Keys),
            SectionKind::PrivateKey => key = Some(der),
            SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => return Err(FormFault::Older),
            _ => {}
        }
    }
    key.ok_or(FormFault::NoKey)
}
