//! Routes of the second generation's server that are about titles, which it calls publications.
//!
//! No answer has a content key, as in [`super::contents`].

use super::books::Books;
use super::call::Call;
use super::contents::{content_key, length, remove, sha256, title_id};
use super::fields::Fields;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use super::{paging, show};
use gateway_core::Right;
use gateway_core::lcp::{Brought, BroughtTitle, Title, TitleFilter, TitleId};
use http::StatusCode;

const LEND: Access = Access::Staff(Right::Lend);

/// Short names of formats that a search may ask for.
const FORMATS: [(&str, &str); 5] = [
    ("epub", "application/epub+zip"),
    ("lcpdf", "application/pdf+lcp"),
    ("lcpdi", "application/divina+lcp"),
    ("lcpa", "application/audiobook+lcp"),
    ("lcpau", "application/audiobook+lcp"),
];

routes! {
    POST "/v2/publications" LEND, bring_publication;
    GET "/v2/publications" LEND, list_publications;
    GET "/v2/publications/search" LEND, search_publications;
    GET "/v2/publications/altid/{id}" LEND, publication_called;
    GET "/v2/publications/{id}" LEND, publication;
    PUT "/v2/publications/{id}" LEND, change_publication;
    DELETE "/v2/publications/{id}" LEND, remove_publication;
}

async fn bring_publication(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let mut body = Fields::of(call.json().await?)?;
    let id = match body.text("uuid")?.filter(|id| !id.is_empty()) {
        Some(id) => id.parse().map_err(|_| body.wrong("uuid", "no id of a title"))?,
        None => TitleId::random(),
    };
    bring(books, id, &mut body).await
}

/// A title that was brought is brought again; of one that is made of an object only what it is called can be changed.
async fn change_publication(books: &Books, mut call: Call) -> Result<Reply, Problem> {
    let id = title_id(&call)?;
    let mut body = Fields::of(call.json().await?)?;
    if body.text("uuid")?.is_some_and(|own| !own.is_empty() && own != id.as_str()) {
        return Err(body.wrong("uuid", "another than that of the path"));
    }
    if books.lending.title(&id).await?.value.source.is_none() {
        return bring(books, id, &mut body).await;
    }
    let (name, alt_id) = names(&mut body)?;
    for fixed in ["href", "encryption_key", "checksum", "content_type"] {
        if body.text(fixed)?.is_some_and(|text| !text.is_empty()) {
            return Err(body.wrong(fixed, "not to be changed: the title is made of an object of this cluster"));
        }
    }
    books.lending.name_title(&id, name.as_deref(), alt_id.as_deref()).await?;
    shown(books, StatusCode::OK, &books.lending.title(&id).await?.value)
}

async fn bring(books: &Books, id: TitleId, body: &mut Fields) -> Result<Reply, Problem> {
    let (name, alt_id) = names(body)?;
    let brought = BroughtTitle {
        id,
        alt_id,
        name,
        content_key: content_key(body, "encryption_key")?,
        href: body.required("href")?,
        len: length(body, "size")?,
        sha256: sha256(body, "checksum")?,
        media_type: body.required("content_type")?,
    };
    let status = match books.lending.bring_title(&brought).await? {
        Brought::New => StatusCode::CREATED,
        Brought::Replaced => StatusCode::OK,
    };
    shown(books, status, &books.lending.title(&brought.id).await?.value)
}

fn names(body: &mut Fields) -> Result<(Option<String>, Option<String>), Problem> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok((given(body.text("title")?), given(body.text("alt_id")?)))
}

fn shown(books: &Books, status: StatusCode, title: &Title) -> Result<Reply, Problem> {
    Ok(Reply::json(status, JSON, &show::publication(title, &books.lending.config().base)))
}

async fn publication(books: &Books, call: Call) -> Result<Reply, Problem> {
    shown(books, StatusCode::OK, &books.lending.title(&title_id(&call)?).await?.value)
}

async fn publication_called(books: &Books, call: Call) -> Result<Reply, Problem> {
    shown(books, StatusCode::OK, &books.lending.title_called(call.name("id")).await?)
}

async fn remove_publication(books: &Books, call: Call) -> Result<Reply, Problem> {
    remove(books, &call, StatusCode::NO_CONTENT).await
}

async fn list_publications(books: &Books, call: Call) -> Result<Reply, Problem> {
    list(books, &call, &TitleFilter::All, ("/v2/publications", &[])).await
}

async fn search_publications(books: &Books, call: Call) -> Result<Reply, Problem> {
    let format = call.query("format").filter(|format| !format.is_empty());
    let format = format.ok_or_else(|| Problem::bad("format is missing".to_owned()))?;
    let named = FORMATS.iter().find(|(name, _)| *name == format).map(|(_, media_type)| *media_type);
    let media_type = named.or_else(|| format.contains('/').then_some(format));
    let media_type = media_type.ok_or_else(|| Problem::bad("format is neither known nor a media type".to_owned()))?;
    let filter = TitleFilter::Format(media_type.to_owned());
    list(books, &call, &filter, ("/v2/publications/search", &["format"])).await
}

async fn list(books: &Books, call: &Call, filter: &TitleFilter, place: (&str, &[&str])) -> Result<Reply, Problem> {
    let base = &books.lending.config().base;
    paging::titles(books, call, filter, place, |title| show::publication(title, base)).await
}
