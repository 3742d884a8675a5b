//! Profiles of LCP: how the hash of a passphrase becomes a user key.

use crate::{PassphraseHash, UserKey};

/// One profile. Those for production differ from the basic one in a secret transform, which its licensee gets under contract, and in the authority that
/// signs certificates; nothing else here depends on the profile.
pub trait Profile {
    /// The URI by which licences name it.
    fn uri(&self) -> &str;

    /// The key that content keys and user data are wrapped under.
    fn user_key(&self, hash: &PassphraseHash) -> UserKey;
}

/// The basic profile: the hash is the key. For tests and for readers' builds that accept it; all of its strength is in the passphrase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicProfile;

/// The URI of [`BasicProfile`].
pub const BASIC_PROFILE: &str = "http://readium.org/lcp/basic-profile";

impl Profile for BasicProfile {
    fn uri(&self) -> &str {
        BASIC_PROFILE
    }

    fn user_key(&self, hash: &PassphraseHash) -> UserKey {
        UserKey::from(*hash.expose())
    }
}
