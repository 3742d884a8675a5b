//! The S3 face, exercised by real clients.
//!
//! The programs in `py/` take the server's address and keys from the environment and know nothing of where it runs: the
//! tests here start a gateway over a cluster in memory, others run the same programs against real nodes with [`python`].

#![forbid(unsafe_code)]

pub mod lcp;

use anyhow::{Context as _, bail};
use gateway::{Gateway, GatewayConfig};
use harness::memory_cluster::MemoryCluster;
use proto::control::AccessKey;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Where a server is and who may use it.
#[derive(Clone, Debug)]
pub struct Server {
    /// `http://host:port`.
    pub endpoint: String,
    /// The user that the tests run as.
    pub key: AccessKey,
    /// Another user, for what must be refused.
    pub other: AccessKey,
}

/// The folder of the Python programs.
///
/// # Errors
/// The test runs outside a clone.
pub fn programs() -> anyhow::Result<PathBuf> {
    Ok(harness::checkout()?.join("tests/s3-compat/py"))
}

/// Runs one of the programs in `py/` against a server; its output is shown if it fails.
///
/// The interpreter is the one in `SAGO_PYTHON`, or `python3`; it must have boto3.
///
/// # Errors
/// A test in it failed, or it could not be run.
pub async fn python(program: &str, server: &Server) -> anyhow::Result<()> {
    let path = programs()?.join(program);
    let text = interpret(&[path.as_os_str()], server).await.with_context(|| program.to_owned())?;
    println!("{text}");
    Ok(())
}

/// Runs a few lines of Python beside the programs in `py/`, so that they can import `common`; gives what they print.
///
/// # Errors
/// They raised an exception, or could not be run.
pub async fn python_code(code: &str, server: &Server) -> anyhow::Result<String> {
    interpret(&[OsStr::new("-c"), OsStr::new(code)], server).await
}

async fn interpret(words: &[&OsStr], server: &Server) -> anyhow::Result<String> {
    let interpreter = std::env::var("SAGO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&interpreter)
        .arg("-B")
        .args(words)
        .env("PYTHONPATH", programs()?)
        .env("SAGO_ENDPOINT", &server.endpoint)
        .env("SAGO_ACCESS_KEY", &server.key.access_key)
        .env("SAGO_SECRET_KEY", &server.key.secret_key)
        .env("SAGO_OTHER_ACCESS_KEY", &server.other.access_key)
        .env("SAGO_OTHER_SECRET_KEY", &server.other.secret_key)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {interpreter}; name a Python with boto3 in SAGO_PYTHON"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("failed:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// A gateway over a cluster in memory, in this process.
pub struct LocalGateway {
    /// Its address and two users.
    pub server: Server,
    /// The cluster behind it.
    pub cluster: Arc<MemoryCluster>,
    /// Where it listens.
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl LocalGateway {
    /// Starts one with four metadata groups.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(config: GatewayConfig) -> anyhow::Result<Self> {
        let cluster = MemoryCluster::new(4);
        let (key, other) = (cluster.add_user("alice"), cluster.add_user("bob"));
        LocalGateway::over(cluster, config, key, other).await
    }

    /// Starts one over a cluster that is there, for users of it.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn over(
        cluster: Arc<MemoryCluster>,
        config: GatewayConfig,
        key: AccessKey,
        other: AccessKey,
    ) -> anyhow::Result<Self> {
        let gateway = Gateway::bind(cluster.clone(), config).await?;
        let addr = gateway.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async move {
            drop(stopped.await);
        }));
        let server = Server { endpoint: format!("http://{addr}"), key, other };
        Ok(LocalGateway { server, cluster, addr, stop: Some(stop), running })
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// It panicked.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        (&mut self.running).await?;
        Ok(())
    }
}
