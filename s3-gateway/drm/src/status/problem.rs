//! How a refusal is told to a client: problem details.
//!
//! Source: RFC 7807; LSD 1.0, section 3.4. The type for revoking and cancelling is that of the reference server, since the standard leaves them to stores.

use super::Refusal;
use serde_json::{Value, json};

/// Media type of a problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";
const BASE: &str = "http://readium.org/license-status-document/error/";

/// A problem as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: &'static str,
    /// Short, the same for every problem of its type.
    pub title: &'static str,
    /// Of HTTP.
    pub status: u16,
    /// What is wrong in this case.
    pub detail: String,
}

impl Problem {
    /// There is no such licence.
    #[must_use]
    pub fn not_found() -> Self {
        Problem::new("notfound", 404, "There is no such licence", String::new())
    }

    /// The server failed. What went wrong is for its log and not for clients.
    #[must_use]
    pub fn server() -> Self {
        Problem::new("server", 500, "The server failed", String::new())
    }

    fn new(kind: &'static str, status: u16, title: &'static str, detail: String) -> Self {
        Problem { kind, title, status, detail }
    }

    /// The URI of its type.
    #[must_use]
    pub fn type_uri(&self) -> String {
        format!("{BASE}{}", self.kind)
    }

    /// As it is sent.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut problem = json!({ "type": self.type_uri(), "title": self.title, "status": self.status });
        if !self.detail.is_empty() {
            problem["detail"] = self.detail.as_str().into();
        }
        problem
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        const REGISTER: &str = "The device could not be registered";
        const RENEW: &str = "The loan could not be renewed";
        const RETURN: &str = "The loan could not be returned";
        let (kind, status, title) = match refusal {
            Refusal::RegisterDevice(_) => ("registration", 400, REGISTER),
            Refusal::RegisterClosed(_) | Refusal::RegisterDevices { .. } | Refusal::RegisterFull => {
                ("registration", 403, REGISTER)
            }
            Refusal::RenewDevice(_) => ("renew", 400, RENEW),
            Refusal::RenewNoLoan | Refusal::RenewClosed(_) | Refusal::RenewOff | Refusal::RenewFull => {
                ("renew", 403, RENEW)
            }
            Refusal::RenewDate { .. } => ("renew/date", 403, "The loan cannot end at that date"),
            Refusal::ReturnDevice(_) | Refusal::ReturnNoLoan | Refusal::ReturnRevoked => ("return", 400, RETURN),
            Refusal::ReturnAlready => ("return/already", 403, "The loan was returned before"),
            Refusal::ReturnExpired => ("return/expired", 403, "The loan has expired"),
            Refusal::RevokeFinal(_) | Refusal::CancelNotReady(_) => {
                ("cancel", 400, "The licence could not be cancelled")
            }
        };
        Problem::new(kind, status, title, refusal.to_string())
    }
}
