//! The tables of routes: which handler a method and a path lead to, and who may.

use super::books::Books;
use super::call::Call;
use super::problem::Problem;
use super::reply::Reply;
use super::{audit, contents, download, licence_server, openapi, publications, second, status_server};
use futures::future::BoxFuture;
use gateway_core::Right;
use http::Method;

/// Segments of a path; the longest of ours has six, and the keys of objects behind `/download/{bucket}/` are taken as one.
const SEGMENTS_MAX: usize = 8;
/// Bytes of one parameter of a path, decoded: the key of an object.
const PARAMETER_BYTES_MAX: usize = 1024;

/// Who may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody; the id in the path is what he has to know, or the handler asks for a token.
    Public,
    /// A user of the cluster who has this right.
    Staff(Right),
}

/// What answers.
pub(crate) type Handler = for<'a> fn(&'a Books, Call) -> BoxFuture<'a, Result<Reply, Problem>>;

/// One route.
pub(crate) struct Route {
    /// `GET` serves HEAD as well.
    pub(crate) method: Method,
    /// Segments; `{name}` is one parameter, `{name*}` all that is left.
    pub(crate) path: &'static str,
    /// Who may.
    pub(crate) access: Access,
    /// Its name in metrics and logs.
    pub(crate) name: &'static str,
    /// What answers.
    pub(crate) handler: Handler,
}

/// Makes a table of routes: `METHOD "path" access handler;`. The handlers are `async fn(&Books, Call) -> Result<Reply, Problem>`, and name the routes.
macro_rules! routes {
    ($($method:ident $path:literal $access:expr, $handler:ident;)*) => {
        pub(super) static ROUTES: &[crate::lcp::route::Route] = &[$(
            crate::lcp::route::Route {
                method: http::Method::$method,
                path: $path,
                access: $access,
                name: stringify!($handler),
                handler: |books, call| Box::pin($handler(books, call)),
            },
        )*];
    };
}
pub(crate) use routes;

/// All tables.
static TABLES: &[&[Route]] = &[
    contents::ROUTES,
    licence_server::ROUTES,
    status_server::ROUTES,
    publications::ROUTES,
    second::ROUTES,
    download::ROUTES,
    audit::ROUTES,
    openapi::ROUTES,
];

/// Names and values of a path's parameters.
pub(crate) type Parameters = Vec<(&'static str, String)>;

/// Where a request leads.
pub(crate) enum Found {
    /// There, with these parameters.
    Route(&'static Route, Parameters),
    /// Nowhere with this method; these are allowed.
    Method(String),
    /// Nowhere.
    Nothing,
}

impl Found {
    /// For metrics: never what a client made up.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Found::Route(route, _) => route.name,
            Found::Method(_) | Found::Nothing => "Unknown",
        }
    }
}

/// All routes.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// Finds the route of a request.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    let mut best: Option<(&'static Route, Parameters)> = None;
    for route in all() {
        let Some(names) = matched(route.path, path) else { continue };
        if route.method != *wanted {
            allowed.push(route.method.as_str());
        } else if best.as_ref().is_none_or(|(_, other)| names.len() < other.len()) {
            // A word of the path stands over a parameter in its place.
            best = Some((route, names));
        }
    }
    match best {
        Some((route, names)) => Found::Route(route, names),
        None if allowed.is_empty() => Found::Nothing,
        None => {
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            Found::Method(allowed.join(", "))
        }
    }
}

/// The parameters, if the path is of that pattern.
fn matched(pattern: &'static str, path: &str) -> Option<Parameters> {
    let mut names = Vec::new();
    let mut rest = path.strip_prefix('/')?;
    let mut pieces = pattern.trim_start_matches('/').split('/').peekable();
    for _ in 0..SEGMENTS_MAX {
        let piece = pieces.next()?;
        let name = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_suffix('*')) {
            names.push((name, parameter(rest)?));
            return Some(names);
        }
        let (segment, more) = match rest.split_once('/') {
            Some((segment, more)) => (segment, Some(more)),
            None => (rest, None),
        };
        match name {
            Some(name) => names.push((name, parameter(segment)?)),
            None if segment == piece => {}
            None => return None,
        }
        match (more, pieces.peek()) {
            (Some(more), Some(_)) => rest = more,
            (None, None) => return Some(names),
            (Some(""), None) => return Some(names),
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
    None
}

/// A parameter without its percent-encoding; none if it is empty, too long or no UTF-8.
fn parameter(encoded: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
    (1..=PARAMETER_BYTES_MAX).contains(&text.len()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &'static str, path: &str) -> Option<Vec<String>> {
        matched(pattern, path).map(|names| names.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn patterns_have_words_parameters_and_a_rest() {
        assert_eq!(names("/lcp/ping", "/lcp/ping"), Some(vec![]));
        assert_eq!(names("/lcp/ping", "/lcp/ping/"), Some(vec![]));
        assert_eq!(names("/lcp/ping", "/lcp/ping/x"), None);
        assert_eq!(names("/lcp/contents/{id}", "/lcp/contents/%EC%B1%85"), Some(vec!["id=책".into()]));
        assert_eq!(names("/lcp/contents/{id}", "/lcp/contents"), None);
        assert_eq!(names("/lcp/contents/{id}", "/lcp/contents/"), None);
        let rest = names("/download/{bucket}/{key*}", "/download/books/a/b%2Fc.epub");
        assert_eq!(rest, Some(vec!["bucket=books".into(), "key=a/b/c.epub".into()]));
        assert_eq!(names("/download/{bucket}/{key*}", "/download/books/"), None);
        assert_eq!(names("/lcp/contents/{id}", "/lcp/contents/%ff"), None);
        assert_eq!(names("/lcp/contents/{id}", &format!("/lcp/contents/{}", "a".repeat(1025))), None);
    }

    #[test]
    fn no_two_routes_are_the_same_and_names_are_words() {
        let mut seen = std::collections::BTreeSet::new();
        for route in all() {
            assert!(seen.insert((route.method.as_str(), route.path)), "{} {}", route.method, route.path);
            assert!(route.path.split('/').count() <= SEGMENTS_MAX, "{}", route.path);
        }
    }
}
