//! What the records are. Fields may be added, with `#[serde(default)]`; none may change its
//! meaning: what an older version of this program wrote goes on being read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::{
    ids::{
        ArtifactDigest, ArtifactName, CheckpointId, JobId, JobName, KeyId, OperatorName,
        SavepointName, TenantId, TokenId, VersionName,
    },
    signature::{PublicKey, Signature},
};

/// A version of an artifact that was uploaded. Never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// The artifact.
    pub name: ArtifactName,
    /// Which version of it.
    pub version: VersionName,
    /// The digest of its bytes, by which they are kept.
    #[serde(with = "as_text")]
    pub digest: ArtifactDigest,
    /// How many bytes.
    pub size: u64,
    /// When, in milliseconds since 1970.
    pub uploaded_at: i64,
    /// By which token.
    pub uploaded_by: Option<TokenId>,
    /// What was found out about it.
    pub inspection: Inspection,
    /// Who signed it, if anybody did.
    #[serde(default)]
    pub signed: Option<SignatureRecord>,
    /// What it has to do with what comes with the program: not kept, but found when it is looked
    /// up.
    #[serde(skip)]
    pub built_in: BuiltIn,
}

/// What a version has to do with the operators that come with the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BuiltIn {
    /// Nothing.
    #[default]
    No,
    /// It was uploaded under the name of one, and goes before it.
    Hides,
    /// It is one.
    Yes,
}

/// A signature that was right when it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRecord {
    /// With which key.
    pub key: KeyId,
    /// What that was called.
    pub name: String,
    /// It.
    pub signature: Signature,
}

/// A key that a tenant trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is called by.
    pub id: KeyId,
    /// What it is for, in words.
    pub name: String,
    /// It.
    pub key: PublicKey,
    /// When it was registered, in milliseconds since 1970.
    pub created_at: i64,
    /// By which token.
    pub created_by: Option<TokenId>,
}

impl Record for KeyRecord {
    const KIND: u8 = b'p';
    fn key(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.id.to_string()]
    }
}

/// What was found out about an artifact when it was uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The contract that it was built for: `cofferdam:operator@0.1.0`.
    pub contract: String,
    /// `processor` or `keyed-processor`.
    pub kind: String,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The interfaces with functions that it imports.
    pub imports: Vec<String>,
    /// Whether it says itself what its state is (`snapshot`).
    pub snapshot: bool,
    /// Whether two of its session windows can become one (`session-merge`).
    pub merge: bool,
    /// Why its memory cannot be saved without its help; empty if it can.
    pub memory_not_saved_because: Vec<String>,
    /// What it says it was written in, each with its version.
    #[serde(default)]
    pub languages: Vec<String>,
    /// What it says has worked on it.
    #[serde(default)]
    pub processed_by: Vec<String>,
    /// With which libraries for components it says it was made.
    #[serde(default)]
    pub sdks: Vec<String>,
    /// The core module that was uploaded, if this component was made of one: `sha256-` and 64
    /// hexadecimal digits.
    #[serde(default)]
    pub made_of: Option<String>,
}

impl Record for VersionRecord {
    const KIND: u8 = b'v';
    fn key(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.name.to_string(), self.version.to_string()]
    }
}

/// A name that points to a version, and may be moved to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which artifact.
    pub name: ArtifactName,
    /// The tag.
    pub tag: VersionName,
    /// Where it points.
    pub version: VersionName,
}

impl Record for TagRecord {
    const KIND: u8 = b't';
    fn key(&self) -> Vec<String> {
        vec![self.tenant.to_string(), self.name.to_string(), self.tag.to_string()]
    }
}

/// A job that was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its identifier.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is called.
    pub name: JobName,
    /// The job file, as it was submitted.
    pub file: String,
    /// What was changed of it: `NAME.KEY=VALUE`.
    pub overrides: Vec<String>,
    /// What each operator runs.
    pub pins: BTreeMap<OperatorName, Pin>,
    /// Its plan, as it is shown.
    #[serde(default)]
    pub plan: serde_json::Value,
    /// When it was submitted, in milliseconds since 1970.
    pub created_at: i64,
    /// By which token.
    pub created_by: Option<TokenId>,
    /// What is wanted of it.
    pub desired: Desired,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// What it begins with, as long as it has no checkpoint of its own.
    #[serde(default)]
    pub from_savepoint: Option<FromSavepoint>,
}

