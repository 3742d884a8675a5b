//! What has to be known of an engine.

use gateway_core::KEK_NAME_BYTES_MAX;
use reqwest::Url;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of what follows the name of a key in a key-encryption key's name: `:v` and a number.
const VERSION_BYTES: usize = ":v4294967295".len();
/// Bytes of the name of a key.
const KEY_NAME_BYTES_MAX: usize = KEK_NAME_BYTES_MAX - VERSION_BYTES;
/// Bytes of a mount or a namespace.
const PATH_BYTES_MAX: usize = 256;

/// Where the engine is, and how to speak with it.
#[derive(Clone, Debug)]
pub struct TransitOptions {
    /// Such as `https://vault.example:8200`. `http` only to this machine.
    pub address: String,
    /// Where the engine is mounted. Default `transit`.
    pub mount: String,
    /// Name of the key, which is there already; at most 52 of `a-z A-Z 0-9 . _ -`.
    pub key: String,
    /// Namespace, for services that have them. Default none.
    pub namespace: Option<String>,
    /// File with the token, read anew for each request. Other users must not reach it.
    pub token_file: PathBuf,
    /// PEM of the authorities that are trusted, and no others. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Time of one attempt. Default 5 s.
    pub timeout: Duration,
    /// Attempts for what may work later: no connection, an engine that is sealed. Default 4, from 1 to 10.
    pub attempts: u32,
    /// Time before the second attempt; doubled for each further one. Default 100 ms.
    pub backoff: Duration,
    /// Unwrapped keys that are kept. Default 4,096, which is half a megabyte; 0 for none.
    pub cache_entries: usize,
    /// How long they are kept, from when the engine gave them. Default 10 minutes: a key that the engine takes away is used here no longer.
    pub cache_time: Duration,
    /// How long the newest version is believed to be the newest. Default 10 s: a rotation asks for every key.
    pub latest_time: Duration,
}

impl TransitOptions {
    /// All defaults.
    #[must_use]
    pub fn new(address: &str, key: &str, token_file: PathBuf) -> Self {
        TransitOptions {
            address: address.to_owned(),
            mount: "transit".to_owned(),
            key: key.to_owned(),
            namespace: None,
            token_file,
            ca_file: None,
            timeout: Duration::from_secs(5),
            attempts: 4,
            backoff: Duration::from_millis(100),
            cache_entries: 4096,
            cache_time: Duration::from_secs(600),
            latest_time: Duration::from_secs(10),
        }
    }

    /// The address with `v1/MOUNT` behind it.
    pub(super) fn base(&self) -> Result<Url, BadTransitOption> {
        let mut url = Url::parse(&self.address).map_err(|_| BadTransitOption::Address)?;
        let plain = !url.username().is_empty() || url.password().is_some();
        if plain || url.query().is_some() || url.fragment().is_some() || url.host_str().is_none() {
            return Err(BadTransitOption::Address);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_this_machine(&url) => {}
            "http" => return Err(BadTransitOption::Plain),
            _ => return Err(BadTransitOption::Address),
        }
        check_path(&self.mount).then_some(()).ok_or(BadTransitOption::Mount)?;
        let path = format!("{}/v1/{}", url.path().trim_end_matches('/'), self.mount);
        url.set_path(&path);
        Ok(url)
    }

    pub(super) fn check(&self) -> Result<(), BadTransitOption> {
        let segment = check_segment(&self.key) && self.key.len() <= KEY_NAME_BYTES_MAX;
        segment.then_some(()).ok_or(BadTransitOption::Key)?;
        let namespace = self.namespace.as_ref().is_none_or(|name| check_path(name.trim_end_matches('/')));
        namespace.then_some(()).ok_or(BadTransitOption::Namespace)?;
        (1..=10).contains(&self.attempts).then_some(()).ok_or(BadTransitOption::Attempts)
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn check_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX && path.split('/').all(check_segment)
}

/// A part of a path that needs no escaping and leads nowhere else.
fn check_segment(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !segment.is_empty() && segment.bytes().any(|byte| byte != b'.') && segment.bytes().all(allowed)
}

/// An option that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum BadTransitOption {
    /// No address of a service.
    #[error("the address is not of the form https://HOST:PORT")]
    Address,
    /// Keys would go over the network as they are.
    #[error("the address is http: only of this machine may it be")]
    Plain,
    /// No path of a mount.
    #[error("the mount is no path")]
    Mount,
    /// No name of a key.
    #[error("the key's name has 1 to {KEY_NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -")]
    Key,
    /// No path of a namespace.
    #[error("the namespace is no path")]
    Namespace,
    /// Not at all, or for ever.
    #[error("attempts are 1 to 10")]
    Attempts,
    /// The authorities cannot be read.
    #[error("{path}")]
    CaFile {
        /// Their file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The authorities are none.
    #[error("{0} holds no certificates in PEM")]
    NoCa(PathBuf),
    /// The HTTP library refuses.
    #[error("no client for HTTP")]
    Client(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(address: &str) -> Result<String, BadTransitOption> {
        let options = TransitOptions::new(address, "books", PathBuf::new());
        options.check()?;
        options.base().map(Into::into)
    }

    #[test]
    fn keys_go_to_https_or_stay_on_this_machine() {
        assert_eq!(base("https://vault.example:8200").expect("good"), "https://vault.example:8200/v1/transit");
        assert_eq!(base("https://vault.example/in/here/").expect("good"), "https://vault.example/in/here/v1/transit");
        for address in ["http://127.0.0.1:8200", "http://localhost", "http://[::1]:8200"] {
            assert!(base(address).is_ok(), "{address}");
        }
        for address in
            ["http://10.0.0.1", "http://vault.example", "http://127.0.0.1.example", "http://localhost.example"]
        {
            assert!(matches!(base(address), Err(BadTransitOption::Plain)), "{address}");
        }
        for address in
            ["", "vault.example", "ftp://vault.example", "https://u:p@h", "https://h?x=1", "https://h#x", "unix:/x"]
        {
            assert!(matches!(base(address), Err(BadTransitOption::Address)), "{address}");
        }
    }

    #[test]
    fn names_lead_nowhere_else() {
        let with = |change: fn(&mut TransitOptions)| {
            let mut options = TransitOptions::new("https://h", "books", PathBuf::new());
            change(&mut options);
            options.check().and_then(|()| options.base())
        };
        assert!(with(|options| options.mount = "a/b-c".to_owned()).is_ok());
        assert!(with(|options| options.namespace = Some("team/books/".to_owned())).is_ok());
        assert!(matches!(with(|options| options.mount = "a/../b".to_owned()), Err(BadTransitOption::Mount)));
        assert!(matches!(with(|options| options.mount = "/a".to_owned()), Err(BadTransitOption::Mount)));
        assert!(matches!(with(|options| options.key = "a/b".to_owned()), Err(BadTransitOption::Key)));
        assert!(matches!(with(|options| options.key = "k".repeat(53)), Err(BadTransitOption::Key)));
        assert!(matches!(with(|options| options.key = "a%2fb".to_owned()), Err(BadTransitOption::Key)));
        assert!(matches!(
            with(|options| options.namespace = Some("a\nb".to_owned())),
            Err(BadTransitOption::Namespace)
        ));
        assert!(matches!(with(|options| options.attempts = 0), Err(BadTransitOption::Attempts)));
    }
}
