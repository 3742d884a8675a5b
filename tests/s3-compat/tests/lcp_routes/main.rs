//! The routes about licences as a store's back end and reading apps call them: requests of the shapes that both reference servers take, answers of theirs.

mod apps;
mod first;
mod openapi;
mod second;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drm::PassphraseHash;
use drm::licence::{CannotUnlock, Licence, Unlocked};
use drm::status::Policy;
use s3_compat::lcp::{Answer, Served, Shop, passphrase};
use serde_json::{Value, json};

/// A shop that lends, a title of it, and a gateway.
struct World {
    shop: Shop,
    served: Served,
}

impl World {
    async fn open() -> Self {
        let policy =
            Policy { renew_days: Some(14), renew_days_max: Some(60), devices_soft: Some(2), ..Policy::default() };
        let shop = Shop::open(|config| config.policy = policy);
        shop.add_title("book-1").await;
        let served = shop.serve().await;
        World { shop, served }
    }

    /// A loan by the first server's route; its id.
    async fn lend(&self) -> String {
        let mut body = partial();
        body["rights"] = json!({ "end": "2026-05-15T10:00:00Z" });
        let answer = self.served.staff("POST /lcp/contents/book-1/license", &body.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// A sale by the same.
    async fn sell(&self) -> String {
        let answer = self.served.staff("POST /lcp/contents/book-1/license", &partial().to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

fn hex_hash() -> String {
    hex::encode(passphrase().expose())
}

/// A partial licence as a back end sends it.
fn partial() -> Value {
    json!({
        "provider": "https://store.example",
        "user": {
            "id": "독자-1",
            "email": "canary@reader.example",
            "name": "카나리아 홍길동",
            "encrypted": ["email", "name"],
        },
        "encryption": {
            "user_key": {
                "algorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
                "text_hint": "늘 쓰던 것",
                "hex_value": hex_hash(),
            },
        },
        "rights": { "print": 10, "copy": 2048 },
    })
}

fn unlock(answer: &Answer, passphrase: &PassphraseHash) -> Result<Unlocked, CannotUnlock> {
    let licence = Licence::parse(&answer.body).expect("a licence");
    licence.unlock(&drm::BasicProfile, passphrase)
}

/// A licence that the passphrase opens, sent as one, and nothing of the passphrase in the answer.
fn is_licence(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/vnd.readium.lcp.license.v1.0+json");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"license.lcpl\"");
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let unlocked = unlock(answer, &passphrase()).expect("opens");
    assert_eq!(unlocked.content_key.expose(), &s3_compat::lcp::CONTENT_KEY);
    echoes_nothing(answer);
    assert!(!answer.text().contains("hex_value"));
    answer.json()
}

fn echoes_nothing(answer: &Answer) {
    let text = answer.text().to_lowercase();
    assert!(!text.contains(&hex_hash()), "{text}");
    assert!(!answer.text().contains(&STANDARD.encode(passphrase().expose())), "{text}");
}

fn is(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}
