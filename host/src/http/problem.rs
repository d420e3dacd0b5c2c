//! Errors as problem details: RFC 9457, `application/problem+json`. The one place where the
//! service's errors get their status codes.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{config::JobFileErrors, service::error::ServiceError};

/// A problem as it is answered: what of [`Problem`] the OpenAPI document says.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub(super) struct ProblemDetails {
    /// What kind of problem: `urn:cofferdam:problem:…`.
    #[schema(pattern = "^urn:cofferdam:problem:[a-z-]+$")]
    r#type: String,
    /// The status in words.
    title: String,
    /// The same as the answer's.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// The path that was asked for.
    instance: String,
    /// What the request is called by in the server's logs.
    request_id: String,
    /// The mistakes of a job file.
    #[schema(required = false)]
    errors: Option<Vec<Mistake>>,
    /// The lines that are no records.
    #[schema(required = false)]
    lines: Option<Vec<BadRecord>>,
}

/// A line that is no record.
#[derive(Debug, Serialize, ToSchema)]
struct BadRecord {
    /// Which line of the body, from 1.
    line: u64,
    reason: String,
}

/// A mistake of a job file.
#[derive(Debug, Serialize, ToSchema)]
struct Mistake {
    /// The file, or the setting that was changed.
    r#in: String,
    /// From 1.
    line: usize,
    /// From 1.
    column: usize,
    message: String,
    /// What to do.
    help: Option<String>,
    /// All of it, as the command line shows it.
    shown: String,
}

/// The beginning of every `type`.
const TYPES: &str = "urn:cofferdam:problem:";
/// How many mistakes of a job file are told.
const MOST_MISTAKES: usize = 100;

/// A problem. `instance`, which names the request, is put in at the door.
#[derive(Debug, Clone)]
pub struct Problem(Box<Details>);

#[derive(Debug, Clone, Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// After how many seconds it may be tried again, where that makes sense.
    #[serde(skip)]
    retry_after: u64,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// With a status, the end of its `type`, and what to say.
    pub(crate) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("{TYPES}{kind}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            instance: None,
            request_id: None,
            retry_after: 1,
            more: Map::new(),
        }))
    }

    /// Something that is given is not what it must be.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
    }

    /// Our fault.
    pub(crate) fn bug(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("a bug in cofferdam: {error}");
        let detail = "a bug in cofferdam: the server's log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What is wrong, and what to do.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The mistakes of a job file, as the command line shows them.
    pub(super) fn mistakes(&self) -> impl Iterator<Item = &str> {
        let errors = self.0.more.get("errors").and_then(Value::as_array);
        errors.into_iter().flatten().filter_map(|mistake| mistake["shown"].as_str())
    }

    /// The same, with the request that it is about.
    fn about(mut self, path: &str, request_id: &str) -> Self {
        self.0.instance = Some(path.to_owned());
        self.0.request_id = Some(request_id.to_owned());
        self
    }

    /// Too much is asked; it may be tried again after a while.
    pub(super) fn too_often(detail: impl Into<String>, wait: Duration) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail);
        // Whole seconds: the header has no others.
        problem.0.retry_after = wait.as_secs() + 1;
        problem
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0.more.insert(key.to_owned(), value);
        self
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let (status, kind) = match &error {
            ServiceError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            ServiceError::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            ServiceError::OfTenant(_) => (StatusCode::FORBIDDEN, "forbidden"),
            ServiceError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid-request"),
            ServiceError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            ServiceError::PreconditionFailed(_) => {
                (StatusCode::PRECONDITION_FAILED, "precondition-failed")
            }
            ServiceError::JobFile(_) => (StatusCode::UNPROCESSABLE_ENTITY, "job-file"),
            ServiceError::JobRefused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "job-refused"),
            ServiceError::ArtifactRefused(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "artifact-refused")
            }
            ServiceError::SignatureRefused(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "signature-refused")
            }
            ServiceError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            ServiceError::OverQuota(_) => (StatusCode::FORBIDDEN, "over-quota"),
            ServiceError::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            ServiceError::BadRecords(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad-records"),
            ServiceError::KeyReused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "key-reused"),
            ServiceError::Full(_) => (StatusCode::TOO_MANY_REQUESTS, "source-full"),
            ServiceError::JobSaysNo(_) => (StatusCode::CONFLICT, "job-says-no"),
            ServiceError::NotYet(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-yet"),
            ServiceError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
            ServiceError::DiskQuota(_) => (StatusCode::INSUFFICIENT_STORAGE, "disk-quota"),
            ServiceError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ServiceError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let problem = Self::new(status, kind, error.to_string());
        match error {
            ServiceError::JobFile(errors) => problem.with("errors", mistakes(&errors)),
            ServiceError::BadRecords(bad) => {
                let lines = bad.iter().map(|bad| {
                    json!(BadRecord {
                        line: bad.line,
                        reason: bad.reason.chars().take(1_000).collect()
                    })
                });
                problem.with("lines", lines.collect())
            }
            _ => problem,
        }
    }
}

/// One entry for each mistake.
fn mistakes(errors: &JobFileErrors) -> Value {
    let each = errors.errors.iter().take(MOST_MISTAKES).map(|error| {
        json!(Mistake {
            r#in: error.file.clone(),
            line: error.line,
            column: error.column,
            message: error.message.clone(),
            help: error.help.clone(),
            shown: error.to_string(),
        })
    });
    each.collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (self.0.status, [(header::CONTENT_TYPE, json)], body).into_response();
        let headers = response.headers_mut();
        match self.0.status {
            StatusCode::UNAUTHORIZED => {
                let bearer = HeaderValue::from_static("Bearer realm=\"cofferdam\"");
                headers.insert(header::WWW_AUTHENTICATE, bearer);
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(self.0.retry_after));
            }
            _ => {}
        }
        response.extensions_mut().insert(Said(self));
        response
    }
}

/// The problem that an answer tells of.
#[derive(Debug, Clone)]
struct Said(Problem);

/// The problem that an answer tells of, for who tells it otherwise.
pub(super) fn told(response: &mut Response) -> Option<Problem> {
    response.extensions_mut().remove::<Said>().map(|Said(problem)| problem)
}

/// Puts the path and the request's identifier into the problem that an answer tells of, if it
/// does.
pub(super) fn name_instance(mut response: Response, path: &str, request_id: &str) -> Response {
    match response.extensions_mut().remove::<Said>() {
        Some(Said(problem)) => {
            let mut named = problem.about(path, request_id).into_response();
            named.extensions_mut().remove::<Said>();
            for (name, value) in response.headers() {
                if !named.headers().contains_key(name) && name != header::CONTENT_LENGTH {
                    named.headers_mut().append(name, value.clone());
                }
            }
            named
        }
        None => response,
    }
}
