//! What stands in the path and the query of a request. A name that cannot be one is told with
//! what it must be; an identifier that cannot be one is that of nothing.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path},
    http::{StatusCode, request::Parts},
};

use super::{Shared, problem::Problem};
use crate::{
    ids::{
        ArtifactName, CheckpointId, InvalidName, JobId, KeyId, OperatorName, SavepointName, SlotId,
        TenantId, TokenId, VersionName,
    },
    service::access::Caller,
};

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let missing = || Problem::bug(&"a request passed the door without a caller");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// The variable parts of the path, in order.
pub(super) struct InPath(Vec<(String, String)>);

impl FromRequestParts<Shared> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        match Option::<Path<Vec<(String, String)>>>::from_request_parts(parts, state).await {
            Ok(found) => Ok(Self(found.map(|Path(parts)| parts).unwrap_or_default())),
            Err(error) => Err(Problem::invalid(format!("the path cannot be read: {error}"))),
        }
    }
}

fn wrong(what: &str) -> impl Fn(InvalidName) -> Problem + '_ {
    move |bad| Problem::invalid(format!("`{}` cannot name {what}: {}", bad.name, bad.reason))
}

impl InPath {
    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(super) fn artifact(&self) -> Result<ArtifactName, Problem> {
        ArtifactName::new(self.get("name")).map_err(wrong("an artifact"))
    }

    pub(super) fn version(&self) -> Result<VersionName, Problem> {
        VersionName::new(self.get("version")).map_err(wrong("a version"))
    }

    pub(super) fn tag(&self) -> Result<VersionName, Problem> {
        VersionName::new(self.get("tag")).map_err(wrong("a tag"))
    }

    pub(super) fn job(&self) -> Result<JobId, Problem> {
        self.id("id", "job")
    }

    pub(super) fn token(&self) -> Result<TokenId, Problem> {
        self.id("token", "token")
    }

    pub(super) fn key(&self) -> Result<KeyId, Problem> {
        self.id("key", "key")
    }

    pub(super) fn savepoint(&self) -> Result<SavepointName, Problem> {
        SavepointName::new(self.get("savepoint")).map_err(wrong("a savepoint"))
    }

    pub(super) fn operator(&self) -> Result<OperatorName, Problem> {
        OperatorName::new(self.get("operator")).map_err(wrong("an operator"))
    }

    pub(super) fn checkpoint(&self) -> Result<CheckpointId, Problem> {
        self.number("checkpoint").map(CheckpointId)
    }

    pub(super) fn slot(&self) -> Result<SlotId, Problem> {
        self.number("slot").map(SlotId)
    }

    pub(super) fn tenant(&self) -> Result<TenantId, Problem> {
        TenantId::new(self.get("tenant")).map_err(wrong("a tenant"))
    }

    /// As it was given: what is no capsule's name is that of nothing.
    pub(super) fn capsule(&self) -> String {
        self.get("capsule").to_owned()
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.id(name, name)
    }

    /// What cannot be an identifier is that of nothing.
    fn id<T: FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let id = self.get(name);
        id.parse().map_err(|_| {
            let shown: String = id.chars().take(80).collect();
            let detail = format!("there is no {what} `{shown}`");
            Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
        })
    }
}

type Pairs = axum::extract::Query<Vec<(String, String)>>;

/// The query: names and values, in order. What is not known is refused.
pub(super) struct Query(Vec<(String, String)>);

impl FromRequestParts<Shared> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        match Pairs::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(Problem::invalid(format!("the query cannot be read: {error}"))),
        }
    }
}

impl Query {
    /// That nothing else is asked than this.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) if known.is_empty() => {
                Err(Problem::invalid(format!("`{name}` is not known here, and nothing else is")))
            }
            Some((name, _)) => Err(Problem::invalid(format!(
                "`{name}` is not known here; what is: {}",
                known.join(", ")
            ))),
        }
    }

    /// The last value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn tenant(&self) -> Result<Option<TenantId>, Problem> {
        self.get("tenant").map(TenantId::new).transpose().map_err(wrong("a tenant"))
    }

    /// `true` or `false`; the latter if it is not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                Err(Problem::invalid(format!("`{name}` must be true or false, not `{other}`")))
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&self, name: &str, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| {
            Problem::invalid(format!("`{name}` must be a number from 1 to {most}, not `{text}`"))
        })
    }
}
