//! A download as a gateway answers it: HEAD, one Range, ETag, If-Range.

use crate::Title;
use crate::http::{Request, Response};
use drm::splice::Body;
use std::ops::Range;
use std::sync::Arc;

/// A spliced title at an address.
#[derive(Clone, Debug)]
pub struct Download {
    body: Body,
    stored: Arc<Vec<u8>>,
    media_type: &'static str,
}

impl Download {
    /// Of a title with a licence.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn new(title: &Title, licence: &str) -> anyhow::Result<Self> {
        let media_type = title.protected.kind.media_type();
        Ok(Download { body: title.body(licence)?, stored: title.stored.clone(), media_type })
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.body.len()
    }

    /// What the server says to a request for it.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Response {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::new(405, "text/plain", "");
        }
        let (len, etag) = (self.body.len(), self.body.etag().to_owned());
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        let same = header("if-range").is_none_or(|tag| tag == etag);
        let asked = header("range").filter(|_| same).map(|range| range_of(range, len));
        let mut headers = vec![("accept-ranges", "bytes".to_owned()), ("etag", etag)];
        match asked {
            Some(None) => {
                headers.push(("content-range", format!("bytes */{len}")));
                Response { status: 416, headers, body: Vec::new() }
            }
            Some(Some(range)) => {
                headers.push(("content-range", format!("bytes {}-{}/{len}", range.start, range.end - 1)));
                self.with_body(206, headers, range)
            }
            None => self.with_body(200, headers, 0..len),
        }
    }

    fn with_body(&self, status: u16, mut headers: Vec<(&'static str, String)>, range: Range<u64>) -> Response {
        headers.push(("content-type", self.media_type.to_owned()));
        let parts = self.body.parts(range).expect("it was looked at before");
        let stored = &self.stored[parts.stored.start as usize..parts.stored.end as usize];
        Response { status, headers, body: [stored, &self.body.tail()[parts.tail]].concat() }
    }
}

/// The one range of a header; `None` if there are no bytes in it.
fn range_of(header: &str, len: u64) -> Option<Range<u64>> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => from..to.saturating_add(1).min(len),
        (Ok(from), Err(_)) => from..len,
        (Err(_), Ok(last)) => len.saturating_sub(last)..len,
        (Err(_), Err(_)) => return None,
    };
    (!range.is_empty() && range.start < len).then_some(range)
}
