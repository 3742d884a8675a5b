use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const FIRST: &str = "first 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const SECOND: &str = "second AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keks")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("written");
        self.set_mode(0o600);
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn open(&self, text: &str) -> KeyFile {
        self.write(text);
        KeyFile::open(&self.path()).expect("keys")
    }
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32])
}

fn drawn(first: u8) -> SecretKey {
    SecretKey::new(std::array::from_fn(|i| first.wrapping_add(i as u8)))
}

#[tokio::test]
async fn keys_are_wrapped_under_the_first_and_unwrapped_under_each() {
    let place = Place::new();
    let before = place.open(FIRST);
    let old = before.wrap(b"title 7", &secret(5)).await.expect("wrapped");
    assert_eq!(old.kek, "first");
    assert!(before.is_newest(&old).await.expect("known"));
    let later = Place::new();
    let after = later.open(&format!("# rotated\n{SECOND}{FIRST}"));
    let new = after.wrap(b"title 7", &secret(5)).await.expect("wrapped");
    assert_eq!((new.kek.as_str(), after.names()), ("second", vec!["second".to_owned(), "first".to_owned()]));
    for wrapped in [&old, &new] {
        assert_eq!(after.unwrap(b"title 7", wrapped).await.expect("unwrapped"), secret(5));
        assert!(matches!(after.unwrap(b"title 8", wrapped).await, Err(KeyError::Damaged)));
    }
    assert!(!after.is_newest(&old).await.expect("known") && after.is_newest(&new).await.expect("known"));
    let renamed = WrappedKey { kek: "first".to_owned(), ..new.clone() };
    assert!(matches!(after.unwrap(b"title 7", &renamed).await, Err(KeyError::Damaged)));
    assert!(matches!(before.unwrap(b"title 7", &new).await, Err(KeyError::NoSuchKek { kek }) if kek == "second"));
}

#[tokio::test]
async fn no_two_wrapped_keys_are_alike_and_none_shows_the_key() {
    let keys = Place::new().open(FIRST);
    let wrap = || async { keys.wrap(b"", &secret(5)).await.expect("wrapped").sealed };
    let (one, two) = (wrap().await, wrap().await);
    assert_ne!(one, two);
    assert!(!one.windows(4).any(|window| window == [5; 4]));
}

#[tokio::test]
async fn a_reload_takes_the_new_file_or_keeps_the_old_keys() {
    let place = Place::new();
    let keys = place.open(FIRST);
    assert!(!keys.reload().expect("the same").is_change());
    let wrapped = keys.wrap(b"x", &secret(5)).await.expect("wrapped");
    place.write(&format!("{SECOND}{FIRST}"));
    let added = ReloadedKeys { added: vec!["second".into()], removed: Vec::new(), newest: Some("second".into()) };
    assert_eq!(keys.reload().expect("good"), added);
    assert_eq!(keys.wrap(b"x", &secret(6)).await.expect("wrapped").kek, "second");

    place.write(&format!("{SECOND}{}", FIRST.replace("1e1f", "1e20")));
    assert!(matches!(keys.reload(), Err(KeyFileError::Changed { name, .. }) if name == "first"));
    place.write("second\n");
    assert!(matches!(keys.reload(), Err(KeyFileError::Line { line: 1, .. })));
    place.write("# none\n");
    assert!(matches!(keys.reload(), Err(KeyFileError::Empty(_))));
    place.set_mode(0o644);
    assert!(matches!(keys.reload(), Err(KeyFileError::Secret(SecretFileError::Exposed(_)))));
    fs::remove_file(place.path()).expect("removed");
    assert!(matches!(keys.reload(), Err(KeyFileError::Secret(SecretFileError::File { .. }))));
    assert_eq!(keys.unwrap(b"x", &wrapped).await.expect("still there"), secret(5));

    place.write(SECOND);
    assert_eq!(keys.reload().expect("good").removed, ["first"]);
    assert!(matches!(keys.unwrap(b"x", &wrapped).await, Err(KeyError::NoSuchKek { .. })));
}

