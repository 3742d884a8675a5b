//! A connection to a cluster for commands, gateways and mounts.

use crate::cli::ClientArgs;
use crate::config::{ClientFile, ConfigError};
use crate::exit::{Done, Failure, Kind};
use cluster_client::{Client, ClientConfig, Cluster};
use gateway_core::{Store, StoreConfig};
use std::path::PathBuf;
use std::sync::Arc;
use transport::{Endpoint, TransportConfig};

/// Memory of a command for bodies under way in each direction.
const TOOL_BYTES: usize = 64 << 20;

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
        self.client.close().await;
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

/// Connects as a command does: with little memory. `kind` is shown by `sago cluster status`.
///
/// # Errors
/// [`Failure`]: wrong configuration, or nobody answers.
pub async fn connect(args: &ClientArgs, kind: &str) -> Done<Session> {
    let (file, path) = load(args)?;
    let store = StoreConfig { upload_bytes_max: TOOL_BYTES, download_bytes_max: TOOL_BYTES, ..StoreConfig::default() };
    connect_with(&file, &path, kind, store).await
}

/// Connects with the settings of a file.
///
/// # Errors
/// [`Failure`]: wrong configuration, or nobody answers.
pub async fn connect_with(file: &ClientFile, path: &std::path::Path, kind: &str, store: StoreConfig) -> Done<Session> {
    let (client, endpoint) = client(file, path, kind).await?;
    let cluster: Arc<dyn Cluster> = client.clone();
    let store = Store::new(cluster.clone(), store).map_err(|error| ConfigError::value(path.display(), error.to_string()))?;
    Ok(Session { cluster, store, client, endpoint })
}

async fn client(file: &ClientFile, path: &std::path::Path, kind: &str) -> Done<(Arc<Client>, Endpoint)> {
    let endpoint = endpoint(file, path)?;
    let mut config = ClientConfig::new(endpoint.clone(), file.nodes(), kind);
    config.write_bytes_max = usize::try_from(file.limits.write.0).unwrap_or(usize::MAX);
    let client = Client::connect(config).await.map_err(|error| Failure::new(Kind::Unavailable, error))?;
    Ok((client, endpoint))
}

/// An endpoint with a client's certificate.
///
/// # Errors
/// [`Failure`]: the credentials cannot be used.
pub fn endpoint(file: &ClientFile, path: &std::path::Path) -> Done<Endpoint> {
    let credentials = file.credentials(path)?;
    Endpoint::client(&credentials, TransportConfig::default()).map_err(Failure::failed)
}
