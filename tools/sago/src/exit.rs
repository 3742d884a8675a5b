//! How a command ends: the one place where errors become exit codes.
//!
//! 0 done, 1 failed, 2 wrong usage or configuration, 3 not found, 4 the cluster did not answer, 5 damage was found, 6 it could not be
//! checked. Scripts rely on them.

use crate::config::ConfigError;
use cluster_client::CallError;
use gateway_core::{
    BodyError, BucketError, ClusterError, MultipartError, ObjectError, ProtectError, SealError, UploadError,
};
use proto::control::ControlRefusal;
use serde_json::json;
use std::process::ExitCode;

/// What kind of failure, which is what the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was tried and did not work.
    Failed,
    /// It cannot be tried: wrong usage or configuration.
    Usage,
    /// What was asked for is not there.
    NotFound,
    /// The cluster did not answer in time; the same command may work later.
    Unavailable,
    /// What was checked is damaged.
    Damaged,
    /// It could not be checked: whether it is damaged is not known.
    Unchecked,
}

impl Kind {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Unavailable => 4,
            Kind::Damaged => 5,
            Kind::Unchecked => 6,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::NotFound => "not found",
            Kind::Unavailable => "unavailable",
            Kind::Damaged => "damaged",
            Kind::Unchecked => "unchecked",
        }
    }
}

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// For people: what was not done and why.
    pub message: String,
}

/// What a command returns.
pub type Done<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of some kind.
    pub fn new(kind: Kind, message: impl ToString) -> Self {
        Failure { kind, message: message.to_string() }
    }

    /// It was tried and did not work. The causes of `error` are part of the message.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Failure::new(Kind::Failed, format!("{:#}", error.into()))
    }

    /// The same failure, said with what was being done.
    #[must_use]
    pub fn while_doing(self, what: impl std::fmt::Display) -> Self {
        Failure { kind: self.kind, message: format!("{what}: {}", self.message) }
    }

    /// Tells people or, with `json`, programs, on standard error.
    pub fn report(&self, json: bool) -> ExitCode {
        if json {
            eprintln!("{}", json!({ "error": self.message, "kind": self.kind.name(), "code": self.kind.code() }));
        } else {
            eprintln!("sago: {}", self.message);
        }
        ExitCode::from(self.kind.code())
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::new(Kind::Usage, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        Failure::new(kind, error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::Unavailable | CallError::Unknown => Kind::Unavailable,
            CallError::TooLarge | CallError::Rejected(_) | CallError::Level { .. } => Kind::Failed,
        };
        Failure::new(kind, error)
    }
}

impl From<ControlRefusal> for Failure {
    fn from(refusal: ControlRefusal) -> Self {
        let kind = match &refusal {
            ControlRefusal::NoSuchBucket
            | ControlRefusal::NoSuchUser
            | ControlRefusal::NoSuchSession
            | ControlRefusal::NoSuchNode
            | ControlRefusal::NoSuchDisk
            | ControlRefusal::NoSuchGroup
            | ControlRefusal::NoSuchRaftGroup
            | ControlRefusal::NoSuchRule
            | ControlRefusal::NoSuchInvitation => Kind::NotFound,
            ControlRefusal::InvalidBucketName
            | ControlRefusal::InvalidName
            | ControlRefusal::Setting
            | ControlRefusal::BadVoters => Kind::Usage,
            ControlRefusal::NotBootstrapped => Kind::Unavailable,
            ControlRefusal::BucketExistsYours
            | ControlRefusal::BucketExists
            | ControlRefusal::KeyExists
            | ControlRefusal::StaleEpoch { .. }
            | ControlRefusal::WrongPhase
            | ControlRefusal::Move(_)
            | ControlRefusal::InUse
            | ControlRefusal::Gone
            | ControlRefusal::NodeExists
            | ControlRefusal::InvitationUsed
            | ControlRefusal::NodeBehind { .. }
            | ControlRefusal::Level { .. }
            | ControlRefusal::RuleExists
            | ControlRefusal::Rule(_)
            | ControlRefusal::RuleGroups
            | ControlRefusal::Limit => Kind::Failed,
        };
        Failure::new(kind, refusal)
    }
}

pub fn cluster_kind(error: &ClusterError) -> Kind {
    match error {
        ClusterError::Unavailable | ClusterError::Busy => Kind::Unavailable,
        ClusterError::NoSpace
        | ClusterError::BreakerOpen
        | ClusterError::Lost(_)
        | ClusterError::Level { .. }
        | ClusterError::Unexpected(_) => Kind::Failed,
    }
}