#[tokio::test]
async fn a_key_that_is_not_known_yet_is_looked_for_in_the_file() {
    let (one, other) = (Place::new(), Place::new());
    let (ahead, behind) = (one.open(&format!("{SECOND}{FIRST}")), other.open(FIRST));
    let wrapped = ahead.wrap(b"x", &secret(5)).await.expect("wrapped");
    other.write(&format!("{SECOND}{FIRST}"));
    assert_eq!(behind.unwrap(b"x", &wrapped).await.expect("looked for"), secret(5));
    assert_eq!(behind.names(), ["second", "first"]);
    let unknown = WrappedKey { kek: "third".to_owned(), ..wrapped };
    other.write(&SECOND.replace("second", "third"));
    assert!(matches!(behind.unwrap(b"x", &unknown).await, Err(KeyError::NoSuchKek { .. })), "not again at once");
    assert_eq!(behind.names(), ["second", "first"]);
}

#[test]
fn errors_and_debug_name_the_line_and_never_the_key() {
    let place = Place::new();
    place.write(&format!("# head\n{FIRST}oops {}\n", "0123456789abcdef".repeat(3)));
    let error = KeyFile::open(&place.path()).expect_err("a short key");
    assert!(error.to_string().ends_with("keks, line 3: a key has 32 bytes: 64 hex digits, or 44 characters of base64"));
    let shown = format!("{error:?} {:?}", place.open(FIRST));
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("00010203") && shown.contains("first"), "{shown}");
    place.write(&format!("# {}\n", "x".repeat(64 << 10)));
    assert!(matches!(KeyFile::open(&place.path()), Err(KeyFileError::Secret(SecretFileError::Long { .. }))));
}

#[tokio::test]
async fn a_key_is_added_at_the_top_and_the_rest_stays() {
    let place = Place::new();
    KeyFile::add(&place.path(), "one", &drawn(1)).expect("a new file");
    assert_eq!(fs::metadata(place.path()).expect("a file").mode() & 0o777, 0o600);
    let keys = KeyFile::open(&place.path()).expect("keys");
    let wrapped = keys.wrap(b"x", &secret(9)).await.expect("wrapped");
    let text = fs::read_to_string(place.path()).expect("text");
    place.write(&text.replace("one ", "# made on a Thursday\none "));
    place.set_mode(0o640);
    KeyFile::add(&place.path(), "two", &drawn(2)).expect("another");
    assert_eq!(fs::metadata(place.path()).expect("a file").mode() & 0o777, 0o640);
    assert_eq!(keys.reload().expect("good").newest.as_deref(), Some("two"));
    assert_eq!(keys.names(), ["two", "one"]);
    assert_eq!(keys.unwrap(b"x", &wrapped).await.expect("still there"), secret(9));
    let text = fs::read_to_string(place.path()).expect("text");
    assert!(text.contains("# made on a Thursday\n") && text.starts_with("# Keys that wrap"), "{text}");
    assert_eq!(fs::read_dir(place.0.path()).expect("a folder").count(), 1, "nothing is left beside it");
}

#[test]
fn what_cannot_be_added_changes_nothing() {
    let place = Place::new();
    let refused = |name: &str, key: &SecretKey| {
        let before = fs::read(place.path()).ok();
        let error = KeyFile::add(&place.path(), name, key).expect_err("refused");
        assert_eq!(fs::read(place.path()).ok(), before);
        assert!(fs::read_dir(place.0.path()).expect("a folder").count() <= 1);
        error.to_string()
    };
    assert!(refused("a b", &drawn(1)).contains("a name has"));
    assert!(refused("same-byte", &secret(1)).contains("same byte"));
    place.write(&format!("{SECOND}{FIRST}"));
    assert!(refused("first", &drawn(7)).ends_with("there is a key first already"));
    assert!(refused("third", &drawn(1)).contains("the key is that of line 1 too"));
    place.write("broken\n");
    assert!(refused("third", &drawn(9)).contains("a line is a name and a key"));
    place.write(FIRST);
    place.set_mode(0o644);
    assert!(refused("third", &drawn(9)).contains("accessible to other users"));
}

#[test]
fn a_link_stays_a_link() {
    let place = Place::new();
    place.write(FIRST);
    let link = place.0.path().join("link");
    std::os::unix::fs::symlink("keks", &link).expect("a link");
    KeyFile::add(&link, "second", &drawn(9)).expect("added");
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert_eq!(KeyFile::open(&place.path()).expect("keys").names(), ["second", "first"]);
}

#[test]
fn keys_added_at_once_are_all_there() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for i in 0..8u8 {
            let path = place.path();
            scope.spawn(move || KeyFile::add(&path, &format!("k{i}"), &drawn(i)).expect("added"));
        }
    });
    assert_eq!(KeyFile::open(&place.path()).expect("keys").names().len(), 8);
}
