//! What the gateway keeps of a request while the library has it.

use crate::body::BodyWatch;
use crate::s3_error::WireError;
use gateway_core::Caller;
use s3s::{S3Request, S3Result};
use std::sync::{Arc, OnceLock};

/// One request. Travels with it as an extension.
#[derive(Debug)]
pub(crate) struct Request {
    /// For logs and for `x-amz-request-id`.
    pub(crate) id: String,
    /// What became of its body.
    pub(crate) body: Arc<BodyWatch>,
    operation: OnceLock<String>,
    caller: OnceLock<Caller>,
}

impl Request {
    pub(crate) fn new(id: String, body: Arc<BodyWatch>) -> Arc<Self> {
        Arc::new(Request { id, body, operation: OnceLock::new(), caller: OnceLock::new() })
    }

    pub(crate) fn set_operation(&self, name: String) {
        // There is one operation; a second call would name the same.
        drop(self.operation.set(name));
    }

    pub(crate) fn operation(&self) -> &str {
        self.operation.get().map_or("Unknown", String::as_str)
    }

    pub(crate) fn set_caller(&self, caller: Caller) {
        drop(self.caller.set(caller));
    }
}

/// The request behind what the library hands to an operation.
pub(crate) fn of<T>(request: &S3Request<T>) -> S3Result<Arc<Request>> {
    Ok(request.extensions.get::<Arc<Request>>().cloned().ok_or(WireError::AccessDenied)?)
}

/// Whom the gate has let through; nobody gets to an operation without having been there.
pub(crate) fn caller<T>(request: &S3Request<T>) -> S3Result<Caller> {
    Ok(of(request)?.caller.get().cloned().ok_or(WireError::AccessDenied)?)
}
