//! Routes of downloads: a reader's file, his licence beside it, packages alone, tokens.
//!
//! | route | who |
//! | --- | --- |
//! | `GET /download/{bucket}/{key}?license=ID` | `token=`, or `Authorization: Bearer`; or Basic with the right to download or to lend |
//! | `GET /download/{bucket}/{key}/license.lcpl?license=ID` | the same |
//! | `POST /lcp/contents/{id}/publication` | Basic with the right to lend |
//! | `POST /lcp/licenses/{id}/publication`, `POST /lcp/licenses/{id}/token?ttl=S` | Basic with that right |
//! | `GET /lcp/contents/{id}?version=N` | anybody |
//!
//! HEAD answers as GET does, and reads nothing. A file is one reader's: nobody may keep it for another. A package alone never changes, and everybody may.

mod disposition;
mod wanted;

use super::books::Books;
use super::call::Call;
use super::partial::{Asked, new_licence};
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use super::staff;
use crate::convert::http_date;
use crate::metrics;
use disposition::attachment;
use drm::licence::LicenceId;
use drm::rfc3339;
use futures::StreamExt as _;
use gateway_core::lcp::{Client, Download, DownloadRequest, LcpError, OpenPackage, Permit, Place, TitleId};
use gateway_core::{ObjectError, Right, Validators};
use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, ETAG, LAST_MODIFIED, USER_AGENT,
    VARY,
};
use http::{HeaderName, Method, StatusCode};
use http_body_util::StreamBody;
use s3s::Body;
use serde_json::json;
use std::ops::Range;
use std::time::Duration;
use wanted::wanted;

/// What the key of a book is followed by for the licence alone.
const LICENCE_NAME: &str = "/license.lcpl";
/// How long a token lives that nobody says more of.
const TOKEN_SECONDS: u64 = 600;
/// What everybody may keep for good, and what he may keep if he asks each time.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "public, no-cache";
const LICENCE_ID: HeaderName = HeaderName::from_static("x-lcp-license");

routes! {
    GET "/download/{bucket}/{key*}" Access::Public, download;
    GET "/lcp/contents/{id}" Access::Public, content;
    POST "/lcp/contents/{id}/publication" Access::Staff(Right::Lend), new_publication;
    POST "/lcp/licenses/{id}/publication" Access::Staff(Right::Download), reader_publication;
    POST "/lcp/licenses/{id}/token" Access::Staff(Right::Download), token;
}

/// A reader's file, or his licence alone.
async fn download(books: &Books, call: Call) -> Result<Reply, Problem> {
    let licence = call.query("license").ok_or_else(|| Problem::bad("license is missing".to_owned()))?;
    let licence = licence.parse().map_err(|_| Problem::not_found())?;
    let permit = permit(books, &call, licence).await?;
    let (bucket, key) = (call.name("bucket"), call.name("key"));
    let alone = key.strip_suffix(LICENCE_NAME);
    let source = Some((bucket, alone.unwrap_or(key)));
    let request = DownloadRequest { licence, source, permit, client: client(&call) };
    if alone.is_some() {
        let document = books.lending.open_licence(request).await?.document;
        return Ok(Reply::licence(StatusCode::OK, &document).with(VARY, "Authorization"));
    }
    let download = books.lending.open(request).await?;
    Ok(send(&call, download).await?.with(VARY, "Authorization"))
}

/// A licence is issued, and the file with it in it sent.
async fn new_publication(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let new = new_licence(&mut call).await?;
    let title = books.lending.title(&new.title).await?.value;
    if title.package().is_some_and(|package| matches!(package.place, Place::There { .. })) {
        // Before anything is issued: there is no file to send.
        return Err(LcpError::Elsewhere.into());
    }
    let issued = books.lending.issue(new).await?;
    metrics::licence_issued(issued.is_repeated);
    whole(books, &call, issued.licence.id, StatusCode::CREATED).await
}

/// A reader's file, for the store's own back end. With a body the licence is issued anew for the reader whom it names, as it is when it is asked for alone.
async fn reader_publication(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let licence = call.id("id")?;
    if let Some(body) = call.json_if_any().await? {
        books.lending.fresh(licence, Some(Asked::partial(body)?.anew())).await?;
    }
    whole(books, &call, licence, StatusCode::OK).await
}

/// All of a reader's file, in answer to a request of the store.
async fn whole(books: &Books, call: &Call, licence: LicenceId, status: StatusCode) -> Result<Reply, Problem> {
    let permit = Permit::User(call.who.as_ref().map(|staff| staff.user.clone()).unwrap_or_default());
    let request = DownloadRequest { licence, source: None, permit, client: client(call) };
    let download = books.lending.open(request).await?;
    let reply = described(Reply::body(status, download.media_type(), download.len(), Body::empty()), &download);
    let reply = reply.with(LICENCE_ID, &licence.to_string());
    Ok(reply.with_body(body(download, None).await?))
}

