//! One request, taken apart.

use super::problem::Problem;
use super::route::Parameters;
use super::staff::Staff;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Bytes of a query; the names of devices and ids are short.
const QUERY_BYTES_MAX: usize = 8 << 10;
/// Parameters of a query.
const QUERY_PAIRS_MAX: usize = 32;
/// Bytes of a body: a partial licence with all its links has less.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A request.
pub(crate) struct Call {
    /// Its method; HEAD comes to the handler of GET.
    pub(crate) method: Method,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Who asks, on private routes.
    pub(crate) who: Option<Staff>,
    /// The other end of the connection.
    pub(crate) peer: Option<SocketAddr>,
    names: Parameters,
    query: Vec<(String, String)>,
    body: Incoming,
    body_timeout: Duration,
}

impl Call {
    pub(super) fn new(
        parts: Parts,
        names: Parameters,
        body: Incoming,
        peer: Option<SocketAddr>,
        who: Option<Staff>,
        body_timeout: Duration,
    ) -> Result<Self, Problem> {
        let query = pairs(parts.uri.query().unwrap_or_default(), QUERY_BYTES_MAX)?;
        Ok(Call { method: parts.method, headers: parts.headers, who, peer, names, query, body, body_timeout })
    }

    /// A parameter of the path. The route's pattern says which there are.
    pub(crate) fn name(&self, name: &str) -> &str {
        self.names.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    /// A parameter of the path that has a form.
    ///
    /// # Errors
    /// It has not: there is nothing of that name.
    pub(crate) fn id<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.name(name).parse().map_err(|_| Problem::not_found())
    }

    /// A parameter of the query; the first one of that name.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query that has a form.
    ///
    /// # Errors
    /// It has not.
    pub(crate) fn asked<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        self.query(name)
            .map(|text| text.parse().map_err(|_| Problem::bad(format!("{name} cannot be read"))))
            .transpose()
    }

    /// A header as text; what is no text is not there.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())
    }

    /// All of the body.
    ///
    /// # Errors
    /// It is too long, or does not come.
    pub(crate) async fn body(&mut self) -> Result<Bytes, Problem> {
        let body = Limited::new(&mut self.body, BODY_BYTES_MAX).collect();
        match tokio::time::timeout(self.body_timeout, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::too_large(BODY_BYTES_MAX)),
            Ok(Err(_)) | Err(_) => Err(Problem::bad("the body did not come to its end".to_owned())),
        }
    }

    /// A document in JSON, which is the body or, as the first reference server takes it, the field `data` of a form.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn json(&mut self) -> Result<serde_json::Value, Problem> {
        self.json_if_any().await?.ok_or_else(|| Problem::bad("the body is empty".to_owned()))
    }

    /// As [`Call::json`]; none if there is no body.
    ///
    /// # Errors
    /// There is a body, and no document in it.
    pub(crate) async fn json_if_any(&mut self) -> Result<Option<serde_json::Value>, Problem> {
        let form = self.header(&CONTENT_TYPE).is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"));
        let body = self.body().await?;
        let bad = || Problem::bad("the body is no JSON document".to_owned());
        if body.trim_ascii().is_empty() {
            return Ok(None);
        }
        if !form {
            return serde_json::from_slice(&body).map(Some).map_err(|_| bad());
        }
        let text = std::str::from_utf8(&body).map_err(|_| bad())?;
        let fields = pairs(text, BODY_BYTES_MAX)?;
        let data = fields.iter().find(|(name, _)| name == "data").ok_or_else(bad)?;
        serde_json::from_str(&data.1).map(Some).map_err(|_| bad())
    }
}

/// Names and values of a query or a form. A plus is a space, as forms and some clients have it.
fn pairs(text: &str, bytes_max: usize) -> Result<Vec<(String, String)>, Problem> {
    if text.len() > bytes_max {
        return Err(Problem::bad("the query is too long".to_owned()));
    }
    let found = text.split('&').filter(|pair| !pair.is_empty()).take(QUERY_PAIRS_MAX + 1);
    let pairs: Result<Vec<_>, Problem> = found
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect();
    let pairs = pairs?;
    if pairs.len() > QUERY_PAIRS_MAX {
        return Err(Problem::bad("the query has too many parameters".to_owned()));
    }
    Ok(pairs)
}

fn decoded(text: &str) -> Result<String, Problem> {
    let text = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Problem::bad("the query is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_pluses_and_percents() {
        let found = pairs("id=a+b%20c&name=%EA%B8%B8%2B&empty&&x=", 100).map_err(|_| ()).expect("good");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found, [pair("id", "a b c"), pair("name", "길+"), pair("empty", ""), pair("x", "")]);
        assert!(pairs("a=%ff", 100).is_err());
        assert!(pairs(&"a=1&".repeat(QUERY_PAIRS_MAX + 1), 1000).is_err());
        assert!(pairs(&"a".repeat(101), 100).is_err());
    }
}
