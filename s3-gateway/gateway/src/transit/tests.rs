mod engine;

use super::*;
use engine::{Engine, Fault, TOKEN};
use futures::future::join_all;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

const CONTEXT: &[u8] = b"title 7";

fn secret(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32])
}

/// An engine, and a gateway's folder with its token.
struct Place {
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        Place::of(Engine::start().await)
    }

    fn of(engine: Engine) -> Self {
        let place = Place { engine, folder: tempfile::tempdir().expect("a folder") };
        place.put_token(TOKEN);
        place
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn put_token(&self, token: &str) {
        fs::write(self.token_file(), format!("{token}\n")).expect("written");
        fs::set_permissions(self.token_file(), fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    fn options(&self) -> TransitOptions {
        TransitOptions {
            backoff: Duration::from_millis(1),
            ..TransitOptions::new(&format!("http://{}", self.engine.address), "books", self.token_file())
        }
    }

    fn keys(&self) -> TransitKeys {
        TransitKeys::new(&self.options()).expect("good options")
    }

    /// One that asks the engine each time.
    fn forgetful(&self) -> TransitKeys {
        TransitKeys::new(&TransitOptions { cache_entries: 0, ..self.options() }).expect("good options")
    }
}

fn refused(result: Result<impl fmt::Debug, KeyError>) -> String {
    match result {
        Err(KeyError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn unavailable(result: Result<impl fmt::Debug, KeyError>) -> String {
    match result {
        Err(KeyError::Unavailable(cause)) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_are_wrapped_by_the_engine_and_bound_to_their_context() {
    let place = Place::new().await;
    let keys = place.forgetful();
    assert_eq!(keys.check().await.expect("a good key"), "books:v1");
    let wrapped = keys.wrap(CONTEXT, &secret(5)).await.expect("wrapped");
    assert_eq!(wrapped.kek, "books:v1");
    assert!(wrapped.sealed.starts_with(b"vault:v1:") && wrapped.sealed.len() < 200);
    assert_eq!(keys.unwrap(CONTEXT, &wrapped).await.expect("unwrapped"), secret(5));
    assert!(matches!(keys.unwrap(b"title 8", &wrapped).await, Err(KeyError::Damaged)));
    let mut changed = wrapped.clone();
    let last = changed.sealed.len() - 4;
    changed.sealed[last] ^= 1;
    assert!(matches!(keys.unwrap(CONTEXT, &changed).await, Err(KeyError::Damaged)));
    let other = WrappedKey { kek: "films:v1".to_owned(), ..wrapped.clone() };
    assert!(matches!(keys.unwrap(CONTEXT, &other).await, Err(KeyError::NoSuchKek { kek }) if kek == "films:v1"));
    for sealed in [&b"vault:v2:AAECAwQ="[..], b"", b"\xff"] {
        let other = WrappedKey { sealed: sealed.to_vec(), ..wrapped.clone() };
        assert!(matches!(keys.unwrap(CONTEXT, &other).await, Err(KeyError::Damaged)));
    }
}

#[tokio::test]
async fn a_rotation_is_seen_and_old_versions_are_unwrapped_until_they_are_out_of_use() {
    let place = Place::new().await;
    let keys = place.forgetful();
    let old = keys.wrap(CONTEXT, &secret(5)).await.expect("wrapped");
    assert!(keys.is_newest(&old).await.expect("an answer"));
    place.engine.state.lock().rotate();
    assert!(keys.is_newest(&old).await.expect("believed for a while"));
    let new = keys.wrap(CONTEXT, &secret(6)).await.expect("wrapped");
    assert_eq!(new.kek, "books:v2");
    assert!(!keys.is_newest(&old).await.expect("seen") && keys.is_newest(&new).await.expect("seen"));
    assert_eq!(place.engine.count("/keys/books"), 1, "versions are believed for a while");
    assert_eq!(keys.unwrap(CONTEXT, &old).await.expect("unwrapped"), secret(5));
    place.engine.state.lock().oldest = 2;
    assert!(refused(keys.unwrap(CONTEXT, &old).await).contains("too old"));
    assert_eq!(keys.unwrap(CONTEXT, &new).await.expect("unwrapped"), secret(6));

    let asks = TransitKeys::new(&TransitOptions { latest_time: Duration::ZERO, ..place.options() }).expect("options");
    assert!(asks.is_newest(&new).await.expect("asked"));
    place.engine.state.lock().rotate();
    assert!(!asks.is_newest(&new).await.expect("asked"));
}

#[tokio::test]
async fn what_was_unwrapped_is_not_asked_for_again() {
    let place = Place::new().await;
    let keys = place.keys();
    let wrapped = keys.wrap(CONTEXT, &secret(5)).await.expect("wrapped");
    for _ in 0..3 {
        assert_eq!(keys.unwrap(CONTEXT, &wrapped).await.expect("unwrapped"), secret(5));
    }
    assert_eq!(place.engine.count("/decrypt/books"), 1);
    assert!(matches!(keys.unwrap(b"title 8", &wrapped).await, Err(KeyError::Damaged)), "the context counts here too");
    keys.forget();
    assert!(keys.unwrap(CONTEXT, &wrapped).await.is_ok());
    assert_eq!(place.engine.count("/decrypt/books"), 3);
}

#[tokio::test]
async fn who_asks_at_once_asks_once() {
    let place = Place::new().await;
    let keys = place.forgetful();
    let wrapped = keys.wrap(CONTEXT, &secret(5)).await.expect("wrapped");
    let ask = || join_all((0..20).map(|_| keys.unwrap(CONTEXT, &wrapped)));
    assert!(ask().await.into_iter().all(|key| key.is_ok_and(|key| key == secret(5))));
    assert_eq!(place.engine.count("/decrypt/books"), 1);
    place.engine.fail([Fault::Status(400, "no".to_owned())]);
    assert!(ask().await.into_iter().all(|key| matches!(key, Err(KeyError::Refused(_)))));
    assert_eq!(place.engine.count("/decrypt/books"), 2);
    assert!(keys.unwrap(CONTEXT, &wrapped).await.is_ok(), "a failure is not kept");
}

#[tokio::test]
async fn whoever_goes_away_takes_the_answer_from_nobody() {
    let place = Place::new().await;
    let keys = Arc::new(place.forgetful());
    let wrapped = keys.wrap(CONTEXT, &secret(5)).await.expect("wrapped");
    let mut first = Box::pin(keys.unwrap(CONTEXT, &wrapped));
    let second = keys.unwrap(CONTEXT, &wrapped);
    assert!(futures::poll!(&mut first).is_pending());
    let (key, ()) = tokio::join!(second, async move { drop(first) });
    assert_eq!(key.expect("unwrapped"), secret(5));
    assert_eq!(place.engine.count("/decrypt/books"), 1);
}

#[tokio::test]
async fn what_passes_is_tried_again_and_not_for_ever() {
    let place = Place::new().await;
    let keys = place.forgetful();
    let sealed = || Fault::Status(503, "Vault is sealed".to_owned());
    place.engine.fail([sealed(), Fault::Close, Fault::Status(429, String::new())]);
    let wrapped = keys.wrap(CONTEXT, &secret(5)).await.expect("at the fourth attempt");
    assert_eq!(place.engine.count("/encrypt/books"), 4);
    place.engine.fail([sealed(), sealed(), sealed(), sealed()]);
    let why = unavailable(keys.unwrap(CONTEXT, &wrapped).await);
    assert_eq!(why, "it answers with status 503: Vault is sealed");
    assert_eq!(place.engine.count("/decrypt/books"), 4);
    let nobody = TransitOptions { address: "http://127.0.0.1:1".to_owned(), attempts: 2, ..place.options() };
    assert_eq!(unavailable(TransitKeys::new(&nobody).expect("options").check().await), "no answer");
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_not_waited_for() {
    let place = Place::new().await;
    let hasty = TransitOptions { timeout: Duration::from_millis(50), attempts: 2, ..place.options() };
    place.engine.fail([Fault::Silence, Fault::Silence]);
    assert_eq!(unavailable(TransitKeys::new(&hasty).expect("options").wrap(CONTEXT, &secret(5)).await), "no answer");
    assert_eq!(place.engine.count("/encrypt/books"), 2);
}

#[tokio::test]
async fn the_token_is_read_anew_and_never_told() {
    let place = Place::new().await;
    let keys = place.forgetful();
    place.put_token("hvs.bad");
    let why = refused(keys.wrap(CONTEXT, &secret(5)).await);
    assert_eq!(why, "status 403", "what the engine says holds the token");
    assert_eq!(place.engine.count("/encrypt/books"), 1, "a refusal is not asked for again");
    place.put_token(TOKEN);
    assert!(keys.wrap(CONTEXT, &secret(5)).await.is_ok());
    fs::set_permissions(place.token_file(), fs::Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(unavailable(keys.wrap(CONTEXT, &secret(5)).await), "there is no token to show");
    place.put_token("two words");
    assert_eq!(unavailable(keys.wrap(CONTEXT, &secret(5)).await), "there is no token to show");
}

#[tokio::test]
async fn a_token_that_changes_while_it_is_refused_is_tried() {
    let place = Place::new().await;
    let keys = place.forgetful();
    place.put_token("hvs.old");
    let file = place.token_file();
    place.engine.fail([Fault::Denied(Box::new(move || fs::write(file, TOKEN).expect("written")))]);
    assert!(keys.wrap(CONTEXT, &secret(5)).await.is_ok());
    let file = place.token_file();
    let again = |name: &'static str| {
        let file = file.clone();
        Fault::Denied(Box::new(move || fs::write(file, name).expect("written")))
    };
    place.engine.fail([again("hvs.1"), again("hvs.2")]);
    assert!(refused(keys.wrap(CONTEXT, &secret(5)).await).contains("permission denied"), "once is enough");
    assert_eq!(place.engine.count("/encrypt/books"), 4);
}

#[tokio::test]
async fn a_refusal_that_repeats_the_key_is_not_passed_on() {
    use base64::Engine as _;
    let place = Place::new().await;
    let keys = place.forgetful();
    let encoded = base64::engine::general_purpose::STANDARD.encode([5; 32]);
    place.engine.fail([Fault::Status(400, format!("cannot encrypt {encoded}"))]);
    assert_eq!(refused(keys.wrap(CONTEXT, &secret(5)).await), "status 400");
    place.engine.fail([Fault::Status(400, "cannot encrypt".to_owned())]);
    assert_eq!(refused(keys.wrap(CONTEXT, &secret(5)).await), "cannot encrypt (status 400)");
}

#[tokio::test]
async fn answers_of_another_form_are_no_answers() {
    let place = Place::new().await;
    let keys = place.forgetful();
    let wrapped = keys.wrap(CONTEXT, &secret(5)).await.expect("wrapped");
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"data":{}}"#,
        r#"{"data":{"plaintext":"AAEC"}}"#,
        r#"{"data":{"plaintext":"!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"}}"#,
        r#"{"data":{"ciphertext":"vault:v0:AAEC","plaintext":7}}"#,
    ] {
        place.engine.fail([Fault::Body(body.into()), Fault::Body(body.into())]);
        assert_eq!(
            unavailable(keys.unwrap(CONTEXT, &wrapped).await),
            "its answer is none of a Transit engine",
            "{body}"
        );
        assert_eq!(
            unavailable(keys.wrap(CONTEXT, &secret(5)).await),
            "its answer is none of a Transit engine",
            "{body}"
        );
    }
    place.engine.fail([Fault::Body(vec![b' '; 300 << 10])]);
    assert!(unavailable(keys.unwrap(CONTEXT, &wrapped).await).contains("more than 262144 bytes"));
    place.engine.fail([Fault::Status(307, String::new())]);
    assert!(unavailable(keys.unwrap(CONTEXT, &wrapped).await).contains("another place"));
}

#[tokio::test]
async fn a_key_that_would_not_do_is_found_out_at_the_start() {
    let place = Place::new().await;
    place.engine.state.lock().ignores_context = true;
    assert!(refused(place.keys().check().await).contains("ignores associated data"));
    place.engine.state.lock().ignores_context = false;
    place.engine.state.lock().kind = "rsa-2048";
    assert!(refused(place.keys().check().await).contains("type aes256-gcm96"));
    let other = TransitKeys::new(&TransitOptions { key: "films".to_owned(), ..place.options() }).expect("options");
    assert!(matches!(other.check().await, Err(KeyError::NoSuchKek { kek }) if kek == "films"));
    assert!(matches!(other.wrap(CONTEXT, &secret(5)).await, Err(KeyError::NoSuchKek { .. })));
}

#[tokio::test]
async fn mount_and_namespace_are_where_it_asks() {
    let place = Place::new().await;
    let options =
        TransitOptions { mount: "a/b".to_owned(), namespace: Some("team/books".to_owned()), ..place.options() };
    assert!(TransitKeys::new(&options).expect("options").check().await.is_err());
    assert_eq!(place.engine.state.lock().seen, ["team/books/v1/a/b/keys/books"]);
}

#[test]
fn nothing_secret_prints_itself() {
    let options = TransitOptions::new("https://h", "books", PathBuf::from("/token"));
    let keys = TransitKeys::new(&options).expect("options");
    assert_eq!(format!("{keys:?}"), "TransitKeys { key: \"books\", .. }");
}

#[tokio::test]
async fn only_an_engine_of_the_named_authority_is_believed() {
    let authority = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).expect("a certificate");
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let tls = tls.expect("versions").with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls.expect("a pair")));
    let accept = move |stream| -> futures::future::BoxFuture<'static, _> {
        let acceptor = acceptor.clone();
        Box::pin(async move { acceptor.accept(stream).await.ok() })
    };
    let place = Place::of(Engine::with(accept).await);
    let address = format!("https://localhost:{}", place.engine.address.port());
    let ca_file = place.folder.path().join("ca.pem");
    fs::write(&ca_file, root.pem()).expect("written");
    let with = |ca_file| {
        TransitKeys::new(&TransitOptions { address: address.clone(), ca_file, attempts: 1, ..place.options() })
    };
    assert_eq!(with(Some(ca_file.clone())).expect("options").check().await.expect("a good key"), "books:v1");
    assert_eq!(unavailable(with(None).expect("options").check().await), "no answer");
    fs::write(&ca_file, "nothing").expect("written");
    assert!(matches!(with(Some(ca_file)), Err(BadTransitOption::NoCa(_))));
}
