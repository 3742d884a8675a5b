//! Who is it: secrets for the library's check of the signature, and the one gate behind it.

use crate::request::Request;
use crate::s3_error::{self, WireError};
use gateway_core::{Caller, Store};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use std::sync::Arc;

/// Looks secrets up in the control group.
pub(crate) struct Keys(pub(crate) Store);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.access_key(access_key).await {
            Ok(Some(key)) => Ok(SecretKey::from(key.secret_key.as_str())),
            Ok(None) => Err(WireError::InvalidAccessKey.into()),
            Err(error) => Err(s3_error::cluster(&error)),
        }
    }
}

/// Lets nobody through without a user, and notes who it is and what is wanted.
pub(crate) struct Gate(pub(crate) Store);

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let Some(request) = context.extensions_mut().get::<Arc<Request>>().cloned() else {
            return Err(s3_error!(InternalError, "the request was not prepared"));
        };
        request.set_operation(operation);
        let credentials = context.credentials().ok_or(WireError::AccessDenied)?;
        let key = self.0.access_key(&credentials.access_key).await.map_err(|error| s3_error::cluster(&error))?;
        let user = key.ok_or(WireError::AccessDenied)?.user.clone();
        let other = |name: &str| context.headers().get(name).is_some_and(|owner| owner != user.as_str());
        if other("x-amz-expected-bucket-owner") || other("x-amz-source-expected-bucket-owner") {
            return Err(WireError::AccessDenied.into());
        }
        request.set_caller(Caller { user });
        Ok(())
    }
}
