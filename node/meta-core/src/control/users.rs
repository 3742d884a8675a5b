//! Users and their key pairs.

use super::{Change, Step, UserRow};
use crate::key::Table;
use crate::key::control::{AccessKeyKey, UserKey};
use crate::row;
use proto::control::{AccessKey, ControlOutcome, ControlRefusal};

/// One answer lists them all.
const USERS_MAX: u32 = 8192;
/// One answer lists them all.
const KEYS_MAX: u32 = 8192;
/// Bytes of a user's name.
const USER_BYTES_MAX: usize = 64;
/// Bytes of either half of a key pair.
const KEY_BYTES_MAX: usize = 128;
/// A shorter secret can be guessed.
const SECRET_BYTES_MIN: usize = 8;

/// Whether `name` may name a user.
pub(super) fn is_user_name(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
}

/// Whether a key pair can be used in a signature: `/` and `,` would end the access key there.
fn is_key_pair(key: &AccessKey) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.access_key.len())
        && key.access_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
        && (SECRET_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.secret_key.len())
        && key.secret_key.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Change<'_> {
    /// Makes a user, or leaves the one of that name as it is.
    pub(super) fn create_user(&mut self, name: &str) -> Step<ControlOutcome> {
        if !is_user_name(name) {
            return Err(ControlRefusal::InvalidName.into());
        }
        if self.read(&UserKey(name))?.is_none() {
            if self.header.users >= USERS_MAX {
                return Err(ControlRefusal::Limit.into());
            }
            self.header.users += 1;
            self.write(&UserKey(name), &UserRow { created: self.now });
        }
        Ok(ControlOutcome::Done)
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Step<ControlOutcome> {
        self.read(&UserKey(name))?.ok_or(ControlRefusal::NoSuchUser)?;
        for (key, value) in super::table(&self.rows, Table::AccessKey)? {
            let pair = row::decode::<AccessKeyKey<'_>>(&key, &value)?;
            if pair.user == name {
                self.delete_key(&pair.access_key)?;
            }
        }
        self.header.users -= 1;
        self.remove(&UserKey(name));
        Ok(ControlOutcome::Done)
    }

    pub(super) fn create_key(&mut self, key: &AccessKey) -> Step<ControlOutcome> {
        self.read(&UserKey(&key.user))?.ok_or(ControlRefusal::NoSuchUser)?;
        if !is_key_pair(key) {
            return Err(ControlRefusal::InvalidName.into());
        }
        match self.read(&AccessKeyKey(&key.access_key))? {
            Some(there) if there == *key => return Ok(ControlOutcome::Done),
            Some(_) => return Err(ControlRefusal::KeyExists.into()),
            None if self.header.keys >= KEYS_MAX => return Err(ControlRefusal::Limit.into()),
            None => {}
        }
        self.header.keys += 1;
        self.write(&AccessKeyKey(&key.access_key), key);
        Ok(ControlOutcome::Done)
    }

    /// Deletes a key pair; a missing one is no error.
    pub(super) fn delete_key(&mut self, access_key: &str) -> Step<ControlOutcome> {
        let key = AccessKeyKey(access_key);
        if self.read(&key)?.is_some() {
            self.header.keys -= 1;
            self.remove(&key);
        }
        Ok(ControlOutcome::Done)
    }
}
