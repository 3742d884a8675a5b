//! The licence server and the status server of the first generation, as a store calls them.

use crate::{World, echoes_nothing, hex_hash, is, is_licence, partial, unlock};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drm::{BasicProfile, PassphraseHash};
use gateway_core::Right;
use s3_compat::lcp::{at, basic, passphrase};
use serde_json::{Value, json};

#[tokio::test]
async fn a_partial_licence_becomes_a_licence() {
    let world = World::open().await;
    for path in ["license", "licenses", "license/"] {
        let answer = world.served.staff(&format!("POST /lcp/contents/book-1/{path}"), &partial().to_string()).await;
        let licence = is_licence(&answer, 201);
        assert_eq!(licence["rights"], json!({ "print": 10, "copy": 2048 }));
        assert_eq!((&licence["user"]["id"], &licence["provider"]), (&"독자-1".into(), &"https://store.example".into()));
        assert_eq!(licence["user"]["encrypted"], json!(["email", "name"]));
        assert_eq!(licence["encryption"]["user_key"]["text_hint"], "늘 쓰던 것");
        assert!(!answer.text().contains("canary"));
    }
}

#[tokio::test]
async fn no_licence_is_issued_with_a_file_that_cannot_be_sent() {
    let world = World::open().await;
    let answer = world.served.staff("POST /lcp/contents/book-1/publication", &partial().to_string()).await;
    assert_eq!(answer.problem(), is(409, "urn:sago:lcp:elsewhere"));
    let count = world.served.staff("GET /lcp/licensecount", "").await;
    assert_eq!(count.json()["count"], 0);
}

#[tokio::test]
async fn it_may_come_in_a_form_and_with_the_hash_in_base64() {
    let world = World::open().await;
    let mut body = partial();
    body["encryption"]["user_key"] = json!({ "text_hint": "h", "value": STANDARD.encode(passphrase().expose()) });
    let data: String = form(&body.to_string());
    let authorization = basic(&world.served.staff);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),
    ];
    let request = "POST /lcp/contents/book-1/license";
    is_licence(&world.served.send(request, &headers, format!("a=b&data={data}").as_bytes()).await, 201);
    let none = world.served.send(request, &headers, format!("other={data}").as_bytes()).await;
    assert_eq!(none.problem(), is(400, "urn:sago:lcp:request"));
}

