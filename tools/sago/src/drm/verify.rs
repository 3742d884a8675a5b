//! `sago drm verify`: what a reading app checks before it opens a book, and what it then finds in it.
//!
//! ```text
//! package      the archive can be opened, and tells what is encrypted
//! document … passphrase     the licence: drm::verify
//! publication  a licence from beside: length and hash of the book are those that it names
//! resources    everything in it comes out, as long as it should be
//! ```
//! What nothing was given for, such as a root, is not checked, and is no fault.

use super::extract::{Extracted, extract};
use super::resources::{self, Counts, FileSource, Unread};
use super::{passphrase, trust};
use crate::cli::VerifyArgs;
use crate::exit::{Done, Failure, Kind, chain};
use crate::output::{Output, table, time};
use ::drm::certificate::{RevocationList, Root};
use ::drm::licence::{DOCUMENT_BYTES_MAX, Licence, Link, Unlocked};
use ::drm::open::{OpenError, Package};
use ::drm::verify::{Outcome, Trust};
use ::drm::zip::Limits;
use ::drm::{BasicProfile, PassphraseHash, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;
use types::Timestamp;

/// Bytes that are hashed at a time.
const PIECE_BYTES: usize = 256 << 10;

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) check: String,
    /// `ok`, `failed` or `not checked`.
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// What the licence says, as far as a person wants to know it.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    provider: String,
    profile: String,
    hint: String,
    issued: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Looked {
    file: String,
    /// Whether nothing failed.
    pub(super) right: bool,
    pub(super) checks: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clear: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extracted: Option<Extracted>,
}

/// Carries out `sago drm verify`.
///
/// # Errors
/// [`Failure`]: a check failed, after all of them were printed; or it cannot be looked at.
pub(super) fn verify(args: &VerifyArgs, now: Timestamp, output: Output) -> Done {
    let looked = look(args, now)?;
    output.show(&looked, Looked::text)?;
    if looked.right {
        return Ok(());
    }
    let failed: Vec<&str> =
        looked.checks.iter().filter(|line| line.outcome == "failed").map(|line| &*line.check).collect();
    Err(Failure::new(Kind::Damaged, format!("{}: not right: {}", args.file.display(), failed.join(", "))))
}

/// What the reader brings.
struct Brought {
    root: Option<Root>,
    list: Option<RevocationList>,
    passphrase: Option<PassphraseHash>,
}

impl Brought {
    fn new(args: &VerifyArgs) -> Done<Self> {
        let root = args.root.as_deref().map(trust::root).transpose()?;
        let list = match (&args.crl, &root) {
            (Some(path), Some(root)) => Some(trust::list(path, root)?),
            _ => None,
        };
        Ok(Brought { root, list, passphrase: passphrase_of(args)? })
    }
}

pub(super) fn look(args: &VerifyArgs, now: Timestamp) -> Done<Looked> {
    let brought = Brought::new(args)?;
    if args.extract.is_some() && brought.passphrase.is_none() {
        return Err(Failure::new(Kind::Usage, "--extract needs the passphrase"));
    }
    let source = FileSource::open(&args.file)?;
    let mut looked = Looked::new(&args.file);
    if !is_archive(&source)? {
        if args.licence.is_some() || args.extract.is_some() {
            return Err(Failure::new(Kind::Usage, format!("{}: not a book", args.file.display())));
        }
        let document = trust::read(&args.file, DOCUMENT_BYTES_MAX as u64)?;
        looked.licence(&document, &brought, now);
        return Ok(looked);
    }
    let limits = Limits::default();
    let package = match Package::open(&source, &limits) {
        Ok(package) => package,
        Err(OpenError::Source(error)) => return Err(Failure { kind: Kind::Unchecked, ..Failure::failed(error) }),
        Err(error) => {
            looked.add("package", Err(chain(&error)));
            return Ok(looked);
        }
    };
    looked.package(&package, &source, args, &brought, now)?;
    Ok(looked)
}

fn is_archive(source: &FileSource) -> Done<bool> {
    let mut begin = [0; 2];
    if source.len() < 2 {
        return Ok(false);
    }
    source.read_at(0, &mut begin).map_err(Failure::failed)?;
    Ok(begin == *b"PK")
}

/// The passphrase, if there is one.
fn passphrase_of(args: &VerifyArgs) -> Done<Option<PassphraseHash>> {
    match (&args.passphrase, &args.passphrase_file) {
        (Some(typed), _) => Ok(Some(PassphraseHash::of(typed))),
        (None, Some(path)) => passphrase::of_file(path).map(Some),
        (None, None) => Ok(None),
    }
}

impl Looked {
    fn new(file: &Path) -> Self {
        Looked {
            file: file.display().to_string(),
            right: true,
            checks: Vec::new(),
            licence: None,
            encrypted: None,
            clear: None,
            extracted: None,
        }
    }

    fn add(&mut self, check: &str, result: Result<(), String>) {
        self.right &= result.is_ok();
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        self.checks.push(Line { check: check.to_owned(), outcome, why: result.err() });
    }

    fn skip(&mut self, check: &str, why: &str) {
        self.checks.push(Line { check: check.to_owned(), outcome: "not checked", why: Some(why.to_owned()) });
    }

