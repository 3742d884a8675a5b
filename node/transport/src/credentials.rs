//! A process's own certificate and key, and the authority it trusts, as PEM; kept in a folder of three files.

use crate::identity::{self, IdentityError, Role};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use types::ClusterId;

const CA_FILE: &str = "ca.pem";
const CERT_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
/// A PEM file is a few KiB; more is not one.
const PEM_BYTES_MAX: u64 = 256 << 10;

/// What a process needs to speak to others of its cluster. `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The cluster's authority, PEM.
    pub ca: String,
    /// The process's certificate, PEM.
    pub cert: String,
    /// The certificate's private key, PEM.
    pub key: String,
}

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file could not be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key's file can be read or written by other users.
    #[error("{0} is accessible to other users; set its mode to 0600")]
    Exposed(PathBuf),
    /// Not PEM, or not what it should be.
    #[error("{0} is not valid PEM of the kind it should be")]
    Pem(&'static str),
    /// The certificate says nothing useful.
    #[error("the certificate cannot be used")]
    Identity(#[from] IdentityError),
}

/// Credentials, decoded.
pub(crate) struct Decoded {
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) cert: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) cluster: ClusterId,
    pub(crate) role: Role,
}

impl Credentials {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` of a folder.
    ///
    /// # Errors
    /// [`CredentialsError`]; in particular a key that other users can reach is refused.
    pub fn load(folder: &Path) -> Result<Self, CredentialsError> {
        let key = folder.join(KEY_FILE);
        let mode = fs::metadata(&key).map_err(file_error(&key))?.mode();
        if mode & 0o007 != 0 {
            return Err(CredentialsError::Exposed(key));
        }
        Ok(Credentials {
            ca: read_pem(&folder.join(CA_FILE))?,
            cert: read_pem(&folder.join(CERT_FILE))?,
            key: read_pem(&key)?,
        })
    }

    /// Writes the three files, each readable by the owner alone, over what stands there. The folder is made if it is missing.
    ///
    /// # Errors
    /// [`CredentialsError::File`]; files written before the failing one stay.
    pub fn save(&self, folder: &Path) -> Result<(), CredentialsError> {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        write_private(&folder.join(CA_FILE), &self.ca)?;
        write_private(&folder.join(CERT_FILE), &self.cert)?;
        write_private(&folder.join(KEY_FILE), &self.key)
    }

    /// The cluster and role these credentials stand for.
    ///
    /// # Errors
    /// The certificate cannot be parsed or names no role.
    pub fn identity(&self) -> Result<(ClusterId, Role), CredentialsError> {
        let decoded = self.decode()?;
        Ok((decoded.cluster, decoded.role))
    }

    pub(crate) fn decode(&self) -> Result<Decoded, CredentialsError> {
        let cert =
            |text: &str, what| CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| CredentialsError::Pem(what));
        let (ca, own) = (cert(&self.ca, CA_FILE)?, cert(&self.cert, CERT_FILE)?);
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| CredentialsError::Pem(KEY_FILE))?;
        let (cluster, role) = identity::parse_certificate(&own)?;
        let role = role.ok_or(IdentityError::Role)?;
        Ok(Decoded { ca, cert: own, key, cluster, role })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("cert", &self.cert).finish_non_exhaustive()
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> CredentialsError {
    let path = path.to_owned();
    move |source| CredentialsError::File { path, source }
}

pub(crate) fn read_pem(path: &Path) -> Result<String, CredentialsError> {
    let size = fs::metadata(path).map_err(file_error(path))?.len();
    if size > PEM_BYTES_MAX {
        return Err(file_error(path)(io::Error::new(io::ErrorKind::InvalidData, "too large for a PEM file")));
    }
    fs::read_to_string(path).map_err(file_error(path))
}

/// Writes beside and renames, so that neither a crash nor a wider mode of an older file leaves a key half written or exposed.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CredentialsError> {
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(file_error(path))
}
