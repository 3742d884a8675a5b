//! A gateway beside the demo's own: as on another machine, and stopped when a test wants it.

use crate::cluster::free_port;
use crate::{Cluster, process, until};
use anyhow::Context;
use loadgen::s3::{Credentials, S3Client};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longest start of a gateway.
const READY_MAX: Duration = Duration::from_secs(60);

/// A `sago gateway` of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    endpoint: String,
    s3: S3Client,
}

impl Gateway {
    /// Starts it and waits until it listens. `name` is that of its log.
    ///
    /// # Errors
    /// It does not listen in time.
    pub fn start(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let target = cluster.target();
        let config = target.config.as_ref().context("sago demo told no config")?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = cluster.log(name)?;
        let mut command = cluster.command();
        command.arg("gateway").arg("--config").arg(config).args(["--listen", &address]);
        command.args(["--with-parent", &std::process::id().to_string()]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let credentials = Credentials {
            access_key: target.access_key.clone(),
            secret_key: target.secret_key.clone(),
            region: target.region.clone(),
        };
        let endpoint = format!("http://{address}");
        let s3 = S3Client::new(&endpoint, credentials)?;
        let gateway = Gateway { child, endpoint, s3 };
        until("a second gateway listens", READY_MAX, || TcpStream::connect(&address).is_ok())
            .with_context(|| cluster.last_words())?;
        Ok(gateway)
    }

    /// Its address: `http://host:port`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it.
    #[must_use]
    pub fn s3(&self) -> S3Client {
        self.s3.clone()
    }

    /// SIGSTOP: it answers nothing and knows nothing of it.
    pub fn pause(&self) {
        process::send(self.child.id(), Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        process::send(self.child.id(), Signal::CONT);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        process::send(self.child.id(), Signal::KILL);
        let _ = self.child.wait();
    }
}
