//! Downloads as they go over the wire.

use super::*;
use s3_compat::lcp::{Answer, Served, basic};
use serde_json::Value;
use std::time::Duration;

/// The key of the book in an address.
const PATH: &str = "/download/books/%EC%8B%9C/%EB%B3%84%20%ED%97%A4%EB%8A%94%20%EB%B0%A4.epub";

/// A library with a gateway.
struct World {
    lent: Lent,
    served: Served,
}

impl World {
    async fn open(change: impl FnOnce(&mut LcpConfig)) -> Self {
        let lent = Lent::new(change).await;
        let served = lent.library.shop.serve().await;
        World { lent, served }
    }

    fn target(&self) -> String {
        format!("{PATH}?license={}", self.lent.licence.id)
    }

    /// The address that the store gives its reader.
    async fn link(&self) -> String {
        let licence = self.lent.licence.id;
        let answer = self.served.staff(&format!("POST /lcp/licenses/{licence}/token?ttl=60"), "").await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let url = answer.json()["url"].as_str().expect("an address").to_owned();
        url.strip_prefix("https://s.example").expect("where readers reach the gateways").to_owned()
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        let authorization = basic(&self.served.staff);
        let headers = [&[("Authorization", authorization.as_str())], headers].concat();
        self.served.send(&format!("GET {}", self.target()), &headers, b"").await
    }

    /// HEAD and GET of the same, which must tell the same.
    async fn both(&self, headers: &[(&str, &str)]) -> Answer {
        let authorization = basic(&self.served.staff);
        let all = [&[("Authorization", authorization.as_str())], headers].concat();
        let head = self.served.send(&format!("HEAD {}", self.target()), &all, b"").await;
        let get = self.get(headers).await;
        let told = |answer: &Answer| -> Vec<(String, String)> {
            answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect()
        };
        assert_eq!((head.status, told(&head)), (get.status, told(&get)));
        assert!(head.body.is_empty());
        get
    }
}

fn is_of(answer: &Answer, status: u16, body: &[u8]) {
    assert_eq!(answer.status, status, "{:?}", answer.headers);
    assert_eq!(answer.header("content-length"), body.len().to_string());
    assert!(answer.body == body);
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("content-type"), "application/epub+zip");
    assert_eq!(answer.header("cache-control"), "private, no-store");
    assert_eq!(answer.header("vary"), "Authorization");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let name = "attachment; filename=\"_ __ _.epub\"; filename*=UTF-8''%EB%B3%84%20%ED%97%A4%EB%8A%94%20%EB%B0%A4.epub";
    assert_eq!(answer.header("content-disposition"), name);
}

/// A refusal without a byte of the book.
fn is_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.problem(), (status, kind.to_owned()));
    assert_eq!(answer.header("cache-control"), "private, no-store");
    assert!(answer.body.len() < 1000 && !answer.body.windows(2).any(|window| window == b"PK"));
}

