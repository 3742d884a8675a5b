//! `sago ls`.

use super::path::ObjectPath;
use crate::bucket;
use crate::cli::LsArgs;
use crate::connect::{Session, connect};
use crate::exit::Done;
use crate::output::{Output, table, time};
use bytes::Bytes;
use gateway_core::{LIST_KEYS_MAX, ListRequest};
use proto::meta::Listing;
use serde::Serialize;
use serde_json::json;

/// A key, or with neither size nor time all that begins so.
#[derive(Serialize)]
struct Shown {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// Carries out `sago ls`. Pages are printed as they come, so that memory stays bounded; as JSON, one line a page.
///
/// # Errors
/// [`crate::exit::Failure`].
pub async fn ls(args: LsArgs, output: Output) -> Done {
    let path = args.path.as_deref().map(ObjectPath::parse).transpose()?;
    let session = connect(&args.client, "tool").await?;
    let result = match path {
        None => list_buckets(&session, output).await,
        Some(path) => list_keys(&session, &path, args.recursive, output).await,
    };
    session.close().await;
    result
}

async fn list_buckets(session: &Session, output: Output) -> Done {
    let buckets = bucket::list(&*session.cluster).await?;
    let shown: Vec<_> = buckets.iter().map(|bucket| json!({ "bucket": bucket.name, "owner": bucket.owner })).collect();
    output.show(&shown, |_| buckets.iter().map(|bucket| format!("{}/\n", bucket.name)).collect())
}

async fn list_keys(session: &Session, path: &ObjectPath, recursive: bool, output: Output) -> Done {
    let caller = bucket::owner(&*session.cluster, &path.bucket).await?;
    let mut after = Bytes::new();
    loop {
        let request = ListRequest {
            prefix: Bytes::copy_from_slice(path.key.as_bytes()),
            delimiter: if recursive { Bytes::new() } else { Bytes::from_static(b"/") },
            after,
            max: LIST_KEYS_MAX,
        };
        let page = session.store.list(&caller, &path.bucket, request).await?;
        let next = page.next.clone();
        output.show(&shown(page), |shown| table(&shown.iter().map(row).collect::<Vec<_>>()))?;
        match next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// Keys and prefixes of a page in one order.
fn shown(page: Listing) -> Vec<Shown> {
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let prefixes = page
        .prefixes
        .iter()
        .map(|prefix| (prefix.clone(), Shown { key: text(prefix), size: None, modified: None, etag: None }));
    let objects = page.objects.iter().map(|object| {
        let (size, modified, etag) = (Some(object.size), Some(time(object.mtime)), Some(object.etag.clone()));
        (object.key.clone(), Shown { key: text(&object.key), size, modified, etag })
    });
    let mut all: Vec<_> = prefixes.chain(objects).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.into_iter().map(|(_, shown)| shown).collect()
}

fn row(shown: &Shown) -> Vec<String> {
    let size = shown.size.map(|size| size.to_string()).unwrap_or_default();
    let modified = shown.modified.clone().unwrap_or_default();
    vec![format!("{modified:20}"), format!("{size:>12}"), shown.key.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::meta::ListedObject;
    use types::Timestamp;

    #[test]
    fn keys_and_prefixes_stand_in_one_order() {
        let object = |key: &'static str| ListedObject {
            key: Bytes::from_static(key.as_bytes()),
            size: 1,
            mtime: Timestamp(0),
            etag: String::new(),
        };
        let page = Listing {
            objects: vec![object("a"), object("c")],
            prefixes: vec![Bytes::from_static(b"b/"), Bytes::from_static(b"d/")],
            next: None,
        };
        let keys: Vec<_> = shown(page).into_iter().map(|shown| shown.key).collect();
        assert_eq!(keys, ["a", "b/", "c", "d/"]);
    }
}
