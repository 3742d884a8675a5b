//! `sago put`.

use super::path::ObjectPath;
use super::{progress, standard};
use crate::bucket;
use crate::cli::PutArgs;
use crate::connect::{Session, connect};
use crate::exit::{Done, Failure, Kind};
use crate::lending::give_keys;
use crate::output::Output;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use gateway_core::{
    BodyError, Caller, CompletePart, CompleteRequest, Metadata, NewUpload, PUT_BYTES_MAX, PartTarget, PutRequest,
    Stored, SystemHeader, Upload,
};
use indicatif::ProgressBar;
use proto::object::Precondition;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt};
use types::PARTS_MAX;

/// Bytes handed over at once.
const PIECE_BYTES: usize = 1 << 20;
/// Parts of what comes without a length: held in memory until it is known whether more follow.
const BUFFERED_PART_BYTES: usize = 32 << 20;

#[derive(Serialize)]
struct Shown {
    path: String,
    size: u64,
    etag: String,
}

/// Where a file goes and as what.
struct Target<'a> {
    session: &'a Session,
    caller: Caller,
    path: ObjectPath,
    metadata: Metadata,
}

/// Carries out `sago put`.
///
/// # Errors
/// [`Failure`] of the first file that cannot be stored; those before it are.
pub async fn put(mut args: PutArgs, output: Output) -> Done {
    let target = args.paths.pop().unwrap_or_default();
    let target = ObjectPath::parse(target.to_str().unwrap_or_default())?;
    let folder = target.key.is_empty() || target.key.ends_with('/');
    if args.paths.len() > 1 && !folder {
        return Err(Failure::new(Kind::Usage, format!("several files need a target that ends in /: {target}/")));
    }
    let mut session = connect(&args.client, "tool").await?;
    let result = match give_keys(&mut session, &args.client, &target.bucket).await {
        Ok(()) => put_all(&session, &args, &target, folder, output).await,
        Err(failure) => Err(failure),
    };
    session.close().await;
    let shown = result?;
    output.show(&shown, |_| String::new())
}

async fn put_all(
    session: &Session,
    args: &PutArgs,
    target: &ObjectPath,
    folder: bool,
    output: Output,
) -> Done<Vec<Shown>> {
    let caller = bucket::owner(&*session.cluster, &target.bucket).await?;
    let mut shown = Vec::new();
    for file in &args.paths {
        let mut path = target.clone();
        if folder {
            path.key.push_str(file_name(file)?);
        }
        let kind = args.content_type.clone().or_else(|| media_type(&path.key).map(str::to_owned));
        let system = kind.map(|kind| (SystemHeader::ContentType, kind)).into_iter().collect();
        let metadata = Metadata { system, ..Metadata::default() };
        let target = Target { session, caller: caller.clone(), path, metadata };
        let stored = put_file(&target, file, output).await;
        let (size, etag) = stored.map_err(|failure| failure.while_doing(file.display()))?;
        shown.push(Shown { path: target.path.to_string(), size, etag });
    }
    Ok(shown)
}

fn file_name(file: &Path) -> Done<&str> {
    let name = if file == Path::new("-") { None } else { file.file_name() };
    let name = name.ok_or_else(|| Failure::new(Kind::Usage, "say which key: BUCKET/KEY"))?;
    name.to_str().ok_or_else(|| Failure::new(Kind::Usage, format!("{} is not UTF-8", file.display())))
}

async fn put_file(target: &Target<'_>, file: &Path, output: Output) -> Done<(u64, String)> {
    if file == Path::new("-") {
        let bar = progress::bar(&target.path.key, None, output.json);
        let done = put_unknown(target, standard(&std::io::stdin())?, &bar).await;
        bar.finish_and_clear();
        return done;
    }
    let opened = tokio::fs::File::open(file).await?;
    let metadata = opened.metadata().await?;
    if !metadata.is_file() {
        return Err(Failure::new(Kind::Usage, "not a file"));
    }
    let bar = progress::bar(&target.path.key, Some(metadata.len()), output.json);
    let done = if metadata.len() <= PUT_BYTES_MAX {
        put_known(target, opened, metadata.len(), &bar).await
    } else {
        put_parts(target, opened, metadata.len(), &bar).await
    };
    bar.finish_and_clear();
    done
}

