//! When a demo is ready, and what it then says.

use super::children::quoted;
use super::folder::Folder;
use super::mounts;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How often something is asked whether it is ready.
pub const POLL: Duration = Duration::from_millis(50);
/// How long an answer may take; the next question comes soon.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Everything a script or a person needs. As JSON it is a contract: fields are added, never changed.
#[derive(Serialize)]
pub struct Ready {
    endpoint: String,
    region: &'static str,
    user: String,
    access_key: String,
    secret_key: String,
    bucket: String,
    mount: Option<PathBuf>,
    admin: String,
    nodes: Vec<NodeReady>,
    gateway_pid: u32,
    mount_pid: Option<u32>,
    dir: PathBuf,
    config: PathBuf,
    /// What signs licences, and the root that a reader has to trust; none in a folder of an older demo.
    drm: Option<PathBuf>,
    logs: PathBuf,
}

/// One node.
#[derive(Serialize)]
pub struct NodeReady {
    /// Its id.
    pub id: u64,
    /// Its process; none if it did not start.
    pub pid: Option<u32>,
    /// Where it keeps its data: metadata first, then its disks.
    pub dirs: Vec<PathBuf>,
    /// Its admin pages.
    pub admin: String,
    /// What starts it again.
    pub start: Vec<String>,
}

impl Ready {
    /// What there is to say.
    pub fn new(
        folder: &Folder,
        bucket: &str,
        mount: Option<PathBuf>,
        admin: String,
        nodes: Vec<NodeReady>,
        gateway_pid: u32,
        mount_pid: Option<u32>,
    ) -> Self {
        let (user, access_key, secret_key) = folder.user();
        Ready {
            endpoint: folder.endpoint(),
            region: "us-east-1",
            user: user.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            bucket: bucket.to_owned(),
            mount,
            admin,
            nodes,
            gateway_pid,
            mount_pid,
            dir: folder.dir().to_owned(),
            config: folder.client(),
            drm: folder.drm(),
            logs: folder.logs(),
        }
    }

    /// For people: what runs and what to try.
    #[must_use]
    pub fn text(&self) -> String {
        let Ready { endpoint, access_key, secret_key, bucket, admin, .. } = self;
        let (dir, config) = (quoted(&self.dir.to_string_lossy()), quoted(&self.config.to_string_lossy()));
        let sago =
            self.nodes.first().and_then(|node| node.start.first()).map_or("sago".to_owned(), |program| quoted(program));
        let first = self.nodes.iter().find_map(|node| {
            Some((node.pid?, node.start.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")))
        });
        let mut text = format!(
            "\nSago runs: {} nodes and an S3 gateway under {dir}\n\n  S3          {endpoint}  (region us-east-1)\n  access key  {access_key}\n  \
             secret key  {secret_key}\n  bucket      {bucket}\n",
            self.nodes.len()
        );
        if let Some(mount) = &self.mount {
            text.push_str(&format!("  mounted at  {}\n", quoted(&mount.to_string_lossy())));
        }
        text.push_str(&format!("  health      {admin}/health  (also /status, /metrics)\n\nTry:\n"));
        if let Some(mount) = &self.mount {
            text.push_str(&format!("  ls -l {0}; cp book.epub {0}/\n", quoted(&mount.to_string_lossy())));
        }
        text.push_str(&format!(
            "  export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key} AWS_DEFAULT_REGION=us-east-1\n  \
             aws --endpoint-url {endpoint} s3 ls s3://{bucket}\n  {sago} ls {bucket} --config {config}\n  {sago} cluster status --config {config}\n"
        ));
        if let Some((pid, start)) = first {
            text.push_str(&format!(
                "  kill -9 {pid}    any one node: everything goes on; start it again with\n  {start}\n"
            ));
        }
        text.push_str(&format!("\nCtrl-C stops everything, `{sago} demo --dir {dir}` brings it back as it was.\n"));
        text
    }
}

/// Waits until `check` holds, as long as `alive` does. Returns whether it holds.
pub async fn wait_for<F>(max: Duration, mut alive: impl FnMut() -> bool, check: impl Fn() -> F) -> bool
where
    F: Future<Output = bool>,
{
    let begin = Instant::now();
    while begin.elapsed() < max && alive() {
        if check().await {
            return true;
        }
        tokio::time::sleep(POLL).await;
    }
    false
}

/// Whether a node says that it is healthy.
pub async fn node_is_healthy(admin: &str) -> bool {
    ask(&format!("{admin}/health")).await.is_some_and(|status| status.is_success())
}

/// Whether the gateway answers HTTP.
pub async fn gateway_answers(endpoint: &str) -> bool {
    ask(&format!("{endpoint}/-/health")).await.is_some_and(|status| status.is_success())
}

/// Whether something is mounted there and answers.
pub async fn mounted(dir: PathBuf) -> bool {
    let look = move || mounts::is_mounted(&dir).unwrap_or(false) && std::fs::read_dir(&dir).is_ok();
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

async fn ask(url: &str) -> Option<reqwest::StatusCode> {
    // A proxy of the environment is not for this machine.
    let client = reqwest::Client::builder().timeout(ASK_MAX).no_proxy().build().ok()?;
    Some(client.get(url).send().await.ok()?.status())
}
