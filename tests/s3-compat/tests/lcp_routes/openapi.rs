//! The description of the routes, followed as a program follows it that knows nothing else.

use crate::{World, is};

#[tokio::test]
async fn what_is_described_is_served_and_asks_who_is_there_as_it_says() {
    let world = World::open().await;
    let answer = world.served.app("GET /lcp/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "https://s.example");
    let mut followed = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let path = path.replace(['{', '}'], "");
        for (method, operation) in methods.as_object().expect("methods") {
            let request = format!("{} {path}", method.to_uppercase());
            let answer = world.served.app(&request).await;
            let security = operation["security"].as_array().expect("security");
            if security.len() == 1 {
                assert_eq!(answer.problem(), is(401, "urn:sago:lcp:authentication"), "{request}");
            } else {
                assert!(![401, 405].contains(&answer.status), "{request}: {}", answer.status);
                assert!(!answer.text().contains("urn:sago:lcp:route"), "{request}");
            }
            followed += 1;
        }
    }
    assert!(followed >= 54, "{followed}");
}
