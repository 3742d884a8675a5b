//! `sago rm`.

use super::path::ObjectPath;
use crate::bucket;
use crate::cli::RmArgs;
use crate::connect::{Session, connect};
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use bytes::Bytes;
use gateway_core::{Caller, GetRequest, LIST_KEYS_MAX, ListRequest, ObjectError};
use proto::object::Precondition;
use serde_json::json;

/// Carries out `sago rm`.
///
/// # Errors
/// [`Failure`] of the first path that cannot be deleted; those before it are. A file that is not there is one.
pub async fn rm(args: RmArgs, output: Output) -> Done {
    let parse = if args.recursive { ObjectPath::parse } else { ObjectPath::parse_key };
    let paths = args.paths.iter().map(|path| parse(path)).collect::<Done<Vec<_>>>()?;
    let session = connect(&args.client, "tool").await?;
    let result = remove_all(&session, &paths, args.recursive).await;
    session.close().await;
    output.show(&json!({ "deleted": result? }), |_| String::new())
}

async fn remove_all(session: &Session, paths: &[ObjectPath], recursive: bool) -> Done<u64> {
    let mut deleted = 0;
    for path in paths {
        let caller = bucket::owner(&*session.cluster, &path.bucket).await?;
        let removed = if recursive { tree(session, &caller, path).await } else { one(session, &caller, path).await };
        deleted += removed.map_err(|failure| failure.while_doing(path))?;
    }
    Ok(deleted)
}

async fn one(session: &Session, caller: &Caller, path: &ObjectPath) -> Done<u64> {
    let request = GetRequest { bucket: path.bucket.clone(), key: path.key.clone(), ..GetRequest::default() };
    session.store.head(caller, &request).await?;
    match session.store.delete(caller, &path.bucket, &path.key, Precondition::default()).await? {
        true => Ok(1),
        false => Err(Failure::new(Kind::NotFound, ObjectError::NoSuchKey)),
    }
}

async fn tree(session: &Session, caller: &Caller, path: &ObjectPath) -> Done<u64> {
    let mut deleted = 0;
    let mut after = Bytes::new();
    loop {
        let prefix = Bytes::copy_from_slice(path.key.as_bytes());
        let request = ListRequest { prefix, delimiter: Bytes::new(), after, max: LIST_KEYS_MAX };
        let page = session.store.list(caller, &path.bucket, request).await?;
        let keys: Result<Vec<_>, _> =
            page.objects.iter().map(|object| String::from_utf8(object.key.to_vec())).collect();
        let keys = keys.map_err(|_| Failure::new(Kind::Failed, "a key is not UTF-8; delete it through the mount"))?;
        for answer in session.store.delete_many(caller, &path.bucket, &keys, Precondition::default()).await? {
            deleted += u64::from(answer?);
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(deleted),
        }
    }
}