/// Stores bytes under a key.
///
/// # Errors
/// [`Failure`].
pub async fn put_bytes(session: &Session, owner: &str, bucket: &str, key: &str, data: Bytes) -> Done {
    let system = media_type(key).map(|kind| (SystemHeader::ContentType, kind.to_owned())).into_iter().collect();
    let target = Target {
        session,
        caller: Caller { user: owner.to_owned() },
        path: ObjectPath { bucket: bucket.to_owned(), key: key.to_owned() },
        metadata: Metadata { system, ..Metadata::default() },
    };
    put_whole(&target, data).await.map(|_| ())
}

async fn put_known(
    target: &Target<'_>,
    from: impl AsyncRead + Unpin + Send,
    len: u64,
    bar: &ProgressBar,
) -> Done<(u64, String)> {
    let stored = put_stream(target, upload(from, len, bar)).await?;
    Ok((stored.size, stored.etag))
}

async fn put_whole(target: &Target<'_>, data: Bytes) -> Done<(u64, String)> {
    let length = data.len() as u64;
    let body = stream::iter((!data.is_empty()).then_some(Ok(data)));
    let stored = put_stream(target, Upload { body, length, md5: None, checksum: None, compute: None }).await?;
    Ok((stored.size, stored.etag))
}

async fn put_stream<S>(target: &Target<'_>, upload: Upload<S>) -> Done<Stored>
where
    S: futures::Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
{
    let request = PutRequest {
        bucket: target.path.bucket.clone(),
        key: target.path.key.clone(),
        metadata: target.metadata.clone(),
        precondition: Precondition::default(),
    };
    Ok(target.session.store.put(&target.caller, request, upload).await?)
}

fn upload<'a>(
    from: impl AsyncRead + Unpin + Send + 'a,
    length: u64,
    bar: &ProgressBar,
) -> Upload<BoxStream<'a, Result<Bytes, BodyError>>> {
    let bar = bar.clone();
    let body = stream::try_unfold((from.take(length), BytesMut::new()), move |(mut from, mut buffer)| {
        let bar = bar.clone();
        async move {
            buffer.reserve(PIECE_BYTES);
            let read = from.read_buf(&mut buffer).await.map_err(|error| unreadable(&error))?;
            bar.inc(read as u64);
            let piece = buffer.split().freeze();
            Ok((read > 0).then_some((piece, (from, buffer))))
        }
    });
    Upload { body: body.boxed(), length, md5: None, checksum: None, compute: None }
}

fn unreadable(error: &io::Error) -> BodyError {
    tracing::error!(%error, "the file cannot be read");
    BodyError::Incomplete
}

async fn put_parts(target: &Target<'_>, mut from: tokio::fs::File, len: u64, bar: &ProgressBar) -> Done<(u64, String)> {
    let part_bytes = (PUT_BYTES_MAX / 10).max(len.div_ceil(u64::from(PARTS_MAX)));
    let mut parts = Parts::begin(target).await?;
    let mut left = len;
    while left > 0 {
        let now = left.min(part_bytes);
        parts.put(upload(&mut from, now, bar)).await?;
        left -= now;
    }
    parts.complete().await
}

/// Stores what comes without a length: in one piece if it fits into one buffer, in parts otherwise.
async fn put_unknown(
    target: &Target<'_>,
    mut from: impl AsyncRead + Unpin + Send,
    bar: &ProgressBar,
) -> Done<(u64, String)> {
    let first = buffered(&mut from, bar).await?;
    if first.len() < BUFFERED_PART_BYTES {
        return put_whole(target, first).await;
    }
    let mut parts = Parts::begin(target).await?;
    let mut piece = first;
    while !piece.is_empty() {
        let (length, body) = (piece.len() as u64, stream::iter([Ok(piece)]));
        parts.put(Upload { body, length, md5: None, checksum: None, compute: None }).await?;
        piece = buffered(&mut from, bar).await?;
    }
    parts.complete().await
}

