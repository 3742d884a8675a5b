//! A connection to a cluster for commands, gateways and mounts.

use crate::cli::ClientArgs;
use crate::config::{ClientFile, ConfigError, Size};
use crate::exit::{Done, Failure};
use cluster_client::{Client, ClientConfig, Cluster};
use gateway_core::{Store, StoreConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transport::{Endpoint, TransportConfig};

/// Memory of a command for bodies under way in each direction.
const TOOL_BYTES: usize = 64 << 20;

/// How long the end of a session may hold up the end of a process.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A connected process.
pub struct Session {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// Objects and buckets in it.
    pub store: Store,
    client: Arc<Client>,
    endpoint: Endpoint,
}

impl Session {
    /// The endpoint, to call nodes themselves.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Ends the session and its connections. What is skipped by not calling it, the cluster cleans up later by itself.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(CLOSE_MAX, self.client.close()).await;
        self.endpoint.close().await;
    }
}

/// The settings of a client and the file they stand in.
///
/// # Errors
/// [`ConfigError`].
pub fn load(args: &ClientArgs) -> Result<(ClientFile, PathBuf), ConfigError> {
    ClientFile::load(&args.path()?)
}

/// Begins to look for the cluster as a command does: with little memory. Calls wait until it was found. `kind` is shown by
/// `sago cluster status`.
///
/// # Errors
/// [`Failure`]: wrong configuration. That nobody answers is for the calls to say.
pub async fn connect(args: &ClientArgs, kind: &str) -> Done<Session> {
    let (file, path) = load(args)?;
    let store = StoreConfig { upload_bytes_max: TOOL_BYTES, download_bytes_max: TOOL_BYTES, ..StoreConfig::default() };
    connect_with(&file, &path, kind, store).await
}

/// Begins to look for the cluster with the settings of a file.
///
/// # Errors
/// [`Failure`]: wrong configuration.
// Asynchronous because the client's tasks need the runtime it is called in.
#[allow(clippy::unused_async, reason = "it must be called inside a runtime")]
pub async fn connect_with(file: &ClientFile, path: &Path, kind: &str, store: StoreConfig) -> Done<Session> {
    let endpoint = endpoint(file, path)?;
    let mut config = ClientConfig::new(endpoint.clone(), file.nodes(), kind);
    config.write_bytes_max = budget(path, "limits.write", file.limits.write)?;
    config.read_bytes_max = budget(path, "limits.read", file.limits.read)?;
    let client = Client::connect(config);
    let cluster: Arc<dyn Cluster> = client.clone();
    let invalid = |error: gateway_core::ConfigError| ConfigError::value(path.display(), error.to_string());
    let store = Store::new(cluster.clone(), store).map_err(invalid)?;
    Ok(Session { cluster, store, client, endpoint })
}

/// Budgets of a client are at least two chunks for each of its kinds of work and fit into 32 bits.
fn budget(path: &Path, key: &str, size: Size) -> Result<u32, ConfigError> {
    let bytes = u32::try_from(size.0).ok().filter(|bytes| (16 << 20..=2 << 30).contains(bytes));
    bytes.ok_or_else(|| ConfigError::value(path.display(), format!("{key} must be 16 MiB to 2 GiB")))
}

/// An endpoint with a client's certificate.
///
/// # Errors
/// [`Failure`]: the credentials cannot be used.
pub fn endpoint(file: &ClientFile, path: &Path) -> Done<Endpoint> {
    let credentials = file.credentials(path)?;
    Endpoint::client(&credentials, TransportConfig::default()).map_err(Failure::failed)
}
