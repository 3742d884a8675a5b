//! How this store of books behaves.

use super::protection::ProtectionEvents;
use crate::config::ConfigError;
use crate::provider_key::ProviderKeys;
use drm::Signer;
use drm::licence::{HashForm, Provider};
use drm::status::{Language, Policy, RenewLink, StatusLinks};
use drm::zip::Limits;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// What time it is. Tests have their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's.
    #[must_use]
    pub fn system() -> Self {
        Clock::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_secs(i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_nanos())
        })
    }

    /// Another one.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Clock(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Whose key signs licences at present.
pub trait Signers: Send + Sync {
    /// The signer. Another one after certificate and key were read anew.
    fn current(&self) -> Arc<dyn Signer + Send + Sync>;
}

impl Signers for ProviderKeys {
    fn current(&self) -> Arc<dyn Signer + Send + Sync> {
        ProviderKeys::current(self)
    }
}

/// Settings of [`super::Lending`].
#[derive(Clone, Debug)]
pub struct LcpConfig {
    /// Where readers reach the gateways, without a slash at the end: `https://books.example`.
    pub base: String,
    /// What stands in all licences.
    pub provider: Provider,
    /// Where devices go with their requests.
    pub links: StatusLinks,
    /// What readers may do with loans.
    pub policy: Policy,
    /// How the hash of a publication is written.
    pub hash_form: HashForm,
    /// The language of messages to those who do not say theirs.
    pub language: Language,
    /// What a book may ask of the machine.
    pub limits: Limits,
    /// Titles that this gateway protects at a time, 0..=16; 0: others do it.
    pub workers: usize,
    /// How long a worker may be silent before another takes its title over.
    pub lease: Duration,
    /// How often workers look for what is to be done.
    pub poll: Duration,
    /// How often all is compared with what is stored: marked buckets with titles, titles with packages. One gateway of the cluster does it.
    pub sweep: Duration,
    /// Who hears what workers do.
    pub on_protection: ProtectionEvents,
    /// How long a package that was replaced is kept, for whoever holds a licence that names it.
    pub keep_replaced: Duration,
    /// How long packages are kept at least after their source was deleted; licences that are open keep them longer.
    pub keep_gone: Duration,
    /// Longest life of a download token.
    pub token_max: Duration,
    /// Whole downloads that one token is good for; ranges and resumed ones count by their bytes.
    pub token_downloads: u32,
    /// Downloads of one licence within a day; `None`: any number.
    pub licence_downloads: Option<u32>,
    /// Downloads of one title within a minute, all gateways together as far as they know; `None`: any number.
    pub title_downloads: Option<u32>,
    /// How long records of downloads are kept.
    pub keep_audit: Duration,
    /// How this gateway calls itself in records of downloads; at most 64 bytes.
    pub gateway: String,
    /// Bytes of central directories that are held in memory.
    pub directory_bytes_max: usize,
    /// What time it is.
    pub clock: Clock,
}

impl LcpConfig {
    /// The defaults for gateways that readers reach at `base`, for the store at `provider` (an `http` or `https` URI), whose page `hint` helps who has forgotten
    /// his passphrase.
    #[must_use]
    pub fn new(base: &str, provider: &str, hint: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        let at = |path: &str| format!("{base}/lsd/licenses/{{license_id}}/{path}");
        LcpConfig {
            provider: Provider {
                uri: provider.to_owned(),
                hint_href: Some(hint.to_owned()),
                status_href: Some(at("status")),
                links: Vec::new(),
            },
            links: StatusLinks {
                licence_href: format!("{base}/lcp/licenses/{{license_id}}/fresh"),
                register_href: Some(at("register")),
                renew: Some(RenewLink::Here(at("renew"))),
                return_href: Some(at("return")),
            },
            base,
            policy: Policy::default(),
            hash_form: HashForm::default(),
            language: Language::English,
            limits: Limits::default(),
            workers: 1,
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(2),
            sweep: Duration::from_secs(3600),
            on_protection: ProtectionEvents::default(),
            keep_replaced: Duration::from_secs(30 * 24 * 3600),
            keep_gone: Duration::from_secs(30 * 24 * 3600),
            token_max: Duration::from_secs(24 * 3600),
            token_downloads: 3,
            licence_downloads: Some(50),
            title_downloads: None,
            keep_audit: Duration::from_secs(400 * 24 * 3600),
            gateway: String::new(),
            directory_bytes_max: 64 << 20,
            clock: Clock::system(),
        }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`ConfigError`] for the first one outside.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |holds: bool, setting, range| holds.then_some(()).ok_or(ConfigError { setting, range });
        let web = self.base.starts_with("https://") || self.base.starts_with("http://");
        check(web && !self.base.ends_with('/'), "lcp.base", "an http or https address without a slash at its end")?;
        check(
            self.provider.check().is_ok(),
            "lcp.provider",
            "an http or https address, with links that are addresses",
        )?;
        check(self.links.check().is_ok(), "lcp.links", "addresses")?;
        check(self.workers <= 16, "lcp.workers", "0..=16")?;
        check((1..=3600).contains(&self.lease.as_secs()), "lcp.lease", "1 s..=1 h")?;
        let poll = Duration::from_millis(50)..=Duration::from_secs(600);
        check(poll.contains(&self.poll), "lcp.poll", "50 ms..=10 min")?;
        check((1..=30 * 24 * 3600).contains(&self.sweep.as_secs()), "lcp.sweep", "1 s..=30 days")?;
        check((1..=30 * 24 * 3600).contains(&self.token_max.as_secs()), "lcp.token_max", "1 s..=30 days")?;
        check(self.token_downloads >= 1, "lcp.token_downloads", "at least 1")?;
        check(self.licence_downloads != Some(0), "lcp.licence_downloads", "at least 1")?;
        check(self.title_downloads != Some(0), "lcp.title_downloads", "at least 1")?;
        check(self.gateway.len() <= 64, "lcp.gateway", "at most 64 bytes")?;
        check((1 << 20..=16 << 30).contains(&self.directory_bytes_max), "lcp.directory_bytes_max", "1 MiB..=16 GiB")
    }
}
