//! What a node says of itself on its admin page.

use anyhow::{Context, ensure};
use proto::meta::GarbageStatus;
use proto::node::{Fullness, GroupStatus};
use serde::Deserialize;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use types::GroupId;

/// Longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The answer of `/status`, as far as tests use it.
#[derive(Clone, Debug, Deserialize)]
pub struct NodePage {
    /// Its id.
    pub node: u64,
    /// Its replicas of Raft groups.
    pub groups: Vec<GroupStatus>,
    /// Its disks.
    pub disks: Vec<DiskPage>,
    /// Chunks without an intact copy, as far as it knows.
    pub lost_count: u64,
    /// Garbage of the groups it leads.
    pub garbage: Vec<(GroupId, GarbageStatus)>,
}

impl NodePage {
    /// Replicas of chunks on all its disks.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.disks.iter().map(|disk| disk.chunks).sum()
    }
}

/// One disk on it.
#[derive(Clone, Debug, Deserialize)]
pub struct DiskPage {
    /// Replicas of chunks on it.
    pub chunks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether it is out of service after an error.
    pub fenced: bool,
    /// Damaged replicas that wait to be written anew.
    pub quarantined: u64,
    /// Bytes of segments that nothing uses.
    pub garbage: u64,
    /// How full its file system is.
    pub fullness: Fullness,
}

/// Asks for a page.
///
/// # Errors
/// The node does not answer in time, or with something else.
pub(super) fn ask(admin: &str) -> anyhow::Result<NodePage> {
    let address = admin.strip_prefix("http://").context("an admin page has a plain address")?;
    let mut stream = TcpStream::connect_timeout(&address.parse()?, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer of HTTP")?;
    ensure!(head.contains(" 200 "), "{}", head.lines().next().unwrap_or_default());
    Ok(serde_json::from_str(body)?)
}
