//! Routes of the first generation's licence server that are about titles, which it calls contents.
//!
//! No answer has a content key: the reference server's `info` has it for administrators, and whoever encrypts elsewhere has his own.

use super::books::Books;
use super::call::Call;
use super::fields::Fields;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use super::{paging, show};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drm::ContentKey;
use gateway_core::Right;
use gateway_core::lcp::{Brought, BroughtTitle, TitleFilter, TitleId};
use http::StatusCode;
use zeroize::Zeroizing;

const LEND: Access = Access::Staff(Right::Lend);

routes! {
    PUT "/lcp/contents/{id}" LEND, bring_content;
    GET "/lcp/contents" LEND, list_contents;
    GET "/lcp/contents/{id}/info" LEND, content_info;
    DELETE "/lcp/contents/{id}" LEND, remove_content;
}

/// The notice of a program that has encrypted a publication and put it where it says.
async fn bring_content(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = title_id(&call)?;
    let mut body = Fields::of(call.json().await?)?;
    if body.text("content-id")?.is_some_and(|own| !own.is_empty() && own != id.as_str()) {
        return Err(body.wrong("content-id", "another than that of the path"));
    }
    let brought = BroughtTitle {
        id,
        alt_id: None,
        name: body.text("protected-content-disposition")?.filter(|name| !name.is_empty()),
        content_key: content_key(&mut body, "content-encryption-key")?,
        href: body.required("protected-content-location")?,
        len: length(&mut body, "protected-content-length")?,
        sha256: sha256(&mut body, "protected-content-sha256")?,
        media_type: body.required("protected-content-type")?,
    };
    Ok(Reply::empty(match books.lending.bring_title(&brought).await? {
        Brought::New => StatusCode::CREATED,
        Brought::Replaced => StatusCode::OK,
    }))
}

async fn list_contents(books: &Books, call: Call) -> Result<Reply, Problem> {
    let base = &books.lending.config().base;
    paging::titles(books, &call, &TitleFilter::All, ("/lcp/contents", &[]), |title| show::content(title, base)).await
}

async fn content_info(books: &Books, call: Call) -> Result<Reply, Problem> {
    let title = books.lending.title(&title_id(&call)?).await?.value;
    Ok(Reply::json(StatusCode::OK, JSON, &show::content(&title, &books.lending.config().base)))
}

async fn remove_content(books: &Books, call: Call) -> Result<Reply, Problem> {
    remove(books, &call, StatusCode::OK).await
}

/// Removes a title; with `force=true` also if licences are open.
pub(super) async fn remove(books: &Books, call: &Call, done: StatusCode) -> Result<Reply, Problem> {
    let forced = call.asked::<bool>("force")?.unwrap_or_default();
    books.lending.remove_title(&title_id(call)?, forced).await?;
    Ok(Reply::empty(done))
}

/// The title in the path.
pub(super) fn title_id(call: &Call) -> Result<TitleId, Problem> {
    call.name("id").parse().map_err(|_| Problem::no_title())
}

/// A content key of a body, wiped from memory but for the one that is given back.
pub(super) fn content_key(body: &mut Fields, name: &'static str) -> Result<Option<ContentKey>, Problem> {
    let Some(text) = body.secret(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bytes = STANDARD.decode(text.as_bytes()).map(Zeroizing::new).ok();
    let key = bytes.and_then(|bytes| ContentKey::try_from(bytes.as_slice()).ok());
    key.map(Some).ok_or_else(|| body.wrong(name, "no key of 32 bytes in base64"))
}

/// A number of bytes.
pub(super) fn length(body: &mut Fields, name: &str) -> Result<u64, Problem> {
    body.limit(name)?.flatten().filter(|len| *len > 0).ok_or_else(|| body.wrong(name, "missing"))
}

/// A hash in hex, or in base64.
pub(super) fn sha256(body: &mut Fields, name: &str) -> Result<[u8; 32], Problem> {
    let text = body.required(name)?;
    let bytes = hex::decode(&text).ok().or_else(|| STANDARD.decode(&text).ok());
    let hash = bytes.and_then(|bytes| bytes.try_into().ok());
    hash.ok_or_else(|| body.wrong(name, "no SHA-256 in hex or base64"))
}
