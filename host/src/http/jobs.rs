//! `/v1/jobs`.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
};
use crate::{
    ids::{CheckpointId, JobId, JobName, OperatorName, TenantId, TokenId},
    registry::records::{Ended, EndedAs},
    service::{
        access::Caller,
        jobs::{JobQuery, JobView},
        submission::{LONGEST_FILE, Submission},
    },
};

/// How many jobs a page has if nothing is said, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1_000;

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobSummary {
    id: JobId,
    tenant: TenantId,
    name: JobName,
    state: &'static str,
    created_at: i64,
    created_by: Option<TokenId>,
    ended_at: Option<i64>,
    error: Option<String>,
}

/// Some jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    jobs: Vec<JobSummary>,
    /// To be given as `after`, for those that come then; none at the end.
    next: Option<JobId>,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobDetails {
    #[serde(flatten)]
    summary: JobSummary,
    /// The checkpoint that it was stopped at.
    checkpoint: Option<CheckpointId>,
    /// The savepoint that it was stopped with.
    savepoint: Option<String>,
    /// What its operators run.
    artifacts: BTreeMap<OperatorName, String>,
    /// What there is to see of it, or was at its end.
    status: Value,
}

/// A job's file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobConfig {
    file: String,
    set: Vec<String>,
}

impl From<&JobView> for JobSummary {
    fn from(view: &JobView) -> Self {
        let record = &view.record;
        let error = match record.ended.as_ref().map(|ended| &ended.outcome) {
            Some(EndedAs::Failed { error }) => Some(error.clone()),
            _ => None,
        };
        Self {
            id: record.id,
            tenant: record.tenant.clone(),
            name: record.name.clone(),
            state: view.state.word(),
            created_at: record.created_at,
            created_by: record.created_by,
            ended_at: record.ended.as_ref().map(|ended| ended.at),
            error,
        }
    }
}

impl From<JobView> for JobDetails {
    fn from(view: JobView) -> Self {
        let summary = JobSummary::from(&view);
        let record = &view.record;
        let (checkpoint, savepoint) = match record.ended.as_ref().map(|ended| &ended.outcome) {
            Some(EndedAs::Stopped { checkpoint, savepoint }) => (*checkpoint, savepoint.clone()),
            _ => (None, None),
        };
        let pins = record.pins.iter();
        let status = match &view.status {
            Some(status) => serde_json::to_value(status).unwrap_or_default(),
            None => match &record.ended {
                Some(Ended { status: Some(status), .. }) => status.clone(),
                _ => Value::Null,
            },
        };
        Self {
            summary,
            checkpoint,
            savepoint,
            artifacts: pins
                .map(|(operator, pin)| (operator.clone(), format!("{}@{}", pin.name, pin.version)))
                .collect(),
            status,
        }
    }
}

/// Submit a job file
#[utoipa::path(post, path = "/v1/jobs", operation_id = "submitJob",
    params(("tenant" = Option<TenantId>, Query),
        ("name" = Option<JobName>, Query, description = "What to call the job"),
        ("set" = Option<Vec<String>>, Query, description = "`NAME.KEY=VALUE`: changes a setting; as often as wanted")),
    request_body(content = String, content_type = "application/toml", description = "The job file"),
    responses((status = 201, description = "It was taken", body = JobDetails,
        headers(("location" = String, description = "Where the job is")))))]
pub(super) async fn submit(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Answer<Response> {
    let query = query.only(&["tenant", "name", "set"])?;
    let tenant = query.tenant()?;
    let mut overrides = query.all("set");
    if let Some(name) = query.get("name") {
        let name = JobName::new(name)
            .map_err(|bad| Problem::invalid(format!("`name` cannot name a job: {}", bad.reason)))?;
        overrides.push(format!("job.name={name}"));
    }
    let body = Reader::new(body, service.spec().read_timeout);
    let file = body.text("a job file", LONGEST_FILE).await?;
    let submission = Submission::new(file, &overrides)?;
    let view = service.submit(&caller, tenant.as_ref(), submission).await?;
    let location = HeaderValue::try_from(format!("/v1/jobs/{}", view.record.id))
        .map_err(|error| Problem::bug(&error))?;
    let answer = Json(JobDetails::from(view));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response())
}

/// Jobs, the newest first
#[utoipa::path(get, path = "/v1/jobs", operation_id = "listJobs",
    params(
        ("tenant" = Option<TenantId>, Query, description = "Whose; all that the token may see if not given"),
        ("state" = Option<String>, Query, description = "Only those in this state"),
        ("after" = Option<JobId>, Query, description = "The `next` of the page before"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "How many; 100 if not given")),
    responses((status = 200, description = "A page", body = JobPage)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<JobPage>> {
    let query = query.only(&["tenant", "state", "after", "limit"])?;
    let after = query.get("after").map(|id| {
        id.parse().map_err(|_| Problem::invalid("`after` must be the identifier of a job"))
    });
    let asked = JobQuery {
        tenant: query.tenant()?,
        state: query.get("state").map(str::to_owned),
        after: after.transpose()?,
        limit: query.number("limit", PAGE, LARGEST_PAGE)?,
    };
    let page = service.list(&caller, &asked)?;
    let jobs: Vec<_> = page.jobs.iter().map(JobSummary::from).collect();
    let next = jobs.last().map(|job| job.id).filter(|_| page.more);
    Ok(Json(JobPage { jobs, next }))
}

/// A job
#[utoipa::path(get, path = "/v1/jobs/{id}", operation_id = "showJob",
    responses((status = 200, description = "The job", body = JobDetails)))]
pub(super) async fn show(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<JobDetails>> {
    Ok(Json(service.view(&caller, path.job()?)?.into()))
}

/// A job's plan: vertices and edges
#[utoipa::path(get, path = "/v1/jobs/{id}/plan", operation_id = "showPlan",
    responses((status = 200, description = "The plan", body = Value)))]
pub(super) async fn plan(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Value>> {
    Ok(Json(service.view(&caller, path.job()?)?.record.plan.clone()))
}

/// A job's file, as it was submitted
#[utoipa::path(get, path = "/v1/jobs/{id}/config", operation_id = "showJobConfig",
    responses((status = 200, description = "The file, and what was changed of it", body = JobConfig)))]
pub(super) async fn config(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<JobConfig>> {
    let record = service.view(&caller, path.job()?)?.record;
    Ok(Json(JobConfig { file: record.file.clone(), set: record.overrides.clone() }))
}

/// Cancel a job
///
/// It takes a last checkpoint, which its sinks commit.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", operation_id = "cancelJob",
    responses((status = 202, description = "The job", body = JobDetails)))]
pub(super) async fn cancel(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<(StatusCode, Json<JobDetails>)> {
    let view = service.cancel(&caller, path.job()?).await?;
    Ok((StatusCode::ACCEPTED, Json(view.into())))
}

/// Stop a job with a savepoint
///
/// Answered when the savepoint is there.
#[utoipa::path(post, path = "/v1/jobs/{id}/stop", operation_id = "stopJob",
    responses((status = 200, description = "The job", body = JobDetails)))]
pub(super) async fn stop(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<JobDetails>> {
    Ok(Json(service.stop(&caller, path.job()?).await?.into()))
}
