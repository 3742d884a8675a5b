//! Where the cluster is, for everything that is not a node.

use crate::config::ConfigError;
use clap::Args;
use std::path::{Path, PathBuf};

/// Flags of commands that speak with a cluster.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// `client.toml` or its folder, as made by `sago cluster init` and `sago demo`. Looked for in ~/.config/sago and /etc/sago
    /// if not given.
    #[arg(long, env = "SAGO_CONFIG", value_name = "PATH")]
    pub config: Option<PathBuf>,
}

impl ClientArgs {
    /// The file that was named, or the first that is found.
    ///
    /// # Errors
    /// None was named and none is found.
    pub fn path(&self) -> Result<PathBuf, ConfigError> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/sago/client.toml"));
        let found = home.into_iter().chain([PathBuf::from("/etc/sago/client.toml")]).find(|path| path.exists());
        found.ok_or_else(|| {
            ConfigError::value(
                "--config",
                "say where the cluster is: --config PATH or SAGO_CONFIG, a client.toml or its folder",
            )
        })
    }
}
