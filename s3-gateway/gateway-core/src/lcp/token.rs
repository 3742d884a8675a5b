//! Download tokens: what a store puts into a reader's link instead of its own key.
//!
//! Form: `docs/formats/downloads.md`.
//!
//! ```text
//! version 1 | generation 4 | issued 8 | expires 8 | licence 16 | id 15 | HMAC-SHA256 of all before 32        84 bytes, 112 characters of base64url
//! ```
//! Numbers are big-endian, times are seconds since 1970. A token opens one licence, until it expires or [`LcpConfig::token_downloads`](super::LcpConfig) whole copies
//! were sent for it. Any gateway checks any token, without asking for it: the secret of a *generation* is the same everywhere ([`secrets`]), and which licence may
//! be downloaded at all is asked anew each time.
//!
//! The clock is the gateway's. Gateways of one cluster may differ by [`SKEW_SECONDS_MAX`].

mod secrets;

pub(super) use secrets::TokenSecrets;

use super::{LcpError, Lending};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drm::licence::LicenceId;
use ring::hmac;
use std::fmt;
use std::time::Duration;
use types::Timestamp;

const VERSION: u8 = 1;
const ID_BYTES: usize = 15;
const SIGNED_BYTES: usize = 1 + 4 + 8 + 8 + 16 + ID_BYTES;
const TOKEN_BYTES: usize = SIGNED_BYTES + 32;
/// Characters of a token.
pub const TOKEN_TEXT_BYTES: usize = TOKEN_BYTES / 3 * 4;
const _: () = assert!(TOKEN_BYTES.is_multiple_of(3), "no character has bits to spare");
/// How much the clocks of two gateways may differ. A token that seems to be from later than that was not issued by one of them.
pub const SKEW_SECONDS_MAX: i64 = 60;

/// Tells tokens apart, for counting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub(super) [u8; ID_BYTES]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is no token, was changed, or is of a secret that does not count any more.
    #[error("the token is not one of this store")]
    Foreign,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is from the future.
    #[error("the token is not valid yet")]
    Early,
    /// It is for another licence.
    #[error("the token is for another licence")]
    OtherLicence,
    /// All that it was good for was sent.
    #[error("the token is used up")]
    Spent,
}

/// A token that was found good, for the licence that it was checked with. That it is used up shows when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub(super) licence: LicenceId,
    pub(super) id: TokenId,
    pub(super) expires: Timestamp,
}

/// A token as it is given out. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// [`TOKEN_TEXT_BYTES`] of `A-Z a-z 0-9 - _`.
    pub text: String,
    /// When it ends.
    pub expires: Timestamp,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedToken(secret, until {})", self.expires.secs())
    }
}

impl Lending {
    /// Makes a token for a licence that is open, good for `ttl`, in whole seconds.
    ///
    /// # Errors
    /// [`LcpError::Invalid`]: a life of no seconds, or of more than [`LcpConfig::token_max`](super::LcpConfig). [`LcpError::Closed`] as for a download; one that
    /// is not valid yet gets a token for the day that it is.
    pub async fn issue_token(&self, licence: LicenceId, ttl: Duration) -> Result<IssuedToken, LcpError> {
        let max = self.config.token_max.as_secs();
        if !(1..=max).contains(&ttl.as_secs()) {
            return Err(LcpError::invalid("ttl", format_args!("1 to {max} seconds")));
        }
        let now = self.config.clock.now();
        let state = self.licence(licence).await?.value.status.state_at(now);
        if !state.is_open() {
            return Err(LcpError::Closed(state.name()));
        }
        let (generation, key) = self.newest_secret().await?;
        let issued = now.secs();
        let expires = issued.saturating_add(ttl.as_secs() as i64);
        let text = written((generation, &key), (issued, expires), licence, rand::random());
        Ok(IssuedToken { text, expires: Timestamp::from_secs(expires, 0) })
    }

    /// Checks a token that somebody shows for a licence. Takes the same time whatever is wrong with its signature.
    ///
    /// # Errors
    /// [`LcpError::Token`]; the cluster's and the key service's, if the secrets are not at hand.
    pub async fn check_token(&self, text: &str, licence: LicenceId) -> Result<Token, LcpError> {
        let claims = Claims::parse(text).ok_or(TokenFault::Foreign)?;
        let key = self.secret_of(claims.generation).await?.ok_or(TokenFault::Foreign)?;
        hmac::verify(&key, &claims.signed, &claims.tag).map_err(|_| TokenFault::Foreign)?;
        let longest = self.config.token_max.as_secs() as i64;
        Ok(claims.judge(licence, self.config.clock.now(), longest)?)
    }
}

/// A token of a secret, from the second of its issue to that of its end.
fn written(
    (generation, key): (u32, &hmac::Key),
    (issued, expires): (i64, i64),
    licence: LicenceId,
    id: [u8; ID_BYTES],
) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes.extend_from_slice(&issued.to_be_bytes());
    bytes.extend_from_slice(&expires.to_be_bytes());
    bytes.extend_from_slice(&licence.to_bytes());
    bytes.extend_from_slice(&id);
    let tag = hmac::sign(key, &bytes);
    bytes.extend_from_slice(tag.as_ref());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a text claims to be.