    fn package(
        &mut self,
        package: &Package<'_>,
        source: &FileSource,
        args: &VerifyArgs,
        brought: &Brought,
        now: Timestamp,
    ) -> Done {
        self.add("package", Ok(()));
        let Counts { encrypted, clear } = resources::count(package);
        (self.encrypted, self.clear) = (Some(encrypted), Some(clear));
        let beside = args.licence.as_deref().map(|path| trust::read(path, DOCUMENT_BYTES_MAX as u64)).transpose()?;
        let inside = if beside.is_some() { Ok(None) } else { package.licence() };
        let document = match (beside, inside) {
            (Some(document), _) | (None, Ok(Some(document))) => document,
            (None, Ok(None)) => {
                self.add("document", Err("there is no licence in it; give one with --licence".to_owned()));
                return Ok(());
            }
            (None, Err(error)) => {
                self.add("document", Err(chain(&error)));
                return Ok(());
            }
        };
        let (licence, unlocked) = self.licence(&document, brought, now);
        match licence.as_ref().and_then(|licence| licence.terms().link("publication")) {
            Some(link) if args.licence.is_some() => self.add("publication", publication(link, source)?),
            _ => self.skip("publication", "the licence is part of the file"),
        }
        let Some(unlocked) = unlocked else {
            self.skip("resources", "there is no content key");
            return Ok(());
        };
        match resources::read_all(package, &unlocked.content_key, source.len()) {
            Err((_, Unread::Open(OpenError::Source(error)))) => {
                return Err(Failure { kind: Kind::Unchecked, ..Failure::failed(error) });
            }
            Err((name, error)) => self.add("resources", Err(format!("{name:?}: {}", chain(&error)))),
            Ok(()) => self.add("resources", Ok(())),
        }
        if let Some(to) = args.extract.as_deref().filter(|_| self.right) {
            self.extracted = Some(extract(package, &unlocked.content_key, source.len(), to)?);
        }
        Ok(())
    }

    fn licence(&mut self, document: &[u8], brought: &Brought, now: Timestamp) -> (Option<Licence>, Option<Unlocked>) {
        let trust =
            Trust { root: brought.root.as_ref(), revocations: brought.list.as_ref(), profiles: &[&BasicProfile] };
        let verified = ::drm::verify::verify(document, trust, brought.passphrase.as_ref(), now);
        for finding in verified.report.findings() {
            let check = finding.check.to_string();
            match &finding.outcome {
                Outcome::Passed => self.add(&check, Ok(())),
                Outcome::Skipped(why) => self.skip(&check, &why.to_string()),
                Outcome::Failed(failure) => self.add(&check, Err(chain(failure))),
            }
        }
        self.licence = verified.licence.as_ref().map(Shown::of);
        (verified.licence, verified.unlocked)
    }

    fn text(&self) -> String {
        let mut rows = Vec::new();
        for line in &self.checks {
            rows.push(vec![line.check.clone(), line.outcome.to_owned(), line.why.clone().unwrap_or_default()]);
        }
        let mut text = table(&rows);
        if let Some(licence) = &self.licence {
            text.push_str(&format!("\nlicence {} of {}, issued {}", licence.id, licence.provider, licence.issued));
            for (what, at) in [("updated", &licence.updated), ("from", &licence.start), ("until", &licence.end)] {
                text.push_str(&at.as_ref().map(|at| format!(", {what} {at}")).unwrap_or_default());
            }
            text.push('\n');
        }
        if let (Some(encrypted), Some(clear)) = (self.encrypted, self.clear) {
            text.push_str(&format!("{encrypted} resources encrypted, {clear} not\n"));
        }
        if let Some(extracted) = &self.extracted {
            text.push_str(&format!("{} files, {} bytes written\n", extracted.files, extracted.bytes));
        }
        text
    }
}

impl Shown {
    fn of(licence: &Licence) -> Self {
        let terms = licence.terms();
        Shown {
            id: terms.id.clone(),
            provider: terms.provider.clone(),
            profile: terms.profile.clone(),
            hint: terms.hint.clone(),
            issued: time(terms.issued),
            updated: terms.updated.map(time),
            start: terms.rights.start.map(time),
            end: terms.rights.end.map(time),
        }
    }
}

/// Whether the book is the one that the licence names, by its length and hash, which a licence may leave out.
fn publication(link: &Link, source: &FileSource) -> Done<Result<(), String>> {
    if let Some(length) = link.length.filter(|length| *length != source.len()) {
        return Ok(Err(format!("the book has {} bytes, not {length} as the licence says", source.len())));
    }
    let Some(named) = &link.hash else { return Ok(Ok(())) };
    let hash = hash(source)?;
    // Both forms are in use.
    let same = named.eq_ignore_ascii_case(&hex::encode(hash)) || *named == STANDARD.encode(hash);
    Ok(if same { Ok(()) } else { Err("the book's SHA-256 is not the one that the licence names".to_owned()) })
}

fn hash(source: &FileSource) -> Done<[u8; 32]> {
    let (mut hash, mut at, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    while at < source.len() {
        let bytes = (source.len() - at).min(PIECE_BYTES as u64) as usize;
        source.read_at(at, &mut piece[..bytes]).map_err(Failure::failed)?;
        hash.update(&piece[..bytes]);
        at += bytes as u64;
    }
    Ok(hash.finalize().into())
}
