//! Why something stopped. Every way to stop is classified here; the class is
//! the only input to the restart strategy.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The guest trapped: a panic, an unreachable instruction, a bad access.
    GuestTrap,
    /// The guest was refused memory and gave up.
    OutOfMemory,
    /// The guest did not return within its deadline.
    DeadlineExceeded,
    /// The guest said that it cannot go on (`err`).
    GuestError,
    /// What the guest returned breaks the contract.
    InvalidOutcome,
    /// A source or sink cannot go on.
    ConnectorFailure,
    /// Too many records were rejected.
    TooManyRejected,
    /// Too many records crashed the guest, each alone.
    TooMuchPoison,
    /// A checkpoint could not be written or read.
    CheckpointFailure,
    /// The artifact cannot be run: it is not a component, or asks too much.
    BadArtifact,
    /// The host itself is at fault.
    HostBug,
}

/// Who has to do something about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The operator's author.
    Operator,
    /// Whoever feeds the job, or runs the systems around it.
    Environment,
    /// Us.
    Host,
}

impl Fault {
    /// As programs read it, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Environment => "environment",
            Self::Host => "host",
        }
    }
}

impl FailureKind {
    /// Who has to do something.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::GuestTrap
            | Self::OutOfMemory
            | Self::DeadlineExceeded
            | Self::GuestError
            | Self::InvalidOutcome
            | Self::TooMuchPoison
            | Self::BadArtifact => Fault::Operator,
            Self::ConnectorFailure | Self::TooManyRejected | Self::CheckpointFailure => {
                Fault::Environment
            }
            Self::HostBug => Fault::Host,
        }
    }

    /// Whether running again from the last checkpoint may help at all.
    #[must_use]
    pub fn may_retry_help(self) -> bool {
        !matches!(
            self,
            Self::BadArtifact | Self::TooManyRejected | Self::TooMuchPoison | Self::HostBug
        )
    }

    /// Whether the guest did not answer a call, or not as the contract says: what may
    /// be the fault of the very records of that call.
    #[must_use]
    pub fn breaks_call(self) -> bool {
        matches!(
            self,
            Self::GuestTrap
                | Self::OutOfMemory
                | Self::DeadlineExceeded
                | Self::GuestError
                | Self::InvalidOutcome
        )
    }

    /// Whether the instance is gone in a way that may be its slot's fault.
    #[must_use]
    pub fn is_crash(self) -> bool {
        matches!(self, Self::GuestTrap | Self::OutOfMemory | Self::DeadlineExceeded)
    }

    /// The class as programs read it, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::GuestTrap => "guest-trap",
            Self::OutOfMemory => "out-of-memory",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::GuestError => "guest-error",
            Self::InvalidOutcome => "invalid-outcome",
            Self::ConnectorFailure => "connector-failure",
            Self::TooManyRejected => "too-many-rejected",
            Self::TooMuchPoison => "too-much-poison",
            Self::CheckpointFailure => "checkpoint-failure",
            Self::BadArtifact => "bad-artifact",
            Self::HostBug => "host-bug",
        }
    }

    /// The class as people read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::GuestTrap => "guest trap",
            Self::OutOfMemory => "out of memory",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::GuestError => "guest error",
            Self::InvalidOutcome => "invalid outcome",
            Self::ConnectorFailure => "connector failure",
            Self::TooManyRejected => "too many rejected records",
            Self::TooMuchPoison => "too many poison records",
            Self::CheckpointFailure => "checkpoint failure",
            Self::BadArtifact => "bad artifact",
            Self::HostBug => "host bug",
        }
    }
}

/// A classified failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its class.
    pub kind: FailureKind,
    /// What happened and what to do, for people.
    pub message: String,
    /// Guest frames, innermost first, where there are any.
    pub backtrace: Vec<String>,
}

impl Failure {
    /// A failure without a backtrace.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), backtrace: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.message)?;
        for frame in &self.backtrace {
            write!(f, "\n    at {frame}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
