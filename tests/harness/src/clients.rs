//! Clients that we did not write, in the folder where `tools/setup.sh` puts them.

use crate::Target;
use std::path::PathBuf;
use std::process::Command;

/// boto3 and the AWS CLI.
#[derive(Clone, Debug)]
pub struct Clients {
    folder: PathBuf,
}

/// The clients, or none (said loudly) where `tools/setup.sh` has not run.
///
/// # Panics
/// Under `SAGO_CI` if they are missing.
#[must_use]
pub fn clients() -> Option<Clients> {
    let home = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = home("SAGO_CACHE")
        .or_else(|| home("XDG_CACHE_HOME").map(|folder| folder.join("sago")))
        .or_else(|| home("HOME").map(|folder| folder.join(".cache/sago")))?;
    let folder = cache.join("venv/bin");
    if folder.join("aws").exists() && cache.join("venv/complete").exists() {
        return Some(Clients { folder });
    }
    crate::skip(&format!("no boto3 and AWS CLI in {}", folder.display()));
    None
}

impl Clients {
    /// The AWS CLI, pointed at the cluster and shielded from the caller's own settings.
    #[must_use]
    pub fn aws(&self, target: &Target) -> Command {
        let mut command = self.command("aws", target);
        command.args(["--endpoint-url", &target.endpoint]);
        command
    }

    /// Python with boto3; the endpoint, the bucket and the mount are in `SAGO_ENDPOINT`, `SAGO_BUCKET` and `SAGO_MOUNT`.
    #[must_use]
    pub fn python(&self, target: &Target) -> Command {
        self.command("python3", target)
    }

    fn command(&self, program: &str, target: &Target) -> Command {
        let mut command = Command::new(self.folder.join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .env("AWS_ACCESS_KEY_ID", &target.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &target.secret_key)
            .env("AWS_DEFAULT_REGION", &target.region)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SAGO_ENDPOINT", &target.endpoint)
            .env("SAGO_BUCKET", &target.bucket);
        if let Some(mount) = &target.mount {
            command.env("SAGO_MOUNT", mount);
        }
        command
    }
}
