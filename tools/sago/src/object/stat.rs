//! `sago stat`.

use super::path::ObjectPath;
use crate::bucket;
use crate::cli::StatArgs;
use crate::connect::connect;
use crate::exit::Done;
use crate::output::{Output, bytes, table, time};
use gateway_core::{GetRequest, ObjectHead};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Shown {
    path: String,
    size: u64,
    modified: String,
    etag: String,
    /// Headers such as content-type.
    headers: BTreeMap<String, String>,
    /// The user's own.
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<u16>,
}

/// Carries out `sago stat`.
///
/// # Errors
/// [`crate::exit::Failure`].
pub async fn stat(args: StatArgs, output: Output) -> Done {
    let path = ObjectPath::parse_key(&args.path)?;
    let session = connect(&args.client, "tool").await?;
    let look = async {
        let caller = bucket::owner(&*session.cluster, &path.bucket).await?;
        let request = GetRequest { bucket: path.bucket.clone(), key: path.key.clone(), ..GetRequest::default() };
        Ok(session.store.head(&caller, &request).await?.0)
    };
    let head: Done<ObjectHead> = look.await;
    session.close().await;
    let head = head.map_err(|failure| failure.while_doing(&path))?;
    output.show(&shown(&path, head), text)
}

fn shown(path: &ObjectPath, head: ObjectHead) -> Shown {
    Shown {
        path: path.to_string(),
        size: head.size,
        modified: time(head.validators.mtime),
        etag: head.validators.etag,
        headers: head.metadata.system.into_iter().map(|(header, value)| (header.name().to_owned(), value)).collect(),
        metadata: head.metadata.user.into_iter().collect(),
        parts: head.parts,
    }
}

fn text(shown: &Shown) -> String {
    let size = format!("{} ({})", shown.size, bytes(shown.size));
    let fixed = [("path", &shown.path), ("size", &size), ("modified", &shown.modified), ("etag", &shown.etag)];
    let fixed = fixed.map(|(name, value)| vec![name.to_owned(), value.clone()]);
    let named = shown.headers.iter().chain(&shown.metadata).map(|(name, value)| vec![name.clone(), value.clone()]);
    table(&fixed.into_iter().chain(named).collect::<Vec<_>>())
}
