//! `[gateway.lcp]`: books that go out wrapped.

use super::ConfigError;
use crate::when::Length;
use gateway_core::lcp::LcpConfig;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// A length of time: `90s`, `30m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Length);

impl Span {
    fn duration(self) -> Duration {
        Duration::from_secs(self.0.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Span).map_err(serde::de::Error::custom)
    }
}

/// How books are lent. What is not given has the default of [`LcpConfig`]. Paths count from the folder of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LcpSection {
    /// Where readers reach the gateways: `https://books.example`. Stands in licences.
    pub base: String,
    /// The store, as licences name it: an http or https address.
    pub provider: String,
    /// The page that helps who has forgotten his passphrase.
    pub hint: String,
    /// Where readers find help: http, https, `mailto:` or `tel:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<String>,
    /// The provider's certificate, PEM or DER.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8 in PEM; other users must not be able to read it.
    pub key: PathBuf,
    /// The file of key-encryption keys; or `[gateway.lcp.transit]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kek: Option<PathBuf>,
    /// The service that has the key-encryption key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit: Option<TransitSection>,
    /// Titles that this gateway protects at a time, 0 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Days that a renewal adds; without it loans cannot be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_days: Option<u32>,
    /// Days after the issue at which a loan ends for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_days_max: Option<u32>,
    /// Devices of a licence above which it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_soft: Option<u32>,
    /// Devices above which none can register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_hard: Option<u32>,
    /// Downloads of one licence a day; 0: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_downloads: Option<u32>,
    /// Downloads of one title a minute; 0: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title_downloads: Option<u32>,
    /// Longest life of a download token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_max: Option<Span>,
    /// How long the records of downloads are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_audit: Option<Span>,
    /// How long a package that was replaced is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_replaced: Option<Span>,
}

/// A service that speaks the Transit engine of Vault and OpenBao.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitSection {
    /// Its address: `https://vault.example:8200`.
    pub address: String,
    /// Where the engine is mounted.
    #[serde(default = "default_mount")]
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// The file of the token; read anew when it changes.
    pub token_file: PathBuf,
    /// Certificates of the authority that the service's certificate is from, PEM; without it those of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

fn default_mount() -> String {
    "transit".to_owned()
}

impl LcpSection {
    /// The settings of the service.
    ///
    /// # Errors
    /// [`ConfigError`]: one is out of its range.
    pub fn config(&self) -> Result<LcpConfig, ConfigError> {
        let mut config = LcpConfig::new(&self.base, &self.provider, &self.hint);
        if let Some(support) = &self.support {
            let kind = if support.starts_with("http") { "text/html" } else { "text/plain" };
            config.provider.links.push(drm::licence::Link::new("support", support, kind));
        }
        config.policy.renew_days = self.renew_days;
        config.policy.renew_days_max = self.renew_days_max;
        config.policy.devices_soft = self.devices_soft;
        config.policy.devices_hard = self.devices_hard;
        if self.renew_days.is_none() {
            config.links.renew = None;
        }
        let limit = |given: Option<u32>, default| given.map_or(default, |max| (max > 0).then_some(max));
        config.licence_downloads = limit(self.licence_downloads, config.licence_downloads);
        config.title_downloads = limit(self.title_downloads, config.title_downloads);
        config.workers = self.workers.unwrap_or(config.workers);
        let span = |given: Option<Span>, default| given.map_or(default, Span::duration);
        config.token_max = span(self.token_max, config.token_max);
        config.keep_audit = span(self.keep_audit, config.keep_audit);
        config.keep_replaced = span(self.keep_replaced, config.keep_replaced);
        config.validate().map_err(|error| ConfigError::value("gateway.lcp", error.to_string()))?;
        if self.kek.is_some() == self.transit.is_some() {
            let what = "either kek, a file of key-encryption keys (`sago drm key new`), or [gateway.lcp.transit]";
            return Err(ConfigError::value("gateway.lcp", what));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "base = \"https://b.example\"\nprovider = \"https://s.example\"\nhint = \"https://s.example/h\"\n\
        certificate = \"c\"\nkey = \"k\"\n";

    fn read(text: &str) -> Result<LcpConfig, String> {
        let section: LcpSection = toml::from_str(text).map_err(|error| error.to_string())?;
        section.config().map_err(|error| error.to_string())
    }

    #[test]
    fn little_is_enough_and_the_rest_has_defaults() {
        let config = read(&format!("{LEAST}kek = \"kek\"")).expect("the least");
        assert_eq!((config.workers, config.licence_downloads, config.links.renew.is_none()), (1, Some(50), true));
        let more = "workers = 0\nlicence_downloads = 0\ntoken_max = \"2h\"\nrenew_days = 14\nsupport = \"mailto:a@b\"";
        let config = read(&format!("{LEAST}kek = \"kek\"\n{more}")).expect("more");
        assert_eq!((config.workers, config.licence_downloads, config.token_max.as_secs()), (0, None, 7200));
        assert!(config.links.renew.is_some() && config.provider.links.len() == 1);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let transit = "[transit]\naddress = \"https://v\"\nkey = \"k\"\ntoken_file = \"t\"";
        assert!(read(&format!("{LEAST}{transit}")).is_ok());
        assert!(read(LEAST).is_err_and(|error| error.contains("kek")));
        assert!(read(&format!("{LEAST}kek = \"kek\"\n{transit}")).is_err());
        for more in ["workers = 17", "token_max = \"soon\"", "licence = 1"] {
            assert!(read(&format!("{LEAST}kek = \"kek\"\n{more}")).is_err(), "{more}");
        }
        assert!(read(&format!("{LEAST}kek = \"kek\"").replace("https://b.example", "b.example")).is_err());
    }
}
