//! What a reader trusts, from files: a root and its revocation list, in PEM or DER.

use crate::exit::{Done, Failure, Kind};
use ::drm::certificate::{RevocationList, Root};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of a root's file.
const ROOT_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a list's file: a list of a hundred thousand certificates in PEM.
const LIST_BYTES_MAX: u64 = 8 << 20;
/// How DER begins.
const DER_BEGIN: u8 = 0x30;

/// Reads a root certificate.
///
/// # Errors
/// [`Failure`]: there is none in the file.
pub(super) fn root(path: &Path) -> Done<Root> {
    let bytes = read(path, ROOT_BYTES_MAX)?;
    let der = of_pem(path, bytes, |pem| CertificateDer::from_pem_slice(pem).map(|der| der.to_vec()))?;
    Root::parse(&der).map_err(|error| useless(path, error))
}

/// Reads a list that the root has signed.
///
/// # Errors
/// [`Failure`]: there is none in the file, or it is another one's.
pub(super) fn list(path: &Path, root: &Root) -> Done<RevocationList> {
    let bytes = read(path, LIST_BYTES_MAX)?;
    let der = of_pem(path, bytes, |pem| CertificateRevocationListDer::from_pem_slice(pem).map(|der| der.to_vec()))?;
    RevocationList::parse(&der, root).map_err(|error| useless(path, error))
}

/// Reads a file that has to be a short one.
///
/// # Errors
/// [`Failure`]: it cannot be read, or is longer.
pub(super) fn read(path: &Path, bytes_max: u64) -> Done<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::from(error).while_doing(path.display()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(useless(path, "too long for what it should be"));
    }
    Ok(bytes)
}

fn of_pem<E>(path: &Path, bytes: Vec<u8>, decode: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Done<Vec<u8>> {
    match bytes.first() {
        Some(&DER_BEGIN) => Ok(bytes),
        _ => decode(&bytes).map_err(|_| useless(path, "neither PEM nor DER of what it should be")),
    }
}

fn useless(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Usage, format!("{}: {why}", path.display()))
}