/// As a form is encoded: a space is a plus.
fn form(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[tokio::test]
async fn what_a_store_may_write_in_other_ways_is_understood() {
    let world = World::open().await;
    let issue = async |body: Value| {
        let answer = world.served.staff("POST /lcp/contents/book-1/license", &body.to_string()).await;
        is_licence(&answer, 201)
    };
    let mut body = partial();
    body["encryption"]["user_key"]["hex_value"] = hex_hash().to_uppercase().into();
    body["rights"] = json!({ "print": -1, "copy": 0, "start": "0001-01-01T00:00:00Z", "end": null, "edit": false });
    body["links"] = json!([
        { "rel": "publication", "href": "https://evil.example/x.epub" },
        { "rel": "status", "href": "https://evil.example/status" },
        { "rel": ["hint"], "href": "https://other.example/hint", "type": "text/html" },
        { "rel": "support", "href": "mailto:help@store.example" },
    ]);
    body["user"] = json!({ "id": "u", "name": "이름", "encrypted": [], "https://x.example/tier": 3, "junk": [1] });
    body["provider"] = Value::Null;
    let licence = issue(body).await;
    assert_eq!(licence["rights"], json!({ "copy": 0 }));
    assert_eq!(licence["user"], json!({ "id": "u", "name": "이름", "https://x.example/tier": 3 }));
    let text = licence["links"].to_string();
    assert!(!text.contains("evil") && text.contains("other.example") && text.contains("mailto:"), "{text}");
    // Who does not say what is to be encrypted has name and address encrypted.
    let mut body = partial();
    body["user"] = json!({ "id": "u", "email": "canary@reader.example" });
    let licence = issue(body).await;
    assert_eq!(licence["user"]["encrypted"], json!(["email"]));
    assert!(!licence.to_string().contains("canary"));
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_told_without_its_value() {
    let world = World::open().await;
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut body = partial();
        change(&mut body);
        let answer = world.served.staff("POST /lcp/contents/book-1/license", &body.to_string()).await;
        assert_eq!(answer.problem(), is(400, "urn:sago:lcp:request"), "{}", answer.text());
        echoes_nothing(&answer);
        answer.json()["detail"].as_str().expect("a detail").to_owned()
    };
    let user_key =
        |name: &'static str, value: Value| move |body: &mut Value| body["encryption"]["user_key"][name] = value.clone();
    for (change, told) in [
        (&user_key("hex_value", Value::Null) as &dyn Fn(&mut Value), "hex_value is missing"),
        (&user_key("hex_value", "secret".into()), "hex_value is no hash of 32 bytes"),
        (&user_key("hex_value", hex_hash()[2..].into()), "hex_value is no hash of 32 bytes"),
        (&user_key("hex_value", format!("{}zz", &hex_hash()[2..]).into()), "hex_value is no hash of 32 bytes"),
        (&user_key("hex_value", 7.into()), "hex_value is no text"),
        (&user_key("text_hint", "".into()), "text_hint is missing"),
        (&|body| body["user"] = json!({ "email": "a@b.example" }), "user.id is missing"),
        (&|body| body["user"] = Value::Null, "user.id is missing"),
        (&|body| body["encryption"] = json!({}), "encryption.user_key is missing"),
        (&|body| body["rights"]["print"] = 1.5.into(), "rights.print is no whole number"),
        (&|body| body["rights"]["end"] = "tomorrow".into(), "rights.end is no date"),
        (&|body| body["rights"]["copy"] = u64::MAX.into(), "rights.copy: is too great"),
        (&|body| body["user"]["id"] = "a\u{2028}".into(), "user.id: has the character"),
        (&|body| body["links"] = json!({}), "links is no list"),
        (&|body| body["provider"] = "store".into(), "provider: is no URI"),
        (&|body| body["encryption"]["profile"] = "http://readium.org/lcp/profile-1.0".into(), "encryption.profile"),
        (&|body| *body = json!([1]), "the body is no object"),
    ] {
        let detail = refused(change).await;
        assert!(detail.contains(told), "{detail} / {told}");
        assert!(!detail.contains("secret") && !detail.contains("tomorrow"), "{detail}");
    }
    for (body, status) in [("{", 400), ("", 400), (" ", 400)] {
        assert_eq!(world.served.staff("POST /lcp/contents/book-1/license", body).await.status, status, "{body:?}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(world.served.staff("POST /lcp/contents/book-1/license", &long).await.status, 413);
    let unknown = world.served.staff("POST /lcp/contents/no-book/license", &partial().to_string()).await;
    assert_eq!(unknown.problem(), is(404, "urn:sago:lcp:title"));
}

/// Every member of a partial licence.
const MEMBERS: [&str; 20] = [
    "/provider",
    "/user",
    "/user/id",
    "/user/email",
    "/user/name",
    "/user/encrypted",
    "/user/encrypted/0",
    "/encryption",
    "/encryption/user_key",
    "/encryption/user_key/algorithm",
    "/encryption/user_key/text_hint",
    "/encryption/user_key/hex_value",
    "/rights",
    "/rights/print",
    "/rights/copy",
    "/links",
    "/links/0",
    "/links/0/rel",
    "/links/0/href",
    "/links/0/type",
];

#[tokio::test]
async fn no_member_of_any_type_makes_it_fail() {
    let world = World::open().await;
    let mut body = partial();
    body["links"] = json!([{ "rel": "support", "href": "https://store.example/help", "type": "text/html" }]);
    let values = [
        Value::Null,
        true.into(),
        7.into(),
        (-1).into(),
        1e300.into(),
        "".into(),
        "\u{7f}".into(),
        "ㅎ".repeat(3000).into(),
        json!([]),
        json!([[], {}]),
        json!({}),
        json!({ "a:b": { "c": [] } }),
    ];
    let mut refused = 0;
    for member in MEMBERS {
        for value in &values {
            let mut body = body.clone();
            *body.pointer_mut(member).expect(member) = value.clone();
            let answer = world.served.staff("POST /lcp/contents/book-1/license", &body.to_string()).await;
            assert!(matches!(answer.status, 201 | 400), "{member} {value}: {}", answer.text());
            refused += usize::from(answer.status == 400);
            let answer =
                world.served.staff("PATCH /lcp/licenses/3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10", &body.to_string()).await;
            assert!(matches!(answer.status, 404 | 400), "{member} {value}: {}", answer.text());
        }
    }
    assert!(refused > 100, "{refused}");
    let deep = "[".repeat(30_000);
    assert_eq!(world.served.staff("POST /lcp/contents/book-1/license", &deep).await.status, 400);
}

#[tokio::test]
async fn nothing_of_what_a_store_sends_in_secret_is_kept() {
    let world = World::open().await;
    let id = world.lend().await;
    let refresh = world.served.staff(&format!("POST /lcp/licenses/{id}"), &partial().to_string()).await;
    assert_eq!(refresh.status, 200);
    let hash = *passphrase().expose();
    for secret in [hash.to_vec(), hex_hash().into(), STANDARD.encode(hash).into(), "canary@reader.example".into()] {
        assert!(!world.shop.is_kept(&secret), "{}", String::from_utf8_lossy(&secret));
    }
    assert!(world.shop.is_kept("늘 쓰던 것".as_bytes()));
}

#[tokio::test]
async fn a_request_that_is_named_is_made_once() {
    let world = World::open().await;
    let authorization = basic(&world.served.staff);
    let named = async |key: &str, body: &Value| {
        let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", key)];
        let request = "POST /lcp/contents/book-1/license";
        world.served.send(request, &headers, body.to_string().as_bytes()).await
    };
    let first = named("order-17", &partial()).await;
    let again = named("order-17", &partial()).await;
    assert_eq!((is_licence(&first, 201), first.body), (is_licence(&again, 201), again.body));
    let mut other = partial();
    other["user"]["id"] = "독자-2".into();
    assert_eq!(named("order-17", &other).await.problem(), is(409, "urn:sago:lcp:nonce"));
    is_licence(&named("order-18", &other).await, 201);
    assert_eq!(named(&"x".repeat(256), &other).await.problem(), is(400, "urn:sago:lcp:request"));
    // Another store may count its orders in the same way.
    world.shop.store.grant(&world.served.nobody.user, &Right::Lend).await.expect("memory");
    let other_store = basic(&world.served.nobody);
    let headers = [("Authorization", other_store.as_str()), ("Idempotency-Key", "order-17")];
    let request = "POST /lcp/contents/book-1/license";
    is_licence(&world.served.send(request, &headers, other.to_string().as_bytes()).await, 201);
    assert_eq!(world.shop.lending.count_licences(None, None).await.expect("counted"), 3);
}

#[tokio::test]
async fn a_licence_is_given_again_with_its_reader_and_shown_without() {
    let world = World::open().await;
    let id = world.lend().await;
    let path = format!("/lcp/licenses/{id}");
    for method in ["GET", "POST"] {
        let shown = world.served.staff(&format!("{method} {path}"), "").await;
        assert_eq!(
            (shown.status, shown.header("content-type")),
            (206, "application/vnd.readium.lcp.license.v1.0+json")
        );
        let partial = shown.json();
        assert_eq!((&partial["id"], &partial["user"]), (&Value::from(id.as_str()), &json!({ "id": "독자-1" })));
        assert_eq!(partial["rights"], json!({ "end": "2026-05-15T10:00:00Z" }));
        assert!(partial["encryption"].get("user_key").is_none() && partial.get("signature").is_none(), "{partial}");
    }
    let same = world.served.staff(&format!("POST {path}"), &partial().to_string()).await;
    assert_eq!(is_licence(&same, 200)["rights"], json!({ "end": "2026-05-15T10:00:00Z" }));
    let mut body = partial();
    let another = PassphraseHash::of("another");
    body["encryption"]["user_key"] = json!({ "text_hint": "other", "hex_value": hex::encode(another.expose()) });
    world.shop.clock.pass(60);
    let changed = world.served.staff(&format!("GET {path}"), &body.to_string()).await;
    assert_eq!((changed.status, unlock(&changed, &another).is_ok()), (200, true), "{}", changed.text());
    let fresh = world.served.app(&format!("GET {path}/fresh")).await;
    assert_eq!((fresh.status, &fresh.body), (200, &changed.body));
    body["user"]["id"] = "독자-2".into();
    assert_eq!(
        world.served.staff(&format!("POST {path}"), &body.to_string()).await.problem(),
        is(400, "urn:sago:lcp:request")
    );
    for unknown in ["/lcp/licenses/x", "/lcp/licenses/3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10"] {
        assert_eq!(world.served.staff(&format!("GET {unknown}"), "").await.problem(), is(404, "notfound"));
        assert_eq!(world.served.app(&format!("GET {unknown}/fresh")).await.problem(), is(404, "notfound"));
    }
}

#[tokio::test]
async fn a_licence_is_changed_in_part() {
    let world = World::open().await;
    let id = world.lend().await;
    let patch = async |body: Value| world.served.staff(&format!("PATCH /lcp/licenses/{id}"), &body.to_string()).await;
    let changed =
        patch(json!({ "rights": { "print": 5, "end": "2026-06-01T09:00:00+09:00" }, "user": { "id": "u-2" } })).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let now = changed.json();
    assert_eq!(now["rights"], json!({ "print": 5, "end": "2026-06-01T00:00:00Z" }));
    assert_eq!((&now["user"]["id"], &now["content_id"]), (&"u-2".into(), &"book-1".into()));
    let lifted = patch(json!({ "rights": { "print": -1, "end": "0001-01-01T00:00:00Z" } })).await;
    assert_eq!(lifted.json()["rights"], json!({}));
    assert_eq!(patch(json!({ "provider": "x" })).await.problem(), is(400, "urn:sago:lcp:request"));
    world.served.staff(&format!("PUT /v2/revoke/{id}"), "").await;
    assert_eq!(patch(json!({ "rights": { "print": 1 } })).await.problem(), is(403, "urn:sago:lcp:closed"));
}

#[tokio::test]
async fn licences_are_listed_in_pages() {
    let world = World::open().await;
    world.shop.add_title("book-2").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(Value::from(world.sell().await));
        world.shop.clock.pass(60);
    }
    let list = async |target: &str| {
        let answer = world.served.staff(&format!("GET {target}"), "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text());
        let found: Vec<Value> = answer.json().as_array().expect("a list").iter().map(|one| one["id"].clone()).collect();
        (found, answer.header("link").to_owned())
    };
    for path in ["/lcp/licenses", "/lcp/contents/book-1/licenses"] {
        let (found, links) = list(path).await;
        assert_eq!((&found, links.as_str()), (&ids, ""));
        let (found, links) = list(&format!("{path}?page=2&per_page=2")).await;
        assert_eq!(found, ids[2..4]);
        let next = format!("<https://s.example{path}?page=3&per_page=2&after=");
        let previous = format!("<https://s.example{path}?page=1&per_page=2>; rel=\"previous\"");
        assert!(links.starts_with(&next) && links.contains("rel=\"next\"") && links.contains(&previous), "{links}");
        let target =
            links.split(['<', '>']).nth(1).and_then(|uri| uri.strip_prefix("https://s.example")).expect("a link");
        let (found, links) = list(target).await;
        assert_eq!(found, ids[4..]);
        assert!(!links.contains("rel=\"next\"") && links.contains("page=2&per_page=2>; rel=\"previous\""), "{links}");
        let (found, _) = list(&format!("{path}?page=9&per_page=2")).await;
        assert!(found.is_empty());
    }
    assert_eq!(list("/lcp/contents/book-2/licenses").await.0, Vec::<Value>::new());
    let none = world.served.staff("GET /lcp/contents/no-book/licenses", "").await;
    assert_eq!(none.problem(), is(404, "urn:sago:lcp:title"));
    for wrong in ["page=x", "per_page=-1", "after=zz", "page=999999999"] {
        assert_eq!(
            world.served.staff(&format!("GET /lcp/licenses?{wrong}"), "").await.problem(),
            is(400, "urn:sago:lcp:request")
        );
    }
}

#[tokio::test]
async fn licences_are_counted() {
    let world = World::open().await;
    for _ in 0..3 {
        world.sell().await;
        world.shop.clock.pass(24 * 3600);
    }
    let count = async |query: &str| world.served.staff(&format!("GET /lcp/licensecount{query}"), "").await.json();
    assert_eq!(count("").await, json!({ "count": 3 }));
    assert_eq!(count("?from=2026-05-02&to=2026-05-03").await, json!({ "count": 1 }));
    assert_eq!(count("?from=2026-05-02T19:00:00+09:00").await, json!({ "count": 2 }));
    assert_eq!(world.served.staff("GET /lcp/licensecount?from=x", "").await.status, 400);
    assert_eq!(world.served.app("GET /lcp/ping").await.status, 200);
}

#[tokio::test]
async fn the_status_server_lists_devices_and_takes_notice() {
    let world = World::open().await;
    let (one, two) = (world.lend().await, world.lend().await);
    for id in ["a", "b", "c"] {
        let registered = world.served.app(&format!("POST /lsd/licenses/{one}/register?id={id}&name=n+{id}")).await;
        assert_eq!(registered.status, 200);
    }
    world.served.app(&format!("POST /lsd/licenses/{two}/register?id=a&name=n")).await;
    let listed = world.served.staff("GET /lsd/licenses?devices=2", "").await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!((&listed[0]["id"], &listed[0]["device_count"]), (&Value::from(one.as_str()), &3.into()));
    assert_eq!(listed[0]["status"], "active");
    let links = world.served.staff("GET /lsd/licenses?devices=1&per_page=1", "").await.header("link").to_owned();
    assert!(links.starts_with("<https://s.example/lsd/licenses?devices=1&page=2&per_page=1&after="), "{links}");
    let devices = world.served.staff(&format!("GET /lsd/licenses/{one}/registered"), "").await.json();
    let expected = json!({ "id": "c", "name": "n c", "timestamp": "2026-05-01T10:00:00Z" });
    assert_eq!((&devices["id"], &devices["devices"][2]), (&Value::from(one.as_str()), &expected));
    let licence = world.served.app(&format!("GET /lcp/licenses/{one}/fresh")).await;
    for _ in 0..2 {
        assert_eq!(world.served.staff("PUT /lsd/licenses", licence.text()).await.status, 201);
    }
    let foreign = licence.text().replace(&one, "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10");
    assert_eq!(world.served.staff("PUT /lsd/licenses", &foreign).await.problem(), is(404, "notfound"));
}

#[tokio::test]
async fn the_status_server_revokes_cancels_and_extends() {
    let world = World::open().await;
    let (used, unused) = (world.lend().await, world.lend().await);
    world.served.app(&format!("POST /lsd/licenses/{used}/register?id=a&name=n")).await;
    let patch = async |id: &str, status: &str| {
        let body = json!({ "status": status, "message": "no more" }).to_string();
        world.served.staff(&format!("PATCH /lsd/licenses/{id}/status"), &body).await
    };
    let extend = async |end: &str| world.served.staff(&format!("PUT /lsd/licenses/{used}/extend?end={end}"), "").await;
    let extended = extend("2026-12-31T00:00:00%2B09:00").await;
    assert_eq!(extended.status, 200, "{}", extended.text());
    assert_eq!(extended.json()["potential_rights"]["end"], "2026-12-30T15:00:00Z");
    assert_eq!(extend("2026-06-01T00:00:00Z").await.problem(), is(403, "renew/date"));
    assert_eq!(extend("soon").await.problem(), is(400, "renew"));
    assert_eq!(world.served.staff(&format!("PUT /lsd/licenses/{used}/extend"), "").await.problem(), is(400, "renew"));
    assert_eq!(patch(&used, "cancelled").await.problem(), is(400, "cancel"));
    assert_eq!(patch(&used, "lost").await.problem(), is(400, "urn:sago:lcp:request"));
    world.shop.clock.pass(60);
    let revoked = patch(&used, "revoked").await.json();
    assert_eq!((&revoked["status"], &revoked["events"][2]["type"]), (&"revoked".into(), &"revoke".into()));
    assert_eq!(patch(&used, "revoked").await.problem(), is(400, "cancel"));
    assert_eq!(patch(&unused, "cancelled").await.json()["status"], "cancelled");
}

#[tokio::test]
async fn private_routes_are_for_users_with_the_right() {
    let world = World::open().await;
    let id = world.lend().await;
    for (method, path) in [
        ("POST", "/lcp/contents/book-1/license".to_owned()),
        ("GET", "/lcp/licenses".to_owned()),
        ("GET", format!("/lcp/licenses/{id}")),
        ("PATCH", format!("/lcp/licenses/{id}")),
        ("GET", "/lcp/contents/book-1/licenses".to_owned()),
        ("GET", "/lcp/licensecount".to_owned()),
        ("PUT", "/lsd/licenses".to_owned()),
        ("GET", "/lsd/licenses".to_owned()),
        ("GET", format!("/lsd/licenses/{id}/registered")),
        ("PATCH", format!("/lsd/licenses/{id}/status")),
        ("PUT", format!("/lsd/licenses/{id}/extend?end=2026-12-31T00:00:00Z")),
        ("POST", "/v2/licenses".to_owned()),
        ("POST", format!("/v2/licenses/{id}")),
        ("GET", "/v2/licenseinfo".to_owned()),
        ("PUT", format!("/v2/licenseinfo/{id}")),
        ("DELETE", format!("/v2/licenseinfo/{id}")),
        ("GET", format!("/v2/license-events/{id}")),
        ("PUT", format!("/v2/revoke/{id}")),
    ] {
        let request = format!("{method} {path}");
        let anybody = world.served.app(&request).await;
        assert_eq!(
            (anybody.status, anybody.header("www-authenticate").starts_with("Basic ")),
            (401, true),
            "{request}"
        );
        let nobody = basic(&world.served.nobody);
        assert_eq!(world.served.send(&request, &[("Authorization", &nobody)], b"").await.status, 403, "{request}");
    }
    let licence = world.shop.lending.licence(id.parse().expect("an id")).await.expect("there").value;
    assert!(licence.status.events.is_empty());
    let document = licence.read().expect("a licence");
    assert!(
        document.unlock(&BasicProfile, &passphrase()).is_ok() && licence.status.end == Some(at("2026-05-15T10:00:00Z"))
    );
}
