//! Deleting objects.

use super::validate_key;
use crate::error::{ObjectError, object_refusal};
use crate::store::{Caller, Store, surprise};
use proto::meta::{Command, Outcome};
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
        if valid.is_empty() {
            return Ok(checked.into_iter().map(|key| key.map(|_| false)).collect());
        }
        let command = Command::DeleteObjects { bucket: bucket.id, keys: valid, precondition };
        let mut answers = match self.command(&bucket, command).await? {
            Ok(Outcome::Deleted(answers)) => answers.into_iter(),
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(object_refusal(&refusal)),
        };
        let mut answer = || match answers.next() {
            Some(answer) => answer.map_err(|refusal| object_refusal(&refusal)),
            None => Err(surprise(&"fewer answers than keys").into()),
        };
        Ok(checked.into_iter().map(|key| key.and_then(|_| answer())).collect())
    }
}
