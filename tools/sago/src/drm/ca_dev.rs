//! `sago drm ca-dev`: what a provider gets from an authority, made here, for development and tests.
//!
//! | file | what |
//! | --- | --- |
//! | `root.pem`, `root.key.pem` | the root, ten years; its key signs the rest and is for this command alone |
//! | `provider.pem`, `provider.key.pem` | what a gateway signs licences with |
//! | `crl.pem` | the root's revocation list, a month |

use crate::cli::CaDevArgs;
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, time};
use gateway_core::secret_file;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};
use types::Timestamp;
use zeroize::Zeroizing;

const ROOT: &str = "root.pem";
const ROOT_KEY: &str = "root.key.pem";
const PROVIDER: &str = "provider.pem";
const PROVIDER_KEY: &str = "provider.key.pem";
const REVOCATIONS: &str = "crl.pem";
const DAY: i64 = 86_400;
/// Days of the root.
const ROOT_DAYS: i64 = 3_650;
/// Days after which a newer list is due.
const LIST_DAYS: i64 = 30;
/// Days for which the list and what is not expired are valid already: a licence may be issued as of a moment ago, by a clock that is behind.
const BACKDATE_DAYS: i64 = 1;
/// Bytes of a certificate or key that was made here.
const PEM_BYTES_MAX: u64 = 64 << 10;
const SERIAL_BYTES: usize = 16;

const WARNING: &str = "\
For development and tests. No reading app trusts this root: a book that is signed so opens in `sago drm verify` and in readers that were built with it, \
and apps from stores call its licence wrong. What they trust is a certificate from EDRLab, under contract: docs/OPERATIONS.md.";

#[derive(Debug, Serialize)]
pub(super) struct Made {
    folder: String,
    root: String,
    provider: String,
    provider_key: String,
    crl: String,
    algorithm: &'static str,
    subject: String,
    serial: String,
    valid_from: String,
    valid_until: String,
    revoked: bool,
    warning: &'static str,
}

/// Carries out `sago drm ca-dev`.
///
/// # Errors
/// [`Failure`]: files are there already, or a key cannot be made.
pub(super) fn make(args: &CaDevArgs, now: Timestamp, output: Output) -> Done {
    output.show(&made(args, now)?, Made::text)
}

pub(super) fn made(args: &CaDevArgs, now: Timestamp) -> Done<Made> {
    fs::create_dir_all(&args.folder)?;
    for file in [ROOT, ROOT_KEY, PROVIDER, PROVIDER_KEY, REVOCATIONS] {
        let path = args.folder.join(file);
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(Kind::Failed, format!("{} is there: choose another folder", path.display())));
        }
    }
    let (root, issuer) = match &args.root {
        Some(folder) => old_root(folder)?,
        None => new_root(args, now)?,
    };
    let key = new_key(args.rsa)?;
    let serial = serial();
    let certificate = provider(args, now, serial.clone()).signed_by(&key, &issuer).map_err(Failure::failed)?;
    let list = list(args.revoked.then(|| serial.clone()), now).signed_by(&issuer).map_err(Failure::failed)?;
    let root_key = Zeroizing::new(issuer.key().serialize_pem());
    write(&args.folder, ROOT_KEY, &root_key, 0o600)?;
    write(&args.folder, ROOT, &root, 0o644)?;
    write(&args.folder, PROVIDER_KEY, &Zeroizing::new(key.serialize_pem()), 0o600)?;
    write(&args.folder, PROVIDER, &certificate.pem(), 0o644)?;
    write(&args.folder, REVOCATIONS, &list.pem().map_err(Failure::failed)?, 0o644)?;
    File::open(&args.folder)?.sync_all()?;
    let parsed = ::drm::certificate::Certificate::parse(certificate.der()).map_err(Failure::failed)?;
    let (from, until) = parsed.validity();
    let path = |file: &str| args.folder.join(file).display().to_string();
    Ok(Made {
        folder: args.folder.display().to_string(),
        root: path(ROOT),
        provider: path(PROVIDER),
        provider_key: path(PROVIDER_KEY),
        crl: path(REVOCATIONS),
        algorithm: if args.rsa { "RSA-2048" } else { "ECDSA P-256" },
        subject: parsed.subject().to_owned(),
        serial: parsed.serial(),
        valid_from: time(from),
        valid_until: time(until),
        revoked: args.revoked,
        warning: WARNING,
    })
}

