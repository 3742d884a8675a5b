//! The last judgement: every key of the ledger is read again, whole, and compared with what may be there.

use crate::register::Seen;
use crate::{Body, Kind, Ledger, LoadReport, Register, until};
use anyhow::Context;
use loadgen::s3::S3Client;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one key may take to be readable once the cluster is whole again.
const READABLE_MAX: Duration = Duration::from_secs(30);

/// How late a mount may be with a name: its attribute cache of one second, with room for a busy machine.
const NAMES_LATE_MAX: Duration = Duration::from_secs(3);

/// What the judgement came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Keys of the ledger that were read.
    pub keys: usize,
    /// Lost, stale, invented or mixed, word by word.
    pub faults: Vec<String>,
    /// Keys that show a write of unknown outcome over a later acknowledged one.
    pub late: usize,
}

/// Reads every key of the ledger through S3, and through the mount where there is one, and compares the listing.
///
/// The ledger (from disk) and the registers (from memory) must agree: a ledger that forgot an acknowledgement would prove nothing.
///
/// # Errors
/// The ledger cannot be read, or the cluster does not answer within half a minute.
pub fn check(
    s3: &S3Client,
    bucket: &str,
    ledger: &Ledger,
    report: &LoadReport,
    mount: Option<&Path>,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    verdict.faults.extend(disagreements(ledger, &report.registers)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut prefixes = BTreeSet::new();
    for (key, register) in &report.registers {
        let bytes = runtime.block_on(read_patiently(s3, bucket, key)).with_context(|| format!("reading {key}"))?;
        verdict.judge("S3", key, register, bytes.as_deref());
        if let Some(mount) = mount {
            verdict.faults.extend(mount_fault(mount, key, register));
        }
        prefixes.insert(key.split('/').next().unwrap_or_default().to_owned());
        verdict.keys += 1;
    }
    for prefix in prefixes {
        let listed: BTreeSet<String> =
            runtime.block_on(s3.list_all(bucket, &format!("{prefix}/")))?.into_iter().collect();
        let missing = report.registers.iter().filter(|(key, register)| {
            key.starts_with(&format!("{prefix}/")) && register.must_exist() && !listed.contains(*key)
        });
        verdict.faults.extend(missing.map(|(key, _)| format!("listing: {key} is missing")));
    }
    Ok(verdict)
}

impl Verdict {
    fn judge(&mut self, face: &str, key: &str, register: &Register, bytes: Option<&[u8]>) {
        match judge(key, register, bytes) {
            Ok(Seen::Late) => self.late += 1,
            Ok(_) => {}
            Err(fault) => self.faults.push(format!("{face} {key}: {fault}")),
        }
    }
}

/// What a whole read of a key shows, now that nothing is written any more.
fn judge(key: &str, register: &Register, bytes: Option<&[u8]>) -> Result<Seen, String> {
    let body = bytes.map(|bytes| Body::parse(key, bytes)).transpose().map_err(|fault| fault.to_string())?;
    match register.judge(Instant::now(), body.as_ref()) {
        Seen::Wrong => Err(format!("shows {:?} after {:?}", body.map(|body| body.op), register.acknowledged())),
        seen => Ok(seen),
    }
}

/// What is wrong with a key read as a file; a mount may be late with names, so it is asked until the bound.
fn mount_fault(mount: &Path, key: &str, register: &Register) -> Option<String> {
    let mut fault = None;
    let look = || {
        fault = match std::fs::read(mount.join(key)) {
            Ok(bytes) => judge(key, register, Some(&bytes)).err(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => judge(key, register, None).err(),
            Err(error) => Some(error.to_string()),
        };
        fault.is_none()
    };
    let settled = until("the mount shows the key", NAMES_LATE_MAX, look);
    settled.err().and(fault).map(|fault| format!("mount {key}: {fault}"))
}

/// Keys whose last entry in the ledger is not the last acknowledgement in memory.
fn disagreements(ledger: &Ledger, registers: &BTreeMap<String, Register>) -> anyhow::Result<Vec<String>> {
    let last: BTreeMap<String, _> = ledger
        .entries()?
        .into_iter()
        .map(|entry| (entry.key, (entry.op, entry.len.map_or(Kind::Delete, Kind::Put))))
        .collect();
    let differ = registers.iter().filter(|(key, register)| register.acknowledged() != last.get(*key).copied());
    Ok(differ.map(|(key, _)| format!("the ledger and the load disagree about {key}")).collect())
}

/// One whole object; a refusal is asked again until the bound, since the cluster may still be electing.
async fn read_patiently(s3: &S3Client, bucket: &str, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let start = Instant::now();
    loop {
        match s3.get(bucket, key).await {
            Ok(bytes) => return Ok(Some(bytes.to_vec())),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if start.elapsed() > READABLE_MAX => return Err(error.into()),
            // wait-ok: between two looks at a condition with a bound
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