/// The savepoint that a job begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromSavepoint {
    /// Of which job.
    pub job: JobId,
    /// Which.
    pub savepoint: SavepointName,
    /// Whether state of what the job file does not have any more is left out, and not refused.
    pub allow_non_restored_state: bool,
}

impl Record for JobRecord {
    const KIND: u8 = b'j';
    fn key(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}

/// The artifact that an operator of a job runs, whatever its names point to later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The artifact.
    pub name: ArtifactName,
    /// Its version.
    pub version: VersionName,
    /// Its bytes.
    #[serde(with = "as_text")]
    pub digest: ArtifactDigest,
    /// Whether it came with the program that took the job.
    #[serde(default)]
    pub built_in: bool,
}

/// What is wanted of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// It runs, until its inputs end.
    Running,
    /// It is cancelled.
    Cancelled,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How.
    pub outcome: EndedAs,
    /// What there was to see of it last, as it is shown.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "kebab-case")]
pub enum EndedAs {
    /// Every input was read.
    Finished,
    /// It was stopped, with a savepoint.
    Stopped {
        /// The checkpoint that the savepoint is of.
        checkpoint: Option<CheckpointId>,
        /// The savepoint's name.
        savepoint: Option<String>,
    },
    /// It was cancelled.
    Cancelled,
    /// It failed, or could not be started.
    Failed {
        /// Why, in words.
        error: String,
    },
}

/// A savepoint of a job. Its file is in the job's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointRecord {
    /// Of which job.
    pub job: JobId,
    /// What it is called.
    pub name: SavepointName,
    /// Whether the job stops at it.
    pub stop: bool,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: i64,
    /// By which token.
    pub created_by: Option<TokenId>,
    /// What has become of it.
    pub state: SavepointState,
}

/// What has become of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SavepointState {
    /// It is being taken.
    InProgress,
    /// It is there, whole and durable.
    Completed {
        /// When, in milliseconds since 1970.
        completed_at: i64,
        /// The checkpoint that it is of.
        checkpoint: CheckpointId,
        /// How long its file is.
        bytes: u64,
    },
    /// There is none.
    Failed {
        /// Why, in words.
        error: String,
    },
}

impl Record for SavepointRecord {
    const KIND: u8 = b's';
    fn key(&self) -> Vec<String> {
        vec![self.job.to_string(), self.name.to_string()]
    }
}

/// A token that opens the service. What it is itself is not kept, only its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The SHA-256 digest of the token, in hexadecimal.
    pub digest: String,
    /// What it is called by.
    pub id: TokenId,
    /// What it is for, in words.
    pub name: String,
    /// Whose objects it is for; those of every tenant if none.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub role: Role,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// After when it opens nothing, in milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

impl Record for TokenRecord {
    const KIND: u8 = b'k';
    fn key(&self) -> Vec<String> {
        vec![self.digest.clone()]
    }
}

/// A call that was to change something, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Grows with each call.
    pub id: u64,
    /// Whose objects it was about, as far as is known.
    pub tenant: Option<TenantId>,
    /// When it came, in milliseconds since 1970.
    pub at: i64,
    /// By which token.
    pub token: Option<TokenId>,
    /// What that token might do then.
    pub role: Role,
    /// What it did: `POST`.
    pub method: String,
    /// To what.
    pub path: String,
    /// What was answered; none if it never came to that.
    pub status: Option<u16>,
    /// What the call was called by.
    pub request: String,
}

impl AuditRecord {
    /// What a call is found by.
    #[must_use]
    pub fn key_of(tenant: Option<&TenantId>, id: u64) -> [String; 2] {
        [tenant.map(ToString::to_string).unwrap_or_default(), format!("{id:016x}")]
    }
}

impl Record for AuditRecord {
    const KIND: u8 = b'a';
    fn key(&self) -> Vec<String> {
        Self::key_of(self.tenant.as_ref(), self.id).to_vec()
    }
}

/// What a token may do. From [`Viewer`](Role::Viewer) on each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Post records to sources, and nothing else: not even look.
    Ingest,
    /// Look.
    Viewer,
    /// Upload artifacts and submit jobs.
    Author,
    /// Cancel, stop and rescale jobs.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Viewer => "viewer",
            Self::Author => "author",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Values that are kept as the text that they are shown as.
mod as_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
