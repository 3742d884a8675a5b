//! What a stopped node's folder says of itself.

use anyhow::Context;
use harness::Cluster;
use serde_json::Value;

/// How `sago fsck --json` ends on the folder of a node, and its report; null if there is none.
///
/// # Errors
/// It does not run, or reports what nobody can read.
pub fn fsck(cluster: &Cluster, node: usize, words: &[&str]) -> anyhow::Result<(i32, Value)> {
    let folder = cluster.node_folder(node);
    let folder = folder.to_str().context("a folder with a name of text")?;
    let (code, said) = cluster.sago_alone(&[&["fsck", folder, "--json"][..], words].concat())?;
    Ok((code, if said.is_empty() { Value::Null } else { serde_json::from_str(&said)? }))
}