fn bucket_kind(error: &BucketError) -> Kind {
    match error {
        BucketError::NoSuchBucket => Kind::NotFound,
        BucketError::InvalidName => Kind::Usage,
        BucketError::Cluster(error) => cluster_kind(error),
        BucketError::AccessDenied
        | BucketError::NotEmpty
        | BucketError::ExistsYours
        | BucketError::Exists
        | BucketError::TooMany => Kind::Failed,
    }
}

fn upload_kind(error: &UploadError) -> Kind {
    match error {
        UploadError::Cluster(error) => cluster_kind(error),
        UploadError::Seal(error) => seal_kind(error),
        UploadError::Body(BodyError::Busy) => Kind::Unavailable,
        UploadError::Body(_)
        | UploadError::TooLarge
        | UploadError::Md5Mismatch
        | UploadError::ChecksumMismatch(_)
        | UploadError::ChecksumMissing(_) => Kind::Failed,
    }
}

fn seal_kind(error: &SealError) -> Kind {
    match error {
        SealError::KeysUnavailable | SealError::Overtaken => Kind::Unavailable,
        SealError::NoKeys
        | SealError::NoSuchKek { .. }
        | SealError::KeysRefuse(_)
        | SealError::Unsealed
        | SealError::Damaged
        | SealError::TooManyRuns
        | SealError::Random => Kind::Failed,
    }
}

fn object_kind(error: &ObjectError) -> Kind {
    match error {
        ObjectError::Bucket(error) => bucket_kind(error),
        ObjectError::Seal(error) => seal_kind(error),
        ObjectError::Upload(error) => upload_kind(error),
        ObjectError::NoSuchKey | ObjectError::NoSuchPart => Kind::NotFound,
        ObjectError::KeyTooLong | ObjectError::InvalidKey => Kind::Usage,
        ObjectError::MetadataTooLarge
        | ObjectError::InvalidMetadata
        | ObjectError::PreconditionFailed
        | ObjectError::NotModified(_)
        | ObjectError::RangeNotSatisfiable { .. }
        | ObjectError::CopyOntoItself
        | ObjectError::SourceTooLarge
        | ObjectError::Changed => Kind::Failed,
    }
}

fn multipart_kind(error: &MultipartError) -> Kind {
    match error {
        MultipartError::Object(error) => object_kind(error),
        MultipartError::NoSuchUpload => Kind::NotFound,
        MultipartError::InvalidPartNumber
        | MultipartError::InvalidPart
        | MultipartError::InvalidPartOrder
        | MultipartError::PartTooSmall(_)
        | MultipartError::InvalidPartList
        | MultipartError::ChecksumKind
        | MultipartError::SizeMismatch => Kind::Failed,
    }
}

impl From<ProtectError> for Failure {
    fn from(error: ProtectError) -> Self {
        let kind = match &error {
            ProtectError::NotEmpty | ProtectError::Written => Kind::Failed,
            ProtectError::System => Kind::Usage,
            ProtectError::Bucket(error) => bucket_kind(error),
        };
        Failure::new(kind, error)
    }
}

impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        Failure::new(bucket_kind(&error), error)
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        Failure::new(object_kind(&error), error)
    }
}

impl From<MultipartError> for Failure {
    fn from(error: MultipartError) -> Self {
        Failure::new(multipart_kind(&error), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_can_tell_what_kind_of_failure_it_was() {
        let code = |failure: Failure| failure.kind.code();
        assert_eq!(code(ObjectError::NoSuchKey.into()), 3);
        assert_eq!(code(BucketError::NoSuchBucket.into()), 3);
        assert_eq!(code(CallError::Unavailable.into()), 4);
        assert_eq!(code(ObjectError::Upload(UploadError::Cluster(ClusterError::Busy)).into()), 4);
        assert_eq!(code(ConfigError::value("x", "y").into()), 2);
        assert_eq!(code(ControlRefusal::InvalidName.into()), 2);
        assert_eq!(code(BucketError::NotEmpty.into()), 1);
        assert_eq!(code(ControlRefusal::NotBootstrapped.into()), 4);
        assert_eq!((Kind::Damaged.code(), Kind::Unchecked.code()), (5, 6));
    }
}
