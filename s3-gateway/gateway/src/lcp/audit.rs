//! The record of downloads, for the store.

use super::books::Books;
use super::call::Call;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{Access, routes};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use drm::rfc3339;
use gateway_core::Right;
use gateway_core::lcp::{Authority, DownloadEntry, DownloadFilter, RecordCursor};
use http::StatusCode;
use http::header::LINK;
use serde_json::{Value, json};
use types::Timestamp;

/// Entries of a page, unless the store asks for fewer.
const PER_PAGE: u32 = 100;
const CSV: &str = "text/csv; charset=utf-8";
const COLUMNS: &str =
    "at,licence,title,version,user,token,by,gateway,address,agent,first,last,length,sent,millis,result";

routes! {
    GET "/lcp/audit" Access::Staff(Right::Lend), audit;
}

/// Downloads by `licence`, `title`, `user`, `from`, `to`, the oldest first: a page of `per_page` behind `after`, as JSON or CSV.
async fn audit(books: &Books, call: Call) -> Result<Reply, Problem> {
    let filter = DownloadFilter {
        licence: call.asked("licence")?,
        title: call.asked("title")?,
        user: call.query("user").map(str::to_owned),
        from: time(&call, "from")?,
        to: time(&call, "to")?,
    };
    let after = call.query("after").map(|text| place(text).ok_or_else(|| bad("after"))).transpose()?;
    let max = call.asked("per_page")?.unwrap_or(PER_PAGE);
    let page = books.lending.recorded_downloads(&filter, after, max).await?;
    let entries = page.found.iter().map(|held| &held.value);
    let next = page.next.as_ref().map(written);
    let reply = match call.query("format").unwrap_or("json") {
        "json" => {
            let downloads: Vec<Value> = entries.map(document).collect();
            Reply::json(StatusCode::OK, JSON, &json!({ "downloads": downloads, "next": next }))
        }
        "csv" => {
            let lines: String = entries.map(line).collect();
            Reply::bytes(StatusCode::OK, CSV, format!("{COLUMNS}\r\n{lines}").into())
        }
        _ => return Err(bad("format")),
    };
    Ok(match next {
        Some(next) => reply.with(LINK, &format!("<?after={next}>; rel=\"next\"")),
        None => reply,
    })
}

fn bad(name: &str) -> Problem {
    Problem::bad(format!("{name} cannot be read"))
}

fn time(call: &Call, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    call.query(name).map(|text| rfc3339::read(text).map_err(|_| bad(name))).transpose()
}

/// A place in the record, as clients hand it back.
fn written(place: &RecordCursor) -> String {
    let entry = [&[place.entry.len() as u8], place.entry.as_ref(), place.key.as_ref()].concat();
    URL_SAFE_NO_PAD.encode(entry)
}

fn place(text: &str) -> Option<RecordCursor> {
    // Two texts of 256 bytes at most.
    let bytes = Bytes::from(URL_SAFE_NO_PAD.decode(text.get(..text.len().min(1024))?).ok()?);
    let entry_bytes = usize::from(*bytes.first()?);
    let rest = bytes.slice(1..);
    (rest.len() >= entry_bytes)
        .then(|| RecordCursor { entry: rest.slice(..entry_bytes), key: rest.slice(entry_bytes..) })
}

fn authority(entry: &DownloadEntry) -> (Option<&str>, Option<&str>) {
    match &entry.authority {
        Authority::Token(id) => (Some(id), None),
        Authority::User(user) => (None, Some(user)),
    }
}

fn document(entry: &DownloadEntry) -> Value {
    let (token, by) = authority(entry);
    json!({
        "at": rfc3339::write(entry.at),
        "licence": entry.licence.to_string(),
        "title": entry.title.as_str(),
        "version": entry.version,
        "user": entry.user,
        "token": token,
        "by": by,
        "gateway": entry.gateway,
        "address": entry.address.map(|address| address.to_string()),
        "agent": entry.agent,
        "range": entry.range.map(|(first, last)| [first, last]),
        "length": entry.len,
        "sent": entry.sent,
        "millis": entry.millis,
        "result": entry.ending.name(),
    })
}

fn line(entry: &DownloadEntry) -> String {
    let (token, by) = authority(entry);
    let optional = |text: Option<&str>| text.map(field).unwrap_or_default();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let fields = [
        rfc3339::write(entry.at),
        entry.licence.to_string(),
        field(entry.title.as_str()),
        entry.version.to_string(),
        field(&entry.user),
        optional(token),
        optional(by),
        field(&entry.gateway),
        entry.address.map(|address| address.to_string()).unwrap_or_default(),
        optional(entry.agent.as_deref()),
        number(entry.range.map(|(first, _)| first)),
        number(entry.range.map(|(_, last)| last)),
        entry.len.to_string(),
        entry.sent.to_string(),
        entry.millis.to_string(),
        entry.ending.name().to_owned(),
    ];
    format!("{}\r\n", fields.join(","))
}

/// A field of a line. What a table program would take for a formula, and readers' programs may say of themselves, gets an apostrophe in front.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = format!("{}{text}", if formula { "'" } else { "" });
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_no_formula() {
        assert_eq!(field("독자"), "독자");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(field("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(field("a\r\nb"), "\"a\r\nb\"");
    }

    #[test]
    fn places_come_back_and_anything_else_is_none() {
        let one = RecordCursor { entry: Bytes::from_static(b"entry"), key: Bytes::from_static(b"key") };
        assert_eq!(place(&written(&one)), Some(one));
        let empty = RecordCursor { entry: Bytes::new(), key: Bytes::from_static(b"k") };
        assert_eq!(place(&written(&empty)), Some(empty));
        for text in ["", "!", "_w", "책"] {
            assert_eq!(place(text), None, "{text:?}");
        }
    }
}
