//! AWS Signature Version 4, in the Authorization header.
//!
//! Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", S3 API reference; the tests are its examples.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A key pair and the region it signs for.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Public half.
    pub access_key: String,
    /// Secret half.
    pub secret_key: String,
    /// Such as `us-east-1`.
    pub region: String,
}

/// Signs requests; keeps the key of the day.
#[derive(Clone, Debug)]
pub struct Signer {
    credentials: Credentials,
    /// The day (yyyymmdd) and its signing key.
    key: Option<(String, [u8; 32])>,
}

/// What is to be signed. `path` and `query` are already encoded, `query` is sorted, and `headers` have lower-case names and are sorted.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// From [`encode_path`].
    pub path: &'a str,
    /// From [`encode_query`], or empty.
    pub query: &'a str,
    /// Every header that is to be covered, `host`, `x-amz-content-sha256` and `x-amz-date` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// Hex SHA-256 of the body, or `UNSIGNED-PAYLOAD`.
    pub payload: &'a str,
    /// When.
    pub date: &'a str,
}

impl Signer {
    /// A signer for one key pair.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, key: None }
    }

    /// The value of the Authorization header.
    #[must_use]
    pub fn authorize(&mut self, request: &Signed<'_>) -> String {
        let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = [request.method, request.path, request.query, &headers, &names, request.payload].join("\n");
        let day = &request.date[..8];
        let region = &self.credentials.region;
        let scope = format!("{day}/{region}/s3/aws4_request");
        let text = ["AWS4-HMAC-SHA256", request.date, &scope, &hex::encode(Sha256::digest(canonical))].join("\n");
        let signature = hex::encode(mac(&self.day_key(day), text.as_bytes()));
        let access_key = &self.credentials.access_key;
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}")
    }

    fn day_key(&mut self, day: &str) -> [u8; 32] {
        match &self.key {
            Some((known, key)) if known == day => *key,
            _ => {
                let secret = format!("AWS4{}", self.credentials.secret_key);
                let dated = mac(secret.as_bytes(), day.as_bytes());
                let key = mac(&mac(&mac(&dated, self.credentials.region.as_bytes()), b"s3"), b"aws4_request");
                self.key = Some((day.to_owned(), key));
                key
            }
        }
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The date of a request, as `x-amz-date` has it: `20130524T000000Z`.
#[must_use]
pub(super) fn amz_date(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day after 1970-01-01. Eras of 400 years begin on a 1st of March, so that the leap day ends its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Encodes a path as S3 signs it: every byte but letters, digits and `-._~/`.
#[must_use]
pub fn encode_path(path: &str) -> String {
    encode(path, true)
}

/// Encodes and sorts the pairs of a query.
#[must_use]
pub fn encode_query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false))).collect();
    encoded.sort();
    encoded.join("&")
}

fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keep_slash => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn example() -> Signer {
        Signer::new(Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            region: "us-east-1".into(),
        })
    }

    fn signature(authorization: &str) -> &str {
        authorization.rsplit("Signature=").next().expect("it has one")
    }

    #[test]
    fn get_object_example_of_the_reference() {
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let request = Signed {
            method: "GET",
            path: "/test.txt",
            query: "",
            headers: &headers,
            payload: EMPTY,
            date: "20130524T000000Z",
        };
        let authorization = example().authorize(&request);
        assert_eq!(signature(&authorization), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn list_objects_example_of_the_reference() {
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let query = encode_query(&[("prefix", "J"), ("max-keys", "2")]);
        let request = Signed {
            method: "GET",
            path: "/",
            query: &query,
            headers: &headers,
            payload: EMPTY,
            date: "20130524T000000Z",
        };
        let authorization = example().authorize(&request);
        assert_eq!(signature(&authorization), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn dates_are_civil() {
        let at = |seconds| amz_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(951_782_400), "20000229T000000Z");
        assert_eq!(at(1_369_353_600), "20130524T000000Z");
        assert_eq!(at(1_798_761_599), "20261231T235959Z");
    }

    #[test]
    fn paths_keep_their_slashes() {
        assert_eq!(encode_path("/b/a b/史庫+"), "/b/a%20b/%E5%8F%B2%E5%BA%AB%2B");
        assert_eq!(encode_query(&[("prefix", "a/b"), ("list-type", "2")]), "list-type=2&prefix=a%2Fb");
    }
}
