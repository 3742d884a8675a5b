//! The description of all routes for programs, as OpenAPI 3.1.
//!
//! The tables of routes say which paths and methods there are, who may and with which parameters; so does what all such routes refuse. The rest is written down:
//! `openapi/operations.json` has of each handler what it is for, its query, its bodies and its answers, `openapi/document.json` what these share. Routes of one
//! handler share its operation.

use super::books::Books;
use super::call::Call;
use super::problem::Problem;
use super::reply::{JSON, Reply};
use super::route::{self, Access, Route, routes};
use gateway_core::Right;
use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

const DOCUMENT: &str = include_str!("openapi/document.json");
const OPERATIONS: &str = include_str!("openapi/operations.json");
/// The same for everybody, until the gateway is another one.
const KEEP: &str = "public, max-age=3600";

routes! {
    GET "/lcp/openapi.json" Access::Public, openapi;
}

async fn openapi(books: &Books, _: Call) -> Result<Reply, Problem> {
    let text = books.openapi.get_or_init(|| document(&books.lending.config().base).to_string().into());
    Ok(Reply::bytes(StatusCode::OK, JSON, text.clone()).with(CACHE_CONTROL, KEEP))
}

/// The document of gateways that are reached at `base`.
fn document(base: &str) -> Value {
    // Both are part of the program, and the tests read them.
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    let operations: Map<String, Value> = serde_json::from_str(OPERATIONS).unwrap_or_default();
    let mut paths = Map::new();
    for route in route::all() {
        let written = operations.get(route.name).cloned().unwrap_or_default();
        let path = paths.entry(path(route)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, written);
    }
    document["openapi"] = "3.1.0".into();
    document["servers"] = json!([{ "url": base }]);
    document["paths"] = paths.into();
    document
}

/// The path of a route as OpenAPI has it, which knows no rest.
fn path(route: &Route) -> String {
    route.path.replace("*}", "}")
}

/// What is written of an operation, with what the table says of its route.
fn operation(route: &Route, mut operation: Value) -> Value {
    let words = path(route).replace(['{', '}'], "").replace(['/', '.'], "_");
    operation["operationId"] = format!("{}{words}", route.method.as_str().to_ascii_lowercase()).into();
    operation["tags"] = json!([route.path.split('/').nth(1)]);
    let mut parameters: Vec<Value> = names(route).map(parameter).collect();
    let mut refusals = vec![("default", "Problem")];
    if !parameters.is_empty() {
        refusals.push(("404", "NotFound"));
    }
    match &route.access {
        Access::Staff(right) => {
            operation["security"] = json!([{ "basic": [role(right)] }]);
            refusals.extend([("401", "Unauthorised"), ("403", "Refused")]);
        }
        Access::Public if operation["security"].is_null() => operation["security"] = json!([]),
        // A handler that asks for a token.
        Access::Public => {}
    }
    for (status, name) in refusals {
        if operation["responses"][status].is_null() {
            operation["responses"][status] = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
    if let Value::Array(written) = operation["parameters"].take() {
        parameters.extend(written);
    }
    operation["parameters"] = parameters.into();
    if let (Some(members), &Method::GET) = (operation.as_object_mut(), &route.method) {
        // Handlers that serve other methods too may take one.
        members.remove("requestBody");
    }
    operation
}

/// The parameters of a route's path; `*` behind one that has all that is left.
fn names(route: &Route) -> impl Iterator<Item = &'static str> {
    route.path.split('/').filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &'static str) -> Value {
    let parameter = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    match name.strip_suffix('*') {
        None => parameter(name),
        Some(rest) => {
            let mut parameter = parameter(rest);
            parameter["description"] = "All that is left of the path, with its slashes".into();
            parameter
        }
    }
}

/// A right as operators call it.
fn role(right: &Right) -> &'static str {
    match right {
        Right::PlainRead(_) => "plain-read",
        Right::Lend => "lend",
        Right::Download => "download",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

    /// Each path with a method, and the operation.
    fn described(document: &Value) -> Vec<(&str, &str, &Value)> {
        let mut found = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                found.push((path.as_str(), method.as_str(), operation));
            }
        }
        found
    }

    /// All that is pointed to, however deep.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = document("https://books.example");
        assert_eq!(document["servers"][0]["url"], "https://books.example");
        let described = described(&document);
        assert!(described.iter().all(|(_, method, _)| METHODS.contains(method)));
        let written: BTreeSet<_> =
            described.iter().map(|(path, method, _)| (path.to_string(), method.to_string())).collect();
        let served: BTreeSet<_> =
            route::all().map(|route| (path(route), route.method.as_str().to_lowercase())).collect();
        assert_eq!(written, served);
        assert_eq!(served.len(), route::all().count());
        let ids: BTreeSet<_> = described.iter().map(|(_, _, operation)| operation["operationId"].as_str()).collect();
        assert_eq!(ids.len(), served.len());
    }

    #[test]
    fn every_handler_is_written_of_and_no_other() {
        let operations: Map<String, Value> = serde_json::from_str(OPERATIONS).expect("JSON");
        let written: BTreeSet<_> = operations.keys().map(String::as_str).collect();
        let served: BTreeSet<_> = route::all().map(|route| route.name).collect();
        assert_eq!(written, served);
        for (name, operation) in &operations {
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            assert!(operation["responses"].as_object().is_some_and(|answers| !answers.is_empty()), "{name}");
        }
    }

    #[test]
    fn who_may_and_parameters_are_those_of_the_routes() {
        let document = document("https://books.example");
        for route in route::all() {
            let (path, method) = (path(route), route.method.as_str().to_lowercase());
            let operation = &document["paths"][&path][&method];
            let security = operation["security"].as_array().expect("security");
            match &route.access {
                Access::Staff(right) => assert_eq!(security, &[json!({ "basic": [role(right)] })], "{path}"),
                // The one that asks for a token.
                Access::Public if route.name == "download" => assert_eq!(security.len(), 3),
                Access::Public => assert!(security.is_empty(), "{path}"),
            }
            let parameters = operation["parameters"].as_array().expect("parameters");
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let names: Vec<_> =
                in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().expect("a name"))).collect();
            let pieces: Vec<_> = path.split('/').filter(|piece| piece.contains(['{', '*'])).collect();
            assert_eq!(names, pieces, "{path}");
            assert!(operation["responses"]["default"].is_object() && operation["tags"][0].is_string(), "{path}");
            assert!(method != "get" || operation["requestBody"].is_null(), "{path}");
        }
    }

    #[test]
    fn what_is_pointed_to_is_there_and_nothing_else() {
        let document = document("https://books.example");
        let mut pointed = BTreeSet::new();
        references(&document, &mut pointed);
        let mut there = BTreeSet::new();
        for (kind, components) in document["components"].as_object().expect("components") {
            let names = components.as_object().expect("names").keys();
            // Those are named by operations.
            there.extend(names.filter(|_| kind != "securitySchemes").map(|name| format!("#/components/{kind}/{name}")));
        }
        assert_eq!(pointed, there.iter().map(String::as_str).collect());
        let schemes = &document["components"]["securitySchemes"];
        for (path, _, operation) in described(&document) {
            for scheme in operation["security"].as_array().expect("security") {
                assert!(scheme.as_object().expect("a scheme").keys().all(|name| schemes[name].is_object()), "{path}");
            }
        }
        let tags: BTreeSet<_> =
            document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).map(Value::as_str).collect();
        let used: BTreeSet<_> =
            described(&document).iter().map(|(_, _, operation)| operation["tags"][0].as_str()).collect();
        assert_eq!(tags, used);
    }
}