struct Claims {
    signed: [u8; SIGNED_BYTES],
    tag: [u8; TOKEN_BYTES - SIGNED_BYTES],
    generation: u32,
    issued: i64,
    expires: i64,
    licence: [u8; 16],
    id: [u8; ID_BYTES],
}

impl Claims {
    fn parse(text: &str) -> Option<Self> {
        if text.len() != TOKEN_TEXT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, tag) = bytes.split_first_chunk::<SIGNED_BYTES>()?;
        let (version, rest) = signed.split_first_chunk::<1>()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (licence, id) = rest.split_first_chunk()?;
        (*version == [VERSION]).then_some(Claims {
            signed: *signed,
            tag: tag.try_into().ok()?,
            generation: u32::from_be_bytes(*generation),
            issued: i64::from_be_bytes(*issued),
            expires: i64::from_be_bytes(*expires),
            licence: *licence,
            id: id.try_into().ok()?,
        })
    }

    /// Of a token whose signature is right.
    fn judge(&self, licence: LicenceId, now: Timestamp, longest: i64) -> Result<Token, TokenFault> {
        let now = now.secs();
        if self.licence != licence.to_bytes() {
            return Err(TokenFault::OtherLicence);
        }
        if self.issued > now.saturating_add(SKEW_SECONDS_MAX) {
            return Err(TokenFault::Early);
        }
        // One that was issued when tokens lived longer ends when one of today would.
        let expires = self.expires.min(self.issued.saturating_add(longest));
        if now >= expires {
            return Err(TokenFault::Expired);
        }
        Ok(Token { licence, id: TokenId(self.id), expires: Timestamp::from_secs(expires, 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(issued: i64, expires: i64) -> Claims {
        let (signed, tag) = ([0; SIGNED_BYTES], [0; 32]);
        Claims { signed, tag, generation: 1, issued, expires, licence: id().to_bytes(), id: [7; ID_BYTES] }
    }

    fn id() -> LicenceId {
        "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id")
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs, 999)
    }

    #[test]
    fn a_token_is_good_from_its_issue_less_the_skew_to_the_second_of_its_end() {
        let judge = |now| claims(1000, 1100).judge(id(), at(now), 3600).map(|token| token.expires.secs());
        assert_eq!(judge(1000), Ok(1100));
        assert_eq!(judge(1099), Ok(1100));
        assert_eq!(judge(1100), Err(TokenFault::Expired));
        assert_eq!(judge(1000 - SKEW_SECONDS_MAX), Ok(1100));
        assert_eq!(judge(999 - SKEW_SECONDS_MAX), Err(TokenFault::Early));
    }

    #[test]
    fn a_life_longer_than_is_allowed_today_is_cut() {
        let judge = |now| claims(1000, i64::MAX).judge(id(), at(now), 50).map(|token| token.expires.secs());
        assert_eq!((judge(1049), judge(1050)), (Ok(1050), Err(TokenFault::Expired)));
        assert_eq!(claims(i64::MIN, i64::MAX).judge(id(), at(0), 50), Err(TokenFault::Expired));
        assert_eq!(claims(i64::MAX, i64::MAX).judge(id(), at(i64::MAX), 50), Err(TokenFault::Early));
    }

    #[test]
    fn the_bytes_of_a_token_are_pinned() {
        let secret: [u8; 32] = std::array::from_fn(|at| at as u8);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let id: [u8; ID_BYTES] = std::array::from_fn(|at| at as u8);
        let text = written((7, &key), (1_777_629_600, 1_777_630_200), self::id(), id);
        // Made by another program.
        let pinned = "AQAAAAcAAAAAafR5oAAAAABp9Hv4PwwaUpweS46KNw1rbz8qEAABAgMEBQYHCAkKCwwNDsSBNVLLdDP2MIlGcnaHzxUn3HMJXYgbiKFiqBDwQ2b6";
        assert_eq!(text, pinned);
        let claims = Claims::parse(pinned).expect("a token");
        assert_eq!((claims.generation, claims.issued, claims.expires), (7, 1_777_629_600, 1_777_630_200));
        assert_eq!((claims.licence, claims.id), (self::id().to_bytes(), id));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let good = URL_SAFE_NO_PAD.encode([&[VERSION][..], &[0; TOKEN_BYTES - 1]].concat());
        assert!(Claims::parse(&good).is_some());
        let other = URL_SAFE_NO_PAD.encode([&[2][..], &[0; TOKEN_BYTES - 1]].concat());
        let plus = format!("+{}", &good[1..]);
        let long = "A".repeat(1 << 20);
        for bad in ["", "A", &good[1..], &format!("{good}A"), &format!("{good}="), &other, &plus, &long] {
            assert!(Claims::parse(bad).is_none(), "{bad:.20}");
        }
    }
}