async fn buffered(from: &mut (impl AsyncRead + Unpin), bar: &ProgressBar) -> Done<Bytes> {
    let mut buffer = BytesMut::with_capacity(PIECE_BYTES);
    while buffer.len() < BUFFERED_PART_BYTES {
        let left = (BUFFERED_PART_BYTES - buffer.len()) as u64;
        buffer.reserve(PIECE_BYTES.min(left as usize));
        let read = (&mut *from).take(left).read_buf(&mut buffer).await?;
        bar.inc(read as u64);
        if read == 0 {
            break;
        }
    }
    Ok(buffer.freeze())
}

/// An upload in parts, forgotten again if it fails.
struct Parts<'a> {
    target: &'a Target<'a>,
    upload: String,
    done: Vec<CompletePart>,
    size: u64,
}

impl<'a> Parts<'a> {
    async fn begin(target: &'a Target<'a>) -> Done<Parts<'a>> {
        let request = NewUpload {
            bucket: target.path.bucket.clone(),
            key: target.path.key.clone(),
            metadata: target.metadata.clone(),
            checksum: None,
        };
        let upload = target.session.store.create_upload(&target.caller, request).await?;
        Ok(Parts { target, upload: upload.to_string(), done: Vec::new(), size: 0 })
    }

    async fn put<S>(&mut self, body: Upload<S>) -> Done
    where
        S: futures::Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let ObjectPath { bucket, key } = self.target.path.clone();
        let part = self.done.len() as i32 + 1;
        let length = body.length;
        let place = PartTarget { bucket, key, upload: self.upload.clone(), part };
        match self.target.session.store.put_part(&self.target.caller, &place, body).await {
            Ok(stored) => {
                self.size += length;
                self.done.push(CompletePart { part, etag: stored.etag, checksum: None });
                Ok(())
            }
            Err(error) => {
                self.abort().await;
                Err(error.into())
            }
        }
    }

    async fn complete(self) -> Done<(u64, String)> {
        let ObjectPath { bucket, key } = self.target.path.clone();
        let request = CompleteRequest {
            bucket,
            key,
            upload: self.upload.clone(),
            parts: self.done.clone(),
            checksum: None,
            kind: None,
            size: Some(self.size),
            precondition: Precondition::default(),
        };
        match self.target.session.store.complete_upload(&self.target.caller, request).await {
            Ok(completed) => Ok((self.size, completed.etag)),
            Err(error) => {
                self.abort().await;
                Err(error.into())
            }
        }
    }

    async fn abort(&self) {
        let ObjectPath { bucket, key } = &self.target.path;
        let aborted = self.target.session.store.abort_upload(&self.target.caller, bucket, key, &self.upload).await;
        if let Err(error) = aborted {
            tracing::warn!(upload = self.upload, %error, "the unfinished upload could not be forgotten");
        }
    }
}

/// The media type that the end of a name stands for, for the kinds of files this store is made for.
#[must_use]
pub fn media_type(key: &str) -> Option<&'static str> {
    let extension = PathBuf::from(key).extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "epub" => "application/epub+zip",
        "pdf" => "application/pdf",
        "cbz" => "application/vnd.comicbook+zip",
        "lcpdf" => "application/pdf+lcp",
        "lcpl" => "application/vnd.readium.lcp.license.v1.0+json",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "m4b" | "m4a" => "audio/mp4",
        "txt" | "md" => "text/plain; charset=utf-8",
        "html" | "htm" | "xhtml" => "text/html; charset=utf-8",
        "css" => "text/css",
        "js" => "text/javascript",
        "json" => "application/json",
        "xml" => "application/xml",
        "zip" => "application/zip",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_in_a_file() {
        assert_eq!(media_type("a/B.EPUB"), Some("application/epub+zip"));
        assert_eq!((media_type("a.epub/b"), media_type("a"), media_type("a.xyz")), (None, None, None));
    }

    #[tokio::test]
    async fn what_has_no_length_is_read_in_bounded_pieces() {
        let bar = ProgressBar::hidden();
        let mut from = tokio::io::repeat(7).take(BUFFERED_PART_BYTES as u64 + 5);
        assert_eq!(buffered(&mut from, &bar).await.expect("a part").len(), BUFFERED_PART_BYTES);
        assert_eq!(buffered(&mut from, &bar).await.expect("the rest").len(), 5);
        assert!(buffered(&mut from, &bar).await.expect("the end").is_empty());
    }
}