#[tokio::test]
async fn a_file_comes_whole_in_ranges_and_under_conditions() {
    let world = World::open(|_| {}).await;
    let file = world.lent.file().await;
    let len = file.len();
    let whole = world.both(&[]).await;
    is_of(&whole, 200, &file);
    let (tag, date) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    assert_eq!(date, "Fri, 01 May 2026 10:00:00 GMT");
    for (range, part) in [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=-5".to_owned(), len - 5..len),
        (format!("bytes={}-", len - 7), len - 7..len),
        (format!("bytes=10-{}", len + 10), 10..len),
    ] {
        let answer = world.both(&[("Range", &range)]).await;
        is_of(&answer, 206, &file[part.clone()]);
        assert_eq!(answer.header("content-range"), format!("bytes {}-{}/{len}", part.start, part.end - 1));
        assert_eq!(answer.header("etag"), tag);
    }
    for range in ["bytes=0-1,5-6", "lines=0-1", "bytes=5-1", "bytes=x"] {
        is_of(&world.get(&[("Range", range)]).await, 200, &file);
    }
    for only in [tag.as_str(), date.as_str()] {
        is_of(&world.both(&[("Range", "bytes=0-1"), ("If-Range", only)]).await, 206, &file[..2]);
    }
    let weak = format!("W/{tag}");
    for only in ["\"other\"", weak.as_str(), "Fri, 01 May 2026 10:00:01 GMT"] {
        is_of(&world.get(&[("Range", "bytes=0-1"), ("If-Range", only)]).await, 200, &file);
    }
    let behind = world.get(&[("Range", &format!("bytes={len}-"))]).await;
    is_problem(&behind, 416, "urn:sago:lcp:range");
    assert_eq!(behind.header("content-range"), format!("bytes */{len}"));
    for (name, value) in [
        ("If-None-Match", tag.as_str()),
        ("If-None-Match", &weak),
        ("If-None-Match", "*"),
        ("If-Modified-Since", &date),
    ] {
        let answer = world.both(&[(name, value)]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{name}: {value}");
        assert_eq!((answer.header("etag"), answer.header("content-type")), (tag.as_str(), ""));
    }
    for (name, value) in
        [("If-Match", "\"other\""), ("If-Match", &weak), ("If-Unmodified-Since", "Fri, 01 May 2026 09:59:59 GMT")]
    {
        is_problem(&world.get(&[(name, value)]).await, 412, "urn:sago:lcp:precondition");
    }
    is_of(&world.get(&[("If-Match", &format!("\"x\", {tag}"))]).await, 200, &file);
    world.served.stop().await;
}

#[tokio::test]
async fn a_reader_with_a_link_needs_nothing_else() {
    let world = World::open(|_| {}).await;
    let link = world.link().await;
    let file = world.lent.file().await;
    is_of(&world.served.app(&format!("GET {link}")).await, 200, &file);
    let (_, token) = link.split_once("token=").expect("a token");
    let bearer = format!("Bearer {token}");
    let answer = world.served.send(&format!("GET {}", world.target()), &[("Authorization", &bearer)], b"").await;
    is_of(&answer, 200, &file);
    let alone = link.replace("?", "/license.lcpl?");
    let licence = world.served.app(&format!("GET {alone}")).await;
    assert_eq!((licence.status, licence.text()), (200, world.lent.licence.document.as_str()));
    assert_eq!(licence.header("content-type"), "application/vnd.readium.lcp.license.v1.0+json");
    let altered = format!("{}A", &link[..link.len() - 1]);
    let altered = if altered == link { format!("{}B", &link[..link.len() - 1]) } else { altered };
    is_problem(&world.served.app(&format!("GET {altered}")).await, 403, "urn:sago:lcp:token");
    let other = world.lent.another("독자-2", passphrase()).await.id;
    let swapped = link.replace(&world.lent.licence.id.to_string(), &other.to_string());
    is_problem(&world.served.app(&format!("GET {swapped}")).await, 403, "urn:sago:lcp:token");
    world.lent.library.shop.clock.pass(60);
    is_problem(&world.served.app(&format!("GET {link}")).await, 403, "urn:sago:lcp:token");
    world.served.stop().await;
}

#[tokio::test]
async fn whoever_is_not_allowed_gets_not_a_byte() {
    let world = World::open(|config| config.licence_downloads = Some(1)).await;
    let target = format!("GET {}", world.target());
    let nobody = world.served.app(&target).await;
    is_problem(&nobody, 401, "urn:sago:lcp:authentication");
    assert!(nobody.header("www-authenticate").starts_with("Basic"));
    let without = [("Authorization", basic(&world.served.nobody))];
    let without = without.each_ref().map(|(name, value)| (*name, value.as_str()));
    is_problem(&world.served.send(&target, &without, b"").await, 403, "urn:sago:lcp:forbidden");
    let unknown = format!("GET {PATH}?license=00000000-0000-4000-8000-000000000000");
    is_problem(&world.served.staff(&unknown, "").await, 404, "notfound");
    is_problem(&world.served.staff(&format!("GET {PATH}?license=x"), "").await, 404, "notfound");
    is_problem(&world.served.staff(&format!("GET {PATH}"), "").await, 400, "urn:sago:lcp:request");
    let other = format!("GET /download/books/other.epub?license={}", world.lent.licence.id);
    is_problem(&world.served.staff(&other, "").await, 404, "urn:sago:lcp:title");
    assert_eq!(world.get(&[]).await.status, 200);
    let limited = world.get(&[]).await;
    is_problem(&limited, 429, "urn:sago:lcp:limit");
    assert_eq!(limited.header("retry-after"), (14 * 3600).to_string());
    world.lent.library.shop.clock.pass(14 * 3600);
    assert_eq!(world.get(&[("Range", "bytes=0-9")]).await.status, 206);
    world.lent.library.shop.other_gateway().revoke(world.lent.licence.id).await.expect("revoked");
    is_problem(&world.get(&[("Range", "bytes=10-19")]).await, 403, "urn:sago:lcp:closed");
    world.served.stop().await;
}

#[tokio::test]
async fn a_package_alone_is_for_everybody_to_keep() {
    let world = World::open(|_| {}).await;
    let package = world.lent.library.package(&world.lent.title, 1).await;
    let target = format!("/lcp/contents/{}", world.lent.title.id);
    let answer = world.served.app(&format!("GET {target}?version=1")).await;
    assert!(answer.status == 200 && answer.body == package);
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    let sha256 = hex::encode(world.lent.title.package().expect("protected").sha256);
    assert_eq!(answer.header("etag"), format!("\"{sha256}\""));
    let newest = world.served.app(&format!("GET {target}")).await;
    assert!(newest.body == package);
    assert_eq!(newest.header("cache-control"), "public, no-cache");
    let none = world.served.send(&format!("GET {target}"), &[("If-None-Match", &format!("\"{sha256}\""))], b"").await;
    assert_eq!((none.status, none.header("cache-control")), (304, "public, no-cache"));
    let part = world.served.send(&format!("GET {target}?version=1"), &[("Range", "bytes=5-9")], b"").await;
    assert!(part.status == 206 && part.body == package[5..10]);
    is_problem(&world.served.app(&format!("GET {target}?version=9")).await, 404, "urn:sago:lcp:title");
    is_problem(&world.served.app("GET /lcp/contents/none").await, 404, "urn:sago:lcp:title");
    world.lent.library.shop.add_title("brought").await;
    let elsewhere = world.served.app("GET /lcp/contents/brought").await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, "https://cdn.example/brought/1.epub"));
    world.served.stop().await;
}

