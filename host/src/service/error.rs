//! Why the service does not do what it is asked: one list, from which the way in makes its
//! answers. What is said here is for whoever asks; what is for whoever runs the service is logged
//! where it happens.

use std::io;

use crate::{
    config::JobFileErrors,
    connectors::http_source::BadLine,
    database::guarded::is_full,
    ids::{InvalidName, TenantId},
    registry::{RegistryError, records::Role},
    tenancy::disk::OverDisk,
};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is none; or it is another tenant's, which is the same to whoever asks.
    #[error("there is no {0}")]
    NotFound(String),
    /// The token's role is too low.
    #[error("this needs a token of role `{}` or higher, and this one is `{}`", needs.word(), has.word())]
    Forbidden {
        /// What it takes.
        needs: Role,
        /// What there is.
        has: Role,
    },
    /// The token is a tenant's, and this is for those who run the server.
    #[error("this needs a token for every tenant, and this one is of tenant `{0}`")]
    OfTenant(TenantId),
    /// Something that was given is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// It does not go with how things are now.
    #[error("{0}")]
    Conflict(String),
    /// A condition that the request made does not hold.
    #[error("{0}")]
    PreconditionFailed(String),
    /// The job file has mistakes.
    #[error("the job file has mistakes")]
    JobFile(JobFileErrors),
    /// The job file is sound, and the job cannot run here.
    #[error("the job cannot run here: {0}")]
    JobRefused(String),
    /// The component is none that can be run.
    #[error("the artifact is refused: {0}")]
    ArtifactRefused(String),
    /// A signature is not right, or missing.
    #[error("the artifact is refused: {0}")]
    SignatureRefused(String),
    /// It is longer than it may be.
    #[error("{what} may have {limit} bytes at most")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How many bytes.
        limit: u64,
    },
    /// The tenant has as much of it as it may have.
    #[error("{0}")]
    OverQuota(String),
    /// There is too much going on; it may work later.
    #[error("{0}")]
    Busy(String),
    /// What was posted is not all records.
    #[error("{}", super::intake::describe(.0))]
    BadRecords(Vec<BadLine>),
    /// An idempotency key stands for something else already.
    #[error("{0}")]
    KeyReused(String),
    /// A source holds as much as it may; there will be room later.
    #[error("{0}")]
    Full(String),
    /// The job did not do it, and said why.
    #[error("{0}")]
    JobSaysNo(String),
    /// It takes longer than anybody waits for an answer.
    #[error("{0}")]
    NotYet(String),
    /// There is no room on the server's disk.
    #[error(
        "the server's disk is full: try again when whoever runs it has made room (the condition \
         `DiskFull` of `/v1/overview` is over then)"
    )]
    DiskFull,
    /// The tenant keeps as much on disk as it may.
    #[error("{0}")]
    DiskQuota(String),
    /// The service is ending, or has no disk to write to.
    #[error("{0}")]
    Unavailable(String),
    /// It is our fault.
    #[error("{0}")]
    Internal(String),
}

impl From<RegistryError> for ServiceError {
    fn from(error: RegistryError) -> Self {
        tracing::error!("{error}");
        if is_full(&error.to_string()) {
            return Self::DiskFull;
        }
        Self::Unavailable(
            "what the service remembers cannot be read or written at the moment; its log says why"
                .to_owned(),
        )
    }
}

impl From<InvalidName> for ServiceError {
    fn from(error: InvalidName) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<OverDisk> for ServiceError {
    fn from(over: OverDisk) -> Self {
        Self::DiskQuota(over.to_string())
    }
}

impl ServiceError {
    /// The disk says no, while doing this.
    pub(super) fn disk(doing: &str) -> impl Fn(io::Error) -> Self {
        move |error| {
            tracing::error!("{doing}: {error}");
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
                _ => Self::Unavailable(format!("{doing} did not work; the server's log says why")),
            }
        }
    }
}
