//! The server of the second generation, as a store calls it.

use crate::{World, echoes_nothing, hex_hash, is, is_licence};
use drm::licence::Licence;
use gateway_core::lcp::Title;
use serde_json::{Value, json};

/// As a back end asks.
fn request() -> Value {
    json!({
        "publication_id": "book-1",
        "user_id": "독자-1",
        "user_name": "카나리아 홍길동",
        "user_email": "canary@reader.example",
        "user_encrypted": ["name", "email"],
        "start": "2026-05-01T00:00:00Z",
        "end": "2026-05-15T10:00:00Z",
        "copy": 20000,
        "print": 100,
        "profile": "http://readium.org/lcp/basic-profile",
        "text_hint": "늘 쓰던 것",
        "pass_hash": hex_hash().to_uppercase(),
    })
}

async fn issue(world: &World) -> String {
    let answer = world.served.staff("POST /v2/licenses/", &request().to_string()).await;
    is_licence(&answer, 201)["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_licence_is_asked_for_in_one_object() {
    let world = World::open().await;
    let answer = world.served.staff("POST /v2/licenses", &request().to_string()).await;
    let licence = is_licence(&answer, 201);
    let rights = json!({ "copy": 20000, "print": 100, "start": "2026-05-01T00:00:00Z", "end": "2026-05-15T10:00:00Z" });
    assert_eq!((&licence["rights"], &licence["user"]["encrypted"]), (&rights, &json!(["email", "name"])));
    assert!(!answer.text().contains("canary"));
    let id = licence["id"].as_str().expect("an id");
    let mut body = request();
    body.as_object_mut().expect("an object").remove("user_id");
    world.shop.clock.pass(60);
    let fresh = is_licence(&world.served.staff(&format!("POST /v2/licenses/{id}"), &body.to_string()).await, 200);
    assert_eq!(
        (&fresh["id"], &fresh["updated"], &fresh["rights"]),
        (&licence["id"], &"2026-05-01T10:01:00Z".into(), &rights)
    );
}

#[tokio::test]
async fn a_store_is_sent_to_the_licence_if_it_wants_a_link() {
    let world = World::open().await;
    let answer = world.served.staff("POST /v2/licenses?link=true", &request().to_string()).await;
    assert_eq!((answer.status, answer.body.is_empty()), (303, true));
    let path = answer.header("location").strip_prefix("https://s.example").expect("ours").to_owned();
    is_licence(&world.served.app(&format!("GET {path}")).await, 200);
    is_licence(&world.served.staff("POST /v2/licenses?link=false", &request().to_string()).await, 201);
}

#[tokio::test]
async fn a_title_has_another_id_too() {
    let world = World::open().await;
    let title = world.shop.lending.title(&"book-1".parse().expect("an id")).await.expect("there").value;
    world.shop.put_title(&Title { alt_id: Some("책/하나 1".to_owned()), ..title }).await;
    let ask = async |alt_id: &str| {
        let mut body = request();
        body["publication_id"] = Value::Null;
        body["alt_id"] = alt_id.into();
        world.served.staff("POST /v2/licenses", &body.to_string()).await
    };
    is_licence(&ask("책/하나 1").await, 201);
    assert_eq!(ask("책/하나 2").await.problem(), is(404, "urn:sago:lcp:title"));
    assert_eq!(ask("").await.problem(), is(400, "urn:sago:lcp:request"));
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let world = World::open().await;
    for name in ["publication_id", "user_id", "text_hint", "pass_hash"] {
        let mut body = request();
        body[name] = Value::Null;
        let answer = world.served.staff("POST /v2/licenses", &body.to_string()).await;
        assert_eq!(answer.problem(), is(400, "urn:sago:lcp:request"));
        assert!(answer.text().contains(&format!("{name} is missing")), "{}", answer.text());
        echoes_nothing(&answer);
    }
    let mut body = request();
    body["pass_hash"] = "4981".into();
    assert_eq!(world.served.staff("POST /v2/licenses", &body.to_string()).await.status, 400);
    body["pass_hash"] = hex_hash().into();
    body["publication_id"] = "no-book".into();
    assert_eq!(
        world.served.staff("POST /v2/licenses", &body.to_string()).await.problem(),
        is(404, "urn:sago:lcp:title")
    );
}

#[tokio::test]
async fn what_is_known_of_a_licence_is_shown_changed_and_removed() {
    let world = World::open().await;
    let id = issue(&world).await;
    let path = format!("/v2/licenseinfo/{id}");
    let info = world.served.staff(&format!("GET {path}"), "").await.json();
    let expected = json!({
        "uuid": id,
        "created_at": "2026-05-01T10:00:00Z",
        "provider": "https://store.example",
        "user_id": "독자-1",
        "publication_id": "book-1",
        "start": "2026-05-01T00:00:00Z",
        "end": "2026-05-15T10:00:00Z",
        "max_end": "2026-06-30T10:00:00Z",
        "copy": 20000,
        "print": 100,
        "status": "ready",
        "status_updated": "2026-05-01T10:00:00Z",
        "device_count": 0,
    });
    assert_eq!(info, expected);
    let put = async |body: Value| world.served.staff(&format!("PUT {path}"), &body.to_string()).await;
    let mut whole = info.clone();
    whole["print"] = 5.into();
    whole["copy"] = (-1).into();
    world.shop.clock.pass(60);
    let changed = put(whole).await;
    assert_eq!((changed.status, &changed.json()["print"], changed.json().get("copy")), (200, &5.into(), None));
    assert_eq!(put(json!({ "status": "revoked" })).await.problem(), is(400, "urn:sago:lcp:request"));
    assert_eq!(put(json!({ "publication_id": "book-2" })).await.problem(), is(400, "urn:sago:lcp:request"));
    assert_eq!(world.served.staff("POST /v2/licenseinfo", &info.to_string()).await.status, 422);
    assert_eq!(world.served.staff(&format!("DELETE {path}"), "").await.problem(), is(409, "urn:sago:lcp:open"));
    assert_eq!(world.served.staff(&format!("PUT /v2/revoke/{id}"), "").await.json()["status"], "cancelled");
    assert_eq!(world.served.staff(&format!("DELETE {path}"), "").await.status, 204);
    assert_eq!(world.served.staff(&format!("DELETE {path}"), "").await.problem(), is(404, "notfound"));
    assert_eq!(world.served.app(&format!("GET /v2/status/{id}")).await.problem(), is(404, "notfound"));
}

#[tokio::test]
async fn licences_are_searched() {
    let world = World::open().await;
    world.shop.add_title("book-2").await;
    let mut ids = Vec::new();
    for number in 0..4 {
        let mut body = request();
        body["user_id"] = format!("독자 {}", number % 2).into();
        body["publication_id"] = format!("book-{}", number / 2 + 1).into();
        let answer = world.served.staff("POST /v2/licenses", &body.to_string()).await;
        ids.push(is_licence(&answer, 201)["id"].clone());
        for device in 0..number {
            let path = format!("POST /v2/register/{}?id={device}&name=n", ids[number].as_str().expect("an id"));
            assert_eq!(world.served.app(&path).await.status, 200);
        }
        world.shop.clock.pass(1);
    }
    let search = async |query: &str| {
        let answer = world.served.staff(&format!("GET /v2/licenseinfo/search?{query}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut found: Vec<Value> =
            answer.json().as_array().expect("a list").iter().map(|one| one["uuid"].clone()).collect();
        found.sort_by_key(|id| ids.iter().position(|own| own == id));
        found
    };
    let of = |numbers: &[usize]| numbers.iter().map(|number| ids[*number].clone()).collect::<Vec<_>>();
    assert_eq!(search("").await, ids);
    assert_eq!(search("user=%EB%8F%85%EC%9E%90+1").await, of(&[1, 3]));
    assert_eq!(search("user=%EB%8F%85%EC%9E%90%201&pub=book-2").await, of(&[3]));
    assert_eq!(search("pub=book-1").await, of(&[0, 1]));
    assert_eq!(search("status=ready").await, of(&[0]));
    assert_eq!(search("count=1:2").await, of(&[1, 2]));
    assert_eq!(search("count=3:").await, of(&[3]));
    assert_eq!(search("status=expired").await, of(&[]));
    world.shop.clock.pass(30 * 24 * 3600);
    assert_eq!(search("status=expired").await, ids);
    assert_eq!(search("status=active&user=%EB%8F%85%EC%9E%90+1").await, of(&[]));
    for wrong in ["status=lost", "count=1", "count=a:b"] {
        let answer = world.served.staff(&format!("GET /v2/licenses/search?{wrong}"), "").await;
        assert_eq!(answer.problem(), is(400, "urn:sago:lcp:request"), "{wrong}");
    }
    let page = world.served.staff("GET /v2/licenseinfo/search?user=%EB%8F%85%EC%9E%90+1&per_page=1", "").await;
    let next = "<https://s.example/v2/licenseinfo/search?user=%EB%8F%85%EC%9E%90%201&page=2&per_page=1&after=";
    assert!(page.header("link").starts_with(next), "{}", page.header("link"));
}

#[tokio::test]
async fn apps_have_the_same_under_other_paths() {
    let world = World::open().await;
    let id = issue(&world).await;
    assert_eq!(world.served.app("GET /v2/health").await.status, 200);
    assert_eq!(world.served.app(&format!("GET /v2/status/{id}")).await.json()["status"], "ready");
    let registered = world.served.app(&format!("POST /v2/register/{id}?id=a&name=My%20Phone")).await;
    assert_eq!(registered.json()["status"], "active");
    let renewed = world.served.app(&format!("PUT /v2/renew/{id}?id=a&name=n&end=2026-05-20T00:00:00Z")).await;
    assert_eq!(renewed.status, 200);
    let fresh = world.served.app(&format!("GET /lcp/licenses/{id}/fresh")).await;
    assert_eq!(
        Licence::parse(&fresh.body).map(|licence| licence.terms().rights.end.map(drm::rfc3339::write)).ok(),
        Some(Some("2026-05-20T00:00:00Z".to_owned()))
    );
    world.shop.clock.pass(60);
    assert_eq!(world.served.app(&format!("PUT /v2/return/{id}?id=a&name=n")).await.json()["status"], "returned");
    assert_eq!(world.served.app(&format!("PUT /v2/return/{id}")).await.problem(), is(403, "return/already"));
    assert_eq!(world.served.staff(&format!("PUT /v2/revoke/{id}"), "").await.problem(), is(400, "cancel"));
    let events = world.served.staff(&format!("GET /v2/license-events/{id}"), "").await.json();
    let first = json!({ "type": "register", "timestamp": "2026-05-01T10:00:00Z", "id": "a", "name": "My Phone" });
    let kinds: Vec<_> = events.as_array().expect("a list").iter().map(|event| event["type"].clone()).collect();
    assert_eq!((&events[0], kinds), (&first, vec![Value::from("register"), "renew".into(), "return".into()]));
}
