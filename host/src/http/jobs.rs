//! `/v1/jobs`.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
    shapes,
};
use crate::{
    ids::{CheckpointId, JobId, JobName, OperatorName, SavepointName, TenantId, TokenId},
    registry::records::{EndedAs, FromSavepoint},
    service::{
        access::Caller,
        conditions::Condition,
        control::{NewLimits, Rescaled},
        jobs::{JobQuery, JobView},
        submission::{LONGEST_FILE, Submission},
    },
};

/// How many jobs a page has if nothing is said, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1_000;
/// The longest body that asks for another parallelism or other limits, in bytes.
const LONGEST_CHANGE: usize = 4 << 10;

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
    /// The savepoint that it began with: `JOB/SAVEPOINT`.
    from_savepoint: Option<String>,
    /// What is not as it should be.
    #[schema(value_type = Vec<shapes::Condition>)]
    conditions: Vec<Condition>,
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
        Self {
            summary,
            checkpoint,
            savepoint,
            artifacts: pins
                .map(|(operator, pin)| (operator.clone(), format!("{}@{}", pin.name, pin.version)))
                .collect(),
            from_savepoint: record
                .from_savepoint
                .as_ref()
                .map(|f| format!("{}/{}", f.job, f.savepoint)),
            conditions: view.conditions,
            status: view.status,
        }
    }
}

/// Submit a job file
#[utoipa::path(post, path = "/v1/jobs", operation_id = "submitJob",
    params(("tenant" = Option<TenantId>, Query),
        ("name" = Option<JobName>, Query, description = "What to call the job"),
        ("set" = Option<Vec<String>>, Query, description = "`NAME.KEY=VALUE`: changes a setting; as often as wanted"),
        ("from_savepoint" = Option<String>, Query, description = "`JOB/SAVEPOINT`: what to begin with"),
        ("allow_non_restored_state" = Option<bool>, Query, description = "Leave out state of the savepoint that no operator has any more")),
    request_body(content = String, content_type = "application/toml", description = "The job file"),
    responses((status = 201, description = "It was taken", body = JobDetails,
        headers(("location" = String, description = "Where the job is")))))]
pub(super) async fn submit(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Answer<Response> {
    let known = ["tenant", "name", "set", "from_savepoint", "allow_non_restored_state"];
    let query = query.only(&known)?;
    let from = from_savepoint(&query)?;
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
    let view = service.submit(&caller, tenant.as_ref(), submission, from).await?;
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
/// Answered when it has ended, or when that takes long. Asked again with the same savepoint it is no
/// mistake.
#[utoipa::path(post, path = "/v1/jobs/{id}/stop", operation_id = "stopJob",
    params(("savepoint" = Option<SavepointName>, Query, description = "What to call the savepoint")),
    responses(
        (status = 200, description = "It has ended", body = JobDetails),
        (status = 202, description = "It is stopping", body = JobDetails)))]
pub(super) async fn stop(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
) -> Answer<(StatusCode, Json<JobDetails>)> {
    let query = query.only(&["savepoint"])?;
    let name = query.get("savepoint").map(savepoint_name).transpose()?;
    let view = service.stop(&caller, path.job()?, name).await?;
    let ended = view.record.ended.is_some();
    let status = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(view.into())))
}

/// Start a job again that failed or was stopped
///
/// It goes on from its last checkpoint.
#[utoipa::path(post, path = "/v1/jobs/{id}/restart", operation_id = "restartJob",
    responses((status = 202, description = "The job", body = JobDetails)))]
pub(super) async fn restart(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<(StatusCode, Json<JobDetails>)> {
    let view = service.restart(&caller, path.job()?).await?;
    Ok((StatusCode::ACCEPTED, Json(view.into())))
}

/// Forget a job that has ended
///
/// Its state and savepoints go too.
#[utoipa::path(delete, path = "/v1/jobs/{id}", operation_id = "deleteJob",
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<StatusCode> {
    service.delete_job(&caller, path.job()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another parallelism.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rescale {
    operator: Option<OperatorName>,
    parallelism: u32,
}

/// Go on with another parallelism
#[utoipa::path(post, path = "/v1/jobs/{id}/rescale", operation_id = "rescaleJob",
    request_body(content = Rescale, description = "Which, and of which operator if not of all"),
    responses((status = 200, description = "It runs with it", body = shapes::Rescaled)))]
pub(super) async fn rescale(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    body: Body,
) -> Answer<Json<Rescaled>> {
    let body = Reader::new(body, service.spec().read_timeout);
    let shape = "{\"parallelism\": 4}, with \"operator\": \"…\" for one of them only";
    let Rescale { operator, parallelism } =
        body.json(("another parallelism", LONGEST_CHANGE), shape).await?;
    Ok(Json(service.rescale(&caller, path.job()?, operator, parallelism).await?))
}

/// Other limits
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    operator: OperatorName,
    /// Memory of each of its slots, as in a job file, such as `512MiB`
    memory: Option<String>,
    /// How long a call may take, such as `10s`
    deadline: Option<String>,
    /// What each of its slots may use of one core, such as `50%`
    cpu_cap: Option<String>,
}

/// Go on with other limits of an operator
#[utoipa::path(post, path = "/v1/jobs/{id}/limits", operation_id = "setJobLimits",
    request_body(content = Limits, description = "Of which operator; what is not given stays"),
    responses((status = 200, description = "It runs with them", body = shapes::Rescaled)))]
pub(super) async fn limit(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    body: Body,
) -> Answer<Json<Rescaled>> {
    let body = Reader::new(body, service.spec().read_timeout);
    let shape =
        "{\"operator\": \"…\"} with some of \"memory\", \"deadline\" and \"cpu_cap\", as texts";
    let Limits { operator, memory, deadline, cpu_cap } =
        body.json(("other limits", LONGEST_CHANGE), shape).await?;
    let limits = NewLimits { memory, deadline, cpu_cap };
    if limits == NewLimits::default() {
        let why = "no limit is given: \"memory\", \"deadline\" or \"cpu_cap\"";
        return Err(Problem::invalid(why.to_owned()));
    }
    Ok(Json(service.limit(&caller, path.job()?, operator, limits).await?))
}

/// What `?from_savepoint=JOB/SAVEPOINT` says.
fn from_savepoint(query: &Query) -> Answer<Option<FromSavepoint>> {
    let allow_non_restored_state = match query.get("allow_non_restored_state") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let said = format!("`allow_non_restored_state` must be true or false, not `{other}`");
            return Err(Problem::invalid(said));
        }
    };
    let Some(text) = query.get("from_savepoint") else {
        return match allow_non_restored_state {
            false => Ok(None),
            true => Err(Problem::invalid(
                "`allow_non_restored_state` means something with `from_savepoint` only",
            )),
        };
    };
    savepoint_of(text, allow_non_restored_state).map(Some)
}

/// What `JOB/SAVEPOINT` names.
pub(super) fn savepoint_of(text: &str, allow_non_restored_state: bool) -> Answer<FromSavepoint> {
    let parts = text.split_once('/').and_then(|(job, name)| Some((job.parse().ok()?, name)));
    let (job, name) = parts.ok_or_else(|| {
        Problem::invalid("`from_savepoint` must be JOB/SAVEPOINT: identifier, name")
    })?;
    let savepoint = savepoint_name(name)?;
    Ok(FromSavepoint { job, savepoint, allow_non_restored_state })
}

pub(super) fn savepoint_name(name: &str) -> Answer<SavepointName> {
    SavepointName::new(name).map_err(|bad| {
        Problem::invalid(format!("`{name}` cannot name a savepoint: {}", bad.reason))
    })
}
