//! Licences checked by openssl and jq (`sh/check-licence.sh`).

use crate::Authority;
use crate::programs::{output_of, program};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// What was found by the name of each check: `ok`, or what openssl says.
pub type Findings = BTreeMap<String, String>;

/// Licence, root and list as files.
#[derive(Debug)]
pub struct LicenceFiles {
    folder: TempDir,
}

impl LicenceFiles {
    /// A folder for the licences under an authority that has taken back the certificates of these serial numbers.
    ///
    /// # Errors
    /// Files cannot be written.
    pub fn new(authority: &Authority, revoked: &[u64]) -> anyhow::Result<Self> {
        Self::under(&authority.root_pem(), &authority.revocations_pem(revoked)?)
    }

    /// A folder for the licences under a root certificate and its list, both PEM.
    ///
    /// # Errors
    /// Files cannot be written.
    pub fn under(root: &str, revocations: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("root.pem"), root)?;
        fs::write(folder.path().join("revocations.pem"), revocations)?;
        Ok(LicenceFiles { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Checks a document.
    ///
    /// # Errors
    /// It is not even read.
    pub fn check(&self, document: &str) -> anyhow::Result<Findings> {
        let licence = self.path("license.lcpl");
        fs::write(&licence, document)?;
        let mut script = program("sh/check-licence.sh")?;
        let printed = output_of(script.args([&licence, &self.path("root.pem"), &self.path("revocations.pem")]))?;
        let printed = String::from_utf8(printed)?;
        let finding = |line: &str| line.split_once(": ").map(|(check, found)| (check.to_owned(), found.to_owned()));
        printed.lines().map(|line| finding(line).with_context(|| format!("no finding: {line:?}"))).collect()
    }

    /// The names of the checks that failed, of all four.
    ///
    /// # Errors
    /// It is not even read, or a check was not made.
    pub fn failures(&self, document: &str) -> anyhow::Result<Vec<String>> {
        let findings = self.check(document)?;
        anyhow::ensure!(findings.len() == 4, "not all was checked: {findings:?}");
        Ok(findings.into_iter().filter(|(_, found)| found != "ok").map(|(check, _)| check).collect())
    }
}
