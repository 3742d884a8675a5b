//! Deleting objects.

use super::validate_key;
use crate::error::{ObjectError, object_refusal};
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Command, Outcome, Refusal};
use proto::object::Precondition;

/// What became of one key: whether something was deleted, or why not.
pub type Deleted = Result<bool, ObjectError>;

impl Store {
    /// Deletes an object; a key that does not exist is no error.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn delete(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        precondition: Precondition,
    ) -> Result<bool, ObjectError> {
        validate_key(key)?;
        let mut deleted = self.delete_many(caller, bucket, &[key.to_owned()], precondition).await?;
        deleted.pop().unwrap_or(Ok(false))
    }

    /// Deletes up to 1,000 objects; answers one by one, in order.
    ///
    /// # Errors
    /// [`ObjectError`]: nothing was deleted.
    pub async fn delete_many(
        &self,
        caller: &Caller,
        bucket: &str,
        keys: &[String],
        precondition: Precondition,
    ) -> Result<Vec<Deleted>, ObjectError> {
        let bucket = self.bucket(caller, bucket).await?;
        let checked: Vec<_> = keys.iter().map(|key| validate_key(key)).collect();
        let valid: Vec<_> = checked.iter().flatten().cloned().collect();
        let mut answers = self.delete_keys(&bucket, valid, precondition).await?.into_iter();
        let mut answer = || answers.next().unwrap_or_else(|| Err(surprise(&"fewer answers than keys").into()));
        Ok(checked.into_iter().map(|key| key.and_then(|_| answer())).collect())
    }

    /// One command, and further ones for the keys that were too much for it.
    async fn delete_keys(
        &self,
        bucket: &BucketInfo,
        keys: Vec<Bytes>,
        precondition: Precondition,
    ) -> Result<Vec<Deleted>, ObjectError> {
        let mut done: Vec<Deleted> = Vec::with_capacity(keys.len());
        while done.len() < keys.len() {
            let rest = keys[done.len()..].to_vec();
            let command = Command::DeleteObjects { bucket: bucket.id, keys: rest, precondition: precondition.clone() };
            let answers = match self.command(bucket, command).await? {
                Ok(Outcome::Deleted(answers)) => answers,
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(object_refusal(&refusal)),
            };
            let before = done.len();
            let in_time = answers.into_iter().take_while(|answer| *answer != Err(Refusal::TooLarge));
            done.extend(in_time.map(|answer| answer.map_err(|refusal| object_refusal(&refusal))));
            if done.len() == before {
                return Err(surprise(&"not one key could be deleted").into());
            }
        }
        Ok(done)
    }
}