fn new_root(args: &CaDevArgs, now: Timestamp) -> Done<(String, Issuer<'static, KeyPair>)> {
    let key = new_key(args.rsa)?;
    // Before an expired provider's certificate begins.
    let before = BACKDATE_DAYS + if args.expired { i64::from(args.days) } else { 0 };
    let mut params = params("Sago development root, not trusted by any reading app", now, (-before, ROOT_DAYS));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial());
    let root = params.self_signed(&key).map_err(Failure::failed)?.pem();
    Ok((root, Issuer::new(params, key)))
}

fn old_root(folder: &Path) -> Done<(String, Issuer<'static, KeyPair>)> {
    let read = |file| secret_file::read_text(&folder.join(file), PEM_BYTES_MAX).map_err(Failure::failed);
    let key = KeyPair::from_pem(&read(ROOT_KEY)?).map_err(Failure::failed)?;
    let root = fs::read_to_string(folder.join(ROOT))?;
    let issuer = Issuer::from_ca_cert_pem(&root, key).map_err(Failure::failed)?;
    Ok((root, issuer))
}

fn provider(args: &CaDevArgs, now: Timestamp, serial: SerialNumber) -> CertificateParams {
    let days = i64::from(args.days);
    let span = if args.expired { (-BACKDATE_DAYS - days, -BACKDATE_DAYS) } else { (-BACKDATE_DAYS, days) };
    let mut params = params(&args.provider, now, span);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(serial);
    params.use_authority_key_identifier_extension = true;
    params
}

/// What is valid so many days before and after now.
fn params(name: &str, now: Timestamp, (from, until): (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (day(now, from).into(), day(now, until).into());
    params
}

fn list(revoked: Option<SerialNumber>, now: Timestamp) -> CertificateRevocationListParams {
    let entry = |serial_number| RevokedCertParams {
        serial_number,
        revocation_time: day(now, -BACKDATE_DAYS).into(),
        reason_code: None,
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: day(now, -BACKDATE_DAYS).into(),
        next_update: day(now, LIST_DAYS).into(),
        crl_number: SerialNumber::from(now.secs().unsigned_abs()),
        issuing_distribution_point: None,
        revoked_certs: revoked.into_iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn day(now: Timestamp, days: i64) -> std::time::SystemTime {
    let secs = now.secs().saturating_add(days * DAY);
    UNIX_EPOCH + Duration::from_secs(u64::try_from(secs).unwrap_or(0))
}

/// Positive, and not the same for two.
fn serial() -> SerialNumber {
    let mut bytes: [u8; SERIAL_BYTES] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn new_key(rsa: bool) -> Done<KeyPair> {
    if !rsa {
        return KeyPair::generate().map_err(Failure::failed);
    }
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).stdin(Stdio::null());
    let run = openssl.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            Kind::Failed,
            "keys of RSA are made by the program openssl, which is not here; --ecdsa needs none",
        ),
        _ => Failure::new(Kind::Failed, format!("openssl: {error}")),
    })?;
    let pem = Zeroizing::new(run.stdout);
    let text = std::str::from_utf8(&pem).ok().filter(|_| run.status.success());
    let text = text.ok_or_else(|| Failure::new(Kind::Failed, format!("openssl has made no key: {}", run.status)))?;
    KeyPair::from_pem(text).map_err(Failure::failed)
}

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> Done {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| Failure::new(Kind::Failed, format!("{}: {error}", path.display())))
}

impl Made {
    fn text(&self) -> String {
        let revoked = if self.revoked { ", revoked by the list" } else { "" };
        format!(
            "{}\n{}\n{}\n{}\n{}, {}, serial {}, valid from {} until {}{revoked}\n\n{}",
            self.root,
            self.provider,
            self.provider_key,
            self.crl,
            self.subject,
            self.algorithm,
            self.serial,
            self.valid_from,
            self.valid_until,
            self.warning
        )
    }
}