#[tokio::test]
async fn a_store_sells_and_sends_in_one_request() {
    let world = World::open(|_| {}).await;
    let hash = hex::encode(passphrase().expose());
    let partial = serde_json::json!({
        "provider": "https://store.example",
        "user": { "id": "독자-9" },
        "encryption": { "user_key": { "text_hint": "늘 쓰던 것", "hex_value": hash } },
    });
    let target = format!("POST /lcp/contents/{}/publication", world.lent.title.id);
    let answer = world.served.staff(&target, &partial.to_string()).await;
    assert_eq!(answer.status, 201);
    let id: LicenceId = answer.header("x-lcp-license").parse().expect("an id");
    let file = read(open(world.lent.lending(), id).await.expect("open"), None).await;
    is_of_post(&answer, &file);
    let again = world.served.staff(&format!("POST /lcp/licenses/{id}/publication"), "").await;
    assert_eq!((again.status, again.header("x-lcp-license")), (200, id.to_string().as_str()));
    is_of_post(&again, &file);
    let app = world.served.app(&format!("POST /lcp/licenses/{id}/publication")).await;
    is_problem(&app, 401, "urn:sago:lcp:authentication");
    world.served.stop().await;
}

fn is_of_post(answer: &Answer, file: &[u8]) {
    assert!(answer.body == file);
    assert_eq!(answer.header("content-length"), file.len().to_string());
    assert_eq!(answer.header("cache-control"), "private, no-store");
}

#[tokio::test]
async fn the_store_sees_what_was_downloaded() {
    let world = World::open(|config| config.gateway = "gw".to_owned()).await;
    let link = world.link().await;
    let headers = [("User-Agent", "=Thorium, \"3\""), ("Range", "bytes=0-9")];
    world.served.send(&format!("GET {link}"), &headers, b"").await;
    world.get(&[]).await;
    let served = &world.served;
    let audit = |query: String| async move { served.staff(&format!("GET /lcp/audit{query}"), "").await };
    let written = async {
        while audit(String::new()).await.json()["downloads"].as_array().is_none_or(|found| found.len() < 2) {}
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.expect("recorded");
    let licence = world.lent.licence.id.to_string();
    let found = audit(format!("?licence={licence}&per_page=1")).await;
    let first = &found.json()["downloads"][0];
    assert_eq!((&first["licence"], &first["user"]), (&Value::from(licence.as_str()), &Value::from("독자-1")));
    assert_eq!((&first["sent"], &first["result"]), (&Value::from(10), &Value::from("sent")));
    assert_eq!((&first["address"], &first["agent"]), (&Value::from("127.0.0.1"), &Value::from("=Thorium, \"3\"")));
    assert_eq!(first["range"], serde_json::json!([0, 9]));
    let next = found.json()["next"].as_str().expect("more").to_owned();
    let second = audit(format!("?licence={licence}&after={next}")).await.json();
    assert_eq!((&second["downloads"][0]["by"], &second["next"]), (&Value::from("store"), &Value::Null));
    let csv = audit("?format=csv".to_owned()).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<_> = csv.text().lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("at,licence,"), "{lines:?}");
    assert!(csv.text().contains(",\"'=Thorium, \"\"3\"\"\","), "{lines:?}");
    for query in ["?user=somebody", "?title=other", "?from=2030-01-01T00:00:00Z", "?to=2020-01-01T00:00:00Z"] {
        assert_eq!(audit(query.to_owned()).await.json()["downloads"], serde_json::json!([]), "{query}");
    }
    for query in ["?licence=x", "?from=today", "?after=!", "?format=xml", "?per_page=x"] {
        is_problem(&audit(query.to_owned()).await, 400, "urn:sago:lcp:request");
    }
    is_problem(&world.served.app("GET /lcp/audit").await, 401, "urn:sago:lcp:authentication");
    world.served.stop().await;
}
