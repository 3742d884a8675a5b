//! What reading apps do: follow the links of a licence and of its status document.

use crate::{World, is};
use drm::licence::Licence;
use s3_compat::lcp::Answer;
use serde_json::{Value, json};

const STATUS: &str = "application/vnd.readium.license.status.v1.0+json";

/// Where a link leads, without its template, as the path at the gateway.
fn path(document: &Value, rel: &str) -> String {
    let links = document["links"].as_array().expect("links");
    let link = links.iter().find(|link| link["rel"] == rel).unwrap_or_else(|| panic!("no {rel}: {document}"));
    let href = link["href"].as_str().expect("an address").split('{').next().expect("something");
    href.strip_prefix("https://s.example").expect("ours").to_owned()
}

fn is_status(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, STATUS), "{}", answer.text());
    let document = answer.json();
    assert_eq!(document.get("events"), None, "whoever has the link would read what the reader calls his devices");
    document
}

#[tokio::test]
async fn a_loan_is_followed_from_its_licence_to_its_return() {
    let world = World::open().await;
    let id = world.lend().await;
    let app = async |request: String| world.served.app(&request).await;
    let licence = app(format!("GET /lcp/licenses/{id}/fresh")).await.json();
    let at_status = path(&licence, "status");
    let status = is_status(&app(format!("GET {at_status}")).await);
    assert_eq!(status["potential_rights"], json!({ "end": "2026-06-30T10:00:00Z" }));
    let at_register = path(&status, "register");
    for _ in 0..2 {
        let registered = is_status(
            &app(format!(
                "POST {at_register}?id=d%201&name=%EA%B8%B8%EB%8F%99%EC%9D%98+%EC%95%84%EC%9D%B4%ED%8C%A8%EB%93%9C"
            ))
            .await,
        );
        assert_eq!(registered["status"], "active");
    }
    world.shop.clock.pass(60);
    let renewed = is_status(&app(format!("PUT {}?id=d%201&name=n", path(&status, "renew"))).await);
    assert_eq!(renewed["updated"]["license"], "2026-05-01T10:01:00Z");
    let fresh = app(format!("GET {}", path(&renewed, "license"))).await;
    let fresh = Licence::parse(&fresh.body).expect("a licence");
    assert_eq!(fresh.terms().rights.end.map(drm::rfc3339::write).as_deref(), Some("2026-05-29T10:00:00Z"));
    world.shop.clock.pass(60);
    let returned = is_status(&app(format!("PUT {}?id=d%201&name=n", path(&renewed, "return"))).await);
    assert_eq!((&returned["status"], returned["links"].as_array().map(Vec::len)), (&"returned".into(), Some(1)));
    let at_return = path(&status, "return");
    assert_eq!(app(format!("PUT {at_return}?id=d%201&name=n")).await.problem(), is(403, "return/already"));
    let licence = world.shop.lending.licence(id.parse().expect("an id")).await.expect("there").value;
    let device = &licence.status.events[0].device;
    assert_eq!((device.id.as_deref(), device.name.as_deref()), (Some("d 1"), Some("길동의 아이패드")));
    assert_eq!(licence.status.events.len(), 3);
}

#[tokio::test]
async fn refusals_are_those_of_the_standard() {
    let world = World::open().await;
    let (loan, sold) = (world.lend().await, world.sell().await);
    let app = async |request: String| world.served.app(&request).await.problem();
    assert_eq!(app(format!("POST /lsd/licenses/{loan}/register")).await, is(400, "registration"));
    assert_eq!(app(format!("POST /lsd/licenses/{loan}/register?id=a")).await, is(400, "registration"));
    assert_eq!(app(format!("POST /lsd/licenses/{loan}/register?id=&name=")).await, is(400, "registration"));
    let long = "x".repeat(256);
    assert_eq!(app(format!("POST /lsd/licenses/{loan}/register?id={long}&name=n")).await, is(400, "registration"));
    assert_eq!(app(format!("PUT /lsd/licenses/{loan}/renew?end=never")).await, is(400, "renew"));
    assert_eq!(app(format!("PUT /lsd/licenses/{loan}/renew?end=2027-01-01T00:00:00Z")).await, is(403, "renew/date"));
    assert_eq!(app(format!("PUT /lsd/licenses/{sold}/renew")).await, is(403, "renew"));
    assert_eq!(app(format!("PUT /lsd/licenses/{sold}/return")).await, is(400, "return"));
    let nobody = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10";
    for id in [nobody, "x", "..%2f..%2fx", &nobody.to_uppercase()] {
        for request in ["GET {}/status", "POST {}/register?id=a&name=n", "PUT {}/renew", "PUT {}/return"] {
            let request = request.replace("{}", &format!("/lsd/licenses/{id}"));
            assert_eq!(app(request.clone()).await, is(404, "notfound"), "{request}");
        }
    }
    world.shop.clock.pass(15 * 24 * 3600);
    assert_eq!(app(format!("POST /lsd/licenses/{loan}/register?id=a&name=n")).await, is(403, "registration"));
    assert_eq!(app(format!("PUT /lsd/licenses/{loan}/renew")).await, is(403, "renew"));
    assert_eq!(app(format!("PUT /lsd/licenses/{loan}/return")).await, is(403, "return/expired"));
    let wrong = world.served.app(&format!("DELETE /lsd/licenses/{loan}/status")).await;
    assert_eq!((wrong.status, wrong.header("allow").contains("GET")), (405, true));
}

#[tokio::test]
async fn messages_are_in_the_language_of_whoever_asks() {
    let world = World::open().await;
    let id = world.sell().await;
    let request = format!("GET /lsd/licenses/{id}/status");
    let korean = world.served.send(&request, &[("Accept-Language", "ko-KR,ko;q=0.9,en;q=0.8")], b"").await;
    assert_eq!(
        (korean.header("content-language"), &korean.json()["message"]),
        ("ko", &"사용할 수 있는 이용권입니다.".into())
    );
    let other = world.served.send(&request, &[("Accept-Language", "fr")], b"").await;
    assert_eq!(other.header("content-language"), "en");
    let head = world.served.send(&request.replace("GET", "HEAD"), &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn the_status_document_says_in_time_that_a_title_is_newer() {
    let world = World::open().await;
    let id = world.sell().await;
    world.shop.clock.pass(3600);
    world.shop.add_version(&"book-1".parse().expect("an id")).await;
    let status = is_status(&world.served.app(&format!("GET /lsd/licenses/{id}/status")).await);
    assert_eq!(status["updated"]["license"], "2026-05-01T11:00:00Z");
    let fresh = world.served.app(&format!("GET {}", path(&status, "license"))).await;
    assert!(fresh.text().contains("https://cdn.example/book-1/2.epub"), "{}", fresh.text());
}
