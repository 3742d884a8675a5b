//! `sago get`.

use super::path::ObjectPath;
use super::{progress, standard};
use crate::bucket;
use crate::cli::GetArgs;
use crate::connect::{Session, connect};
use crate::exit::{Done, Failure, Kind};
use crate::lending::give_keys;
use crate::output::Output;
use futures::StreamExt as _;
use gateway_core::{BucketError, Content, GetRequest, ObjectError, ObjectRead};
use indicatif::ProgressBar;
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Carries out `sago get`.
///
/// # Errors
/// [`Failure`]; a file that was there before is then unchanged.
pub async fn get(args: GetArgs, output: Output) -> Done {
    let source = ObjectPath::parse_key(&args.source)?;
    let target = target(&source, args.target)?;
    let mut session = connect(&args.client, "tool").await?;
    let result = match give_keys(&mut session, &args.client, &source.bucket).await {
        Ok(()) => fetch(&session, &source, target.as_deref(), output).await,
        Err(failure) => Err(failure),
    };
    session.close().await;
    let size = result.map_err(|failure| failure.while_doing(&source))?;
    match target {
        Some(target) => {
            output.show(&json!({ "path": source.to_string(), "file": target, "size": size }), |_| String::new())
        }
        None => Ok(()),
    }
}

/// The file to write; `None` is standard output.
fn target(source: &ObjectPath, given: Option<PathBuf>) -> Done<Option<PathBuf>> {
    let folder = match given {
        Some(path) if path == Path::new("-") => return Ok(None),
        Some(path) if !path.is_dir() => return Ok(Some(path)),
        Some(folder) => folder,
        None => PathBuf::from("."),
    };
    match source.name() {
        "" | "." | ".." => Err(Failure::new(Kind::Usage, format!("{source}: say which file to write"))),
        name => Ok(Some(folder.join(name))),
    }
}

async fn fetch(session: &Session, source: &ObjectPath, target: Option<&Path>, output: Output) -> Done<u64> {
    let caller = bucket::owner(&*session.cluster, &source.bucket).await?;
    let request = GetRequest { bucket: source.bucket.clone(), key: source.key.clone(), ..GetRequest::default() };
    let read = session.store.get(&caller, &request).await.map_err(|error| match error {
        // The caller is the owner, so there is one thing only that can be denied.
        ObjectError::Bucket(BucketError::AccessDenied) => Failure::new(
            Kind::Failed,
            format!(
                "the bucket is encrypted, and its owner has not the right to read it in the clear: sago drm right grant {} plain-read={}",
                caller.user, source.bucket
            ),
        ),
        error => error.into(),
    })?;
    let size = read.head.size;
    let bar = progress::bar(&source.key, Some(size), output.json);
    let result = match target {
        Some(path) => to_file(read, path, &bar).await,
        None => copy(read, &mut standard(&std::io::stdout())?, &bar).await,
    };
    bar.finish_and_clear();
    result.map(|()| size)
}

/// Writes beside the file and renames, so that nobody sees half of it.
async fn to_file(read: ObjectRead, path: &Path, bar: &ProgressBar) -> Done {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".sago-{}", std::process::id()));
    let beside = path.with_file_name(name);
    let write = async {
        let mut file = tokio::fs::File::create(&beside).await?;
        copy(read, &mut file, bar).await?;
        file.sync_all().await?;
        tokio::fs::rename(&beside, path).await?;
        Ok(())
    };
    let result: Done = write.await;
    if result.is_err() {
        let _ = tokio::fs::remove_file(&beside).await;
    }
    result
}

async fn copy(read: ObjectRead, to: &mut (impl AsyncWrite + Unpin), bar: &ProgressBar) -> Done {
    match read.content {
        Content::Whole(data) => {
            to.write_all(&data).await?;
            bar.inc(data.len() as u64);
        }
        Content::Stream(mut pieces) => {
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                to.write_all(&piece).await?;
                bar.inc(piece.len() as u64);
            }
        }
    }
    Ok(to.flush().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_after_the_key_unless_it_is_given() {
        let path = |text: &str| ObjectPath::parse_key(text).expect("a path");
        let folder = tempfile::tempdir().expect("a folder");
        let named =
            |source: &str, given: Option<&Path>| target(&path(source), given.map(Path::to_owned)).map_err(|_| ());
        assert_eq!(named("b/x/y.epub", None), Ok(Some("./y.epub".into())));
        assert_eq!(named("b/x/y.epub", Some(folder.path())), Ok(Some(folder.path().join("y.epub"))));
        assert_eq!(named("b/x/..", Some(Path::new("z"))), Ok(Some("z".into())));
        assert_eq!(named("b/x", Some(Path::new("-"))), Ok(None));
        assert_eq!(named("b/x/..", None), Err(()));
        assert_eq!(named("b/x/", None), Err(()));
    }
}
