//! Titles over the wire: the routes of both reference servers, and the S3 face.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_core::Right;
use gateway_core::lcp::Standing;
use s3_compat::lcp::{BUCKET, Library, basic, picture};
use s3_compat::{Server, python_code};
use serde_json::{Value, json};

const ID: &str = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10";
const KEY: &[u8; 32] = b"canary of a content key, 32 byte";

fn notice(id: &str) -> Value {
    json!({
        "content-id": id,
        "content-encryption-key": STANDARD.encode(KEY),
        "storage-mode": 1,
        "protected-content-location": format!("https://cdn.example/{id}.epub"),
        "protected-content-disposition": "별 헤는 밤.epub",
        "protected-content-length": 123_456,
        "protected-content-sha256": "ab".repeat(32),
        "protected-content-type": "application/epub+zip",
    })
}

fn publication(id: &str) -> Value {
    json!({
        "uuid": id,
        "alt_id": format!("urn:x:{id}"),
        "title": "별 헤는 밤",
        "encryption_key": STANDARD.encode(KEY),
        "href": format!("https://cdn.example/{id}.lcpdf"),
        "content_type": "application/pdf+lcp",
        "size": 123_456,
        "checksum": "cd".repeat(32),
        "provider": "https://store.example",
        "authors": ["윤동주"],
    })
}