/// A package alone.
async fn content(books: &Books, call: Call) -> Result<Reply, Problem> {
    let title: TitleId = call.id("id")?;
    let version = call.asked("version")?;
    match books.lending.open_package(&title, version).await? {
        OpenPackage::There(href) => Ok(Reply::elsewhere(StatusCode::SEE_OTHER, &href)),
        OpenPackage::Here(download) => {
            let keep = if version.is_some() { IMMUTABLE } else { ASK_AGAIN };
            let reply = send(&call, *download).await?;
            let good = reply.status().is_success() || reply.status() == StatusCode::NOT_MODIFIED;
            Ok(if good { reply.with(CACHE_CONTROL, keep) } else { reply })
        }
    }
}

/// A token for a reader's link.
async fn token(books: &Books, call: Call) -> Result<Reply, Problem> {
    let licence = call.id("id")?;
    let ttl = Duration::from_secs(call.asked("ttl")?.unwrap_or(TOKEN_SECONDS));
    let issued = books.lending.issue_token(licence, ttl).await?;
    let title = books.lending.title(&books.lending.licence(licence).await?.value.title).await?.value;
    let mut document = json!({ "token": issued.text, "expires": rfc3339::write(issued.expires) });
    // One that came encrypted has no such address.
    if let Some(source) = &title.source {
        document["url"] = source.download_url(&books.lending.config().base, licence, &issued.text).into();
    }
    Ok(Reply::json(StatusCode::CREATED, JSON, &document))
}

/// Who has allowed it: a token for that licence, or a user with the right.
async fn permit(books: &Books, call: &Call, licence: LicenceId) -> Result<Permit, Problem> {
    let bearer = call.header(&AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match bearer.or_else(|| call.query("token")) {
        Some(token) => Ok(Permit::Token(books.lending.check_token(token, licence).await?)),
        None => {
            let staff = staff::authenticate(&books.store, &call.headers, &Right::Download).await?;
            Ok(Permit::User(staff.user))
        }
    }
}

fn client(call: &Call) -> Client {
    let address = call.peer.map(|peer| peer.ip().to_canonical());
    Client { address, agent: call.header(&USER_AGENT).map(str::to_owned) }
}

/// What was asked for of a file.
async fn send(call: &Call, download: Download) -> Result<Reply, Problem> {
    let range = match download.choose(&wanted(call)) {
        Ok(range) => range,
        Err(error) => return refused(error, &download),
    };
    let (status, len) = match &range {
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.end - range.start),
        None => (StatusCode::OK, download.len()),
    };
    let mut reply = described(Reply::body(status, download.media_type(), len, Body::empty()), &download);
    if let Some(Range { start, end }) = &range {
        reply = reply.with(CONTENT_RANGE, &format!("bytes {start}-{}/{}", end - 1, download.len()));
    }
    if call.method == Method::HEAD {
        return Ok(reply);
    }
    Ok(reply.with_body(body(download, range).await?))
}

/// With what is the same for all of a file and for parts of it.
fn described(reply: Reply, download: &Download) -> Reply {
    validated(reply, download.validators())
        .with(ACCEPT_RANGES, "bytes")
        .with(CONTENT_DISPOSITION, &attachment(download.file_name()))
}

fn validated(reply: Reply, validators: &Validators) -> Reply {
    let reply = reply.with(ETAG, &format!("\"{}\"", validators.etag));
    match http_date(validators.mtime).as_ref().and_then(|date| date.to_str().ok()) {
        Some(date) => reply.with(LAST_MODIFIED, date),
        None => reply,
    }
}

async fn body(download: Download, range: Option<Range<u64>>) -> Result<Body, Problem> {
    let pieces = download.read(range).await?;
    Ok(Body::http_body_unsync(StreamBody::new(pieces.map(|piece| match piece {
        Ok(data) => Ok(http_body::Frame::data(data)),
        Err(error) => {
            tracing::warn!(%error, "a download was cut short");
            Err(error)
        }
    }))))
}

/// A condition that does not hold, or a range that there is not.
fn refused(error: ObjectError, download: &Download) -> Result<Reply, Problem> {
    match error {
        ObjectError::NotModified(validators) => Ok(validated(Reply::empty(StatusCode::NOT_MODIFIED), &validators)),
        ObjectError::PreconditionFailed => Err(Problem::precondition()),
        ObjectError::RangeNotSatisfiable { size } => Err(Problem::range(size)),
        other => {
            tracing::error!(error = %other, len = download.len(), "a download cannot be chosen");
            Err(LcpError::from(other).into())
        }
    }
}
