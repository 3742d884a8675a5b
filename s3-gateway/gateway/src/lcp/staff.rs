//! Who may use the private routes: a store's back end, by an access key of the cluster.

use super::problem::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_core::{ACCESS_KEY_BYTES_MAX, PlainRead, Right, Store};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// Bytes of a secret key; ours have forty.
const SECRET_BYTES_MAX: usize = 256;

/// A user with the right that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staff {
    /// His name.
    pub(crate) user: String,
}

/// Finds out who asks, by HTTP Basic, and whether he has the right.
pub(super) async fn authenticate(store: &Store, headers: &HeaderMap, right: &Right) -> Result<Staff, Problem> {
    let (access_key, secret) = credentials(headers).ok_or_else(Problem::unauthorised)?;
    let key = store.access_key(&access_key).await?.ok_or_else(Problem::unauthorised)?;
    if !bool::from(key.secret_key.as_bytes().ct_eq(secret.as_bytes())) {
        return Err(Problem::unauthorised());
    }
    let rights = store.rights_of(&key.user).await.map_err(gateway_core::lcp::LcpError::from)?;
    let has = match right {
        Right::PlainRead(Some(bucket)) => rights.reads_plain(bucket),
        Right::PlainRead(None) => rights.plain_read == PlainRead::All,
        Right::Lend => rights.lend,
        // Whoever lends may hand out what was lent.
        Right::Download => rights.download || rights.lend,
    };
    if !has {
        return Err(Problem::forbidden("the user of this key has not been given the right"));
    }
    Ok(Staff { user: key.user.clone() })
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let encoded = encoded.trim();
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > 2 * (ACCESS_KEY_BYTES_MAX + SECRET_BYTES_MAX) {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (access_key, secret) = text.split_once(':')?;
    let good = access_key.len() <= ACCESS_KEY_BYTES_MAX && secret.len() <= SECRET_BYTES_MAX;
    good.then(|| (access_key.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().expect("a header"));
        credentials(&headers)
    }

    #[test]
    fn basic_is_a_name_and_a_secret() {
        assert_eq!(of("Basic YTpiOmM="), Some(("a".into(), "b:c".into())));
        assert_eq!(of("bAsIc YTpi"), Some(("a".into(), "b".into())));
        let long = format!("Basic {}", STANDARD.encode("a".repeat(3000)));
        for bad in ["Bearer YTpi", "Basic YTpi YTpi", "Basic", "Basic ===", "Basic YWI=", long.as_str()] {
            assert_eq!(of(bad), None, "{bad:.20}");
        }
    }
}
