//! The token by which an engine knows this gateway.

use gateway_core::secret_file::{self, SecretFileError};
use http::HeaderValue;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a token's file. Those that carry their rights in them have a few thousand.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Its file cannot be read, or others can read it too.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Not one word.
    #[error("{0} holds no token")]
    NoToken(PathBuf),
}

/// A token. It does not print itself.
pub(super) struct Token(Zeroizing<String>);

impl Token {
    /// Reads it. An agent that renews tokens writes the file anew whenever it likes, so it is read for each request.
    pub(super) fn load(path: &Path) -> Result<Self, TokenError> {
        let text = secret_file::read_text(path, TOKEN_BYTES_MAX)?;
        let token = text.trim();
        let is_word = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_word.then(|| Token(Zeroizing::new(token.to_owned()))).ok_or_else(|| TokenError::NoToken(path.to_owned()))
    }

    /// For the header of a request.
    pub(super) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Whether a text holds it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        text.contains(self.0.as_str())
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}