fn has_key(text: &str) -> bool {
    text.contains(&STANDARD.encode(KEY)) || text.contains(&hex::encode(KEY))
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_come_and_go_as_with_the_first_server() {
    let library = Library::open(|config| config.workers = 0).await;
    let served = library.shop.serve().await;
    let path = format!("/lcp/contents/{ID}");
    let body = notice(ID).to_string();
    assert_eq!(served.staff(&format!("PUT {path}"), &body).await.status, 201);
    assert_eq!(served.staff(&format!("PUT {path}"), &body).await.status, 200);
    let info = served.staff(&format!("GET {path}/info"), "").await;
    assert_eq!(info.status, 200);
    let document = info.json();
    assert_eq!(document["id"], ID);
    assert_eq!(document["location"], format!("https://cdn.example/{ID}.epub"));
    assert_eq!((&document["length"], &document["type"]), (&json!(123_456), &json!("application/epub+zip")));
    assert_eq!((&document["sha256"], &document["standing"]), (&json!("ab".repeat(32)), &json!("ready")));
    let list = served.staff("GET /lcp/contents", "").await;
    assert_eq!(list.json().as_array().map(Vec::len), Some(1));
    assert!(!has_key(info.text()) && !has_key(list.text()), "keys are for nobody");
    assert!(!library.shop.is_kept(KEY));

    // Without the key it is another place for the same title.
    let mut moved = notice(ID);
    moved["content-encryption-key"] = Value::Null;
    moved["protected-content-location"] = json!("https://other.example/a.epub");
    assert_eq!(served.staff(&format!("PUT {path}"), &moved.to_string()).await.status, 200);
    let info = served.staff(&format!("GET {path}/info"), "").await.json();
    assert_eq!((&info["location"], &info["version"]), (&json!("https://other.example/a.epub"), &json!(2)));

    assert_eq!(served.staff(&format!("DELETE {path}"), "").await.status, 200);
    assert_eq!(served.staff(&format!("GET {path}/info"), "").await.problem().0, 404);
    assert_eq!(served.staff(&format!("DELETE {path}"), "").await.problem().0, 404);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_with_licences_keeps_its_key_and_stays() {
    let library = Library::open(|config| config.workers = 0).await;
    let served = library.shop.serve().await;
    let path = format!("/lcp/contents/{ID}");
    assert_eq!(served.staff(&format!("PUT {path}"), &notice(ID).to_string()).await.status, 201);
    let licence = json!({
        "provider": "https://store.example",
        "user": { "id": "독자-1" },
        "encryption": { "user_key": { "text_hint": "hint", "hex_value": "11".repeat(32) } },
    });
    let issued = served.staff(&format!("POST {path}/license"), &licence.to_string()).await;
    assert_eq!(issued.status, 201, "{issued:?}");
    let mut other = notice(ID);
    other["content-encryption-key"] = json!(STANDARD.encode([9; 32]));
    let refused = served.staff(&format!("PUT {path}"), &other.to_string()).await;
    assert_eq!(refused.problem(), (409, "urn:sago:lcp:key".to_owned()));
    let refused = served.staff(&format!("DELETE {path}"), "").await;
    assert_eq!(refused.problem(), (409, "urn:sago:lcp:in-use".to_owned()));
    assert_eq!(served.staff(&format!("DELETE {path}?force=true"), "").await.status, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_come_and_go_as_with_the_second_server() {
    let library = Library::open(|config| config.workers = 0).await;
    let served = library.shop.serve().await;
    let made = served.staff("POST /v2/publications", &publication(ID).to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(served.staff("POST /v2/publications", &publication(ID).to_string()).await.status, 200);
    let path = format!("/v2/publications/{ID}");
    let found = served.staff(&format!("GET {path}"), "").await;
    assert_eq!(found.json(), made.json());
    let document = found.json();
    assert_eq!((&document["uuid"], &document["title"]), (&json!(ID), &json!("별 헤는 밤")));
    assert_eq!((&document["size"], &document["checksum"]), (&json!(123_456), &json!("cd".repeat(32))));
    assert!(!has_key(found.text()) && !has_key(made.text()));
    let called = served.staff(&format!("GET /v2/publications/altid/urn:x:{ID}"), "").await;
    assert_eq!(called.json(), document);
    assert_eq!(served.staff("GET /v2/publications/altid/other", "").await.problem().0, 404);

    let mut changed = publication(ID);
    changed["title"] = json!("서시");
    changed["size"] = json!(7);
    changed["encryption_key"] = Value::Null;
    let changed = served.staff(&format!("PUT {path}"), &changed.to_string()).await.json();
    assert_eq!((&changed["title"], &changed["size"], &changed["version"]), (&json!("서시"), &json!(7), &json!(2)));

    for n in 0..4 {
        let other = publication(&format!("other-{n}"));
        assert_eq!(served.staff("POST /v2/publications", &other.to_string()).await.status, 201);
    }
    let search = |format: &str| format!("GET /v2/publications/search?format={format}");
    assert_eq!(served.staff(&search("lcpdf"), "").await.json().as_array().map(Vec::len), Some(5));
    assert_eq!(served.staff(&search("epub"), "").await.json(), json!([]));
    assert_eq!(served.staff(&search("application/pdf%2Blcp"), "").await.json().as_array().map(Vec::len), Some(5));
    assert_eq!(served.staff(&search("mobi"), "").await.problem().0, 400);

    // Page by page, by the number and by the link.
    let first = served.staff("GET /v2/publications?per_page=2", "").await;
    let third = served.staff("GET /v2/publications?per_page=2&page=3", "").await.json();
    assert_eq!((first.json().as_array().map(Vec::len), third.as_array().map(Vec::len)), (Some(2), Some(1)));
    let link = first.header("link").to_owned();
    let next = link.strip_prefix("<https://s.example").and_then(|link| link.split_once(">; rel=\"next\""));
    let second = served.staff(&format!("GET {}", next.expect("a link").0), "").await;
    let mut uuids: Vec<Value> = Vec::new();
    for page in [first.json(), second.json(), third] {
        uuids.extend(page.as_array().expect("a list").iter().map(|one| one["uuid"].clone()));
    }
    assert_eq!(uuids, [ID, "other-0", "other-1", "other-2", "other-3"].map(|id| json!(id)));

    assert_eq!(served.staff(&format!("DELETE {path}"), "").await.status, 204);
    assert_eq!(served.staff(&format!("GET {path}"), "").await.problem().0, 404);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_by_its_name_and_never_by_its_value() {
    let library = Library::open(|config| config.workers = 0).await;
    let served = library.shop.serve().await;
    let cases = [
        ("content-id", json!("another")),
        ("content-encryption-key", json!("c2VjcmV0IHRoYXQgaXMgdG9vIHNob3J0")),
        ("content-encryption-key", json!(7)),
        ("protected-content-location", json!("file:///etc/passwd")),
        ("protected-content-location", Value::Null),
        ("protected-content-length", json!(-1)),
        ("protected-content-sha256", json!("abcd")),
        ("protected-content-type", json!("epub")),
        ("protected-content-disposition", json!("a\u{1}b")),
    ];
    for (name, value) in cases {
        let mut body = notice(ID);
        body[name] = value;
        let answer = served.staff(&format!("PUT /lcp/contents/{ID}"), &body.to_string()).await;
        assert_eq!(answer.problem().0, 400, "{name}");
        assert!(!answer.text().contains("c2VjcmV0") && !has_key(answer.text()), "{}", answer.text());
    }
    for body in ["", "[]", "{", "\"text\""] {
        assert_eq!(served.staff(&format!("PUT /lcp/contents/{ID}"), body).await.problem().0, 400, "{body}");
    }
    let large = json!({ "content-id": "a".repeat(70_000) }).to_string();
    assert_eq!(served.staff(&format!("PUT /lcp/contents/{ID}"), &large).await.problem().0, 413);
    assert_eq!(served.staff("GET /lcp/contents/%EC%B1%85/info", "").await.problem().0, 404);
    for (request, body) in [
        (format!("PUT /lcp/contents/{ID}"), notice(ID).to_string()),
        ("GET /lcp/contents".to_owned(), String::new()),
        (format!("GET /lcp/contents/{ID}/info"), String::new()),
        (format!("DELETE /lcp/contents/{ID}"), String::new()),
        ("POST /v2/publications".to_owned(), publication(ID).to_string()),
        ("GET /v2/publications".to_owned(), String::new()),
        (format!("DELETE /v2/publications/{ID}"), String::new()),
    ] {
        assert_eq!(served.send(&request, &[], body.as_bytes()).await.status, 401, "{request}");
        let nobody = [("Authorization", basic(&served.nobody))];
        let nobody: Vec<_> = nobody.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(served.send(&request, &nobody, body.as_bytes()).await.status, 403, "{request}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn titles_of_objects_are_shown_with_where_they_stand_and_only_named() {
    let mut library = Library::open(|_| {}).await;
    library.put("a/포스터.png", &picture(5_000, 1)).await;
    library.put("b.txt", b"no book at all, in a few words").await;
    // The gateway works on them.
    let served = library.shop.serve().await;
    for _ in 0..2 {
        library.event().await;
    }
    let title = library.title("a/포스터.png").await;
    assert_eq!(title.standing, Standing::Ready);
    let path = format!("/v2/publications/{}", title.id);
    let document = served.staff(&format!("GET {path}"), "").await.json();
    assert_eq!(document["href"], format!("https://s.example/lcp/contents/{}?version=1", title.id));
    assert_eq!(document["source"], json!({ "bucket": BUCKET, "key": "a/포스터.png" }));
    let failed = library.title("b.txt").await;
    let info = served.staff(&format!("GET /lcp/contents/{}/info", failed.id), "").await.json();
    assert_eq!((&info["standing"], &info["fault"]), (&json!("failed"), &json!("unsupported")));
    assert!(info.get("location").is_none() && info["reason"].as_str().is_some_and(|reason| !reason.is_empty()));

    let named = served.staff(&format!("PUT {path}"), r#"{"title": "포스터", "alt_id": "p-1"}"#).await;
    assert_eq!((&named.json()["title"], &named.json()["alt_id"]), (&json!("포스터"), &json!("p-1")));
    assert_eq!(served.staff("GET /v2/publications/altid/p-1", "").await.json(), named.json());
    let refused = served.staff(&format!("PUT {path}"), &publication(title.id.as_str()).to_string()).await;
    assert_eq!(refused.problem().0, 400);
    let mine = served.staff(&format!("PUT /lcp/contents/{}", title.id), &notice(title.id.as_str()).to_string()).await;
    assert_eq!(mine.problem().0, 400);
    served.stop().await;
}

/// What a client of S3 does to objects.
const CLIENT: &str = r#"
from common import S3, MIB, ClientError
import sys
bucket, kind = sys.argv[1], "image/png"
picture = lambda seed: b"\x89PNG\r\n\x1a\n" + bytes((i * seed) % 251 for i in range(20_000))
for n in range(3):
    S3.put_object(Bucket=bucket, Key=f"put-{n}.png", Body=picture(n + 2), ContentType=kind)
S3.copy_object(Bucket=bucket, Key="copied.png", CopySource={"Bucket": bucket, "Key": "put-0.png"})
upload = S3.create_multipart_upload(Bucket=bucket, Key="parts.png", ContentType=kind)["UploadId"]
part = S3.upload_part(Bucket=bucket, Key="parts.png", UploadId=upload, PartNumber=1, Body=picture(9))["ETag"]
S3.complete_multipart_upload(Bucket=bucket, Key="parts.png", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
S3.delete_object(Bucket=bucket, Key="put-1.png")
S3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "put-2.png"}, {"Key": "missing"}]})
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_face_has_titles_follow_their_sources() {
    let library = Library::open(|config| config.workers = 0).await;
    library.shop.store.ensure_system_bucket().await.expect("memory");
    library.shop.store.grant(&library.key.user, &Right::PlainRead(None)).await.expect("memory");
    let served = library.shop.serve().await;
    let server =
        Server { endpoint: format!("http://{}", served.addr), key: library.key.clone(), other: served.nobody.clone() };
    let code = CLIENT.replace("sys.argv[1]", &format!("{BUCKET:?}"));
    python_code(&code, &server).await.expect("the client is content");
    for key in ["put-0.png", "copied.png", "parts.png"] {
        assert!(matches!(library.title(key).await.standing, Standing::Queued { .. }), "{key}");
    }
    for key in ["put-1.png", "put-2.png"] {
        assert!(matches!(library.title(key).await.standing, Standing::Gone { .. }), "{key}");
    }
    served.stop().await;
}
