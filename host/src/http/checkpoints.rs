//! `/v1/jobs/{id}/checkpoints` and `/v1/jobs/{id}/savepoints`.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Json, Shared, given::InPath, problem::Problem, shapes};
use crate::{
    ids::{CheckpointId, JobId, SavepointName, TokenId},
    registry::records::{SavepointRecord, SavepointState},
    service::{
        access::Caller,
        control::{CheckpointConfig, CheckpointView, Checkpoints, TakenCheckpoint},
    },
};

/// A savepoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Savepoint {
    id: SavepointName,
    job: JobId,
    /// Whether the job stops at it.
    stop: bool,
    created_at: i64,
    created_by: Option<TokenId>,
    /// `in-progress`, `completed` or `failed`.
    state: &'static str,
    completed_at: Option<i64>,
    checkpoint: Option<CheckpointId>,
    bytes: Option<u64>,
    error: Option<String>,
}

/// The savepoints of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Savepoints {
    savepoints: Vec<Savepoint>,
}

impl From<SavepointRecord> for Savepoint {
    fn from(record: SavepointRecord) -> Self {
        let SavepointRecord { job, name: id, stop, created_at, created_by, state } = record;
        let shown = Self {
            id,
            job,
            stop,
            created_at,
            created_by,
            state: "in-progress",
            completed_at: None,
            checkpoint: None,
            bytes: None,
            error: None,
        };
        match state {
            SavepointState::InProgress => shown,
            SavepointState::Completed { completed_at, checkpoint, bytes } => Self {
                state: "completed",
                completed_at: Some(completed_at),
                checkpoint: Some(checkpoint),
                bytes: Some(bytes),
                ..shown
            },
            SavepointState::Failed { error } => {
                Self { state: "failed", error: Some(error), ..shown }
            }
        }
    }
}

/// The checkpoints of a job
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints", operation_id = "listCheckpoints",
    responses((status = 200, description = "How many, and the last ones", body = shapes::Checkpoints)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Checkpoints>> {
    Ok(Json(service.checkpoints(&caller, path.job()?)?))
}

/// Take a checkpoint
///
/// Answered when it is there.
#[utoipa::path(post, path = "/v1/jobs/{id}/checkpoints", operation_id = "takeCheckpoint",
    responses((status = 200, description = "It was taken", body = shapes::TakenCheckpoint)))]
pub(super) async fn trigger(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<TakenCheckpoint>> {
    Ok(Json(service.take_checkpoint(&caller, path.job()?).await?))
}

/// A checkpoint, and what it is made of
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints/{checkpoint}", operation_id = "showCheckpoint",
    responses((status = 200, description = "The checkpoint", body = shapes::Checkpoint)))]
pub(super) async fn show(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<CheckpointView>> {
    Ok(Json(service.checkpoint(&caller, path.job()?, path.checkpoint()?).await?))
}

/// When a job takes checkpoints, and how many are kept
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints/config", operation_id = "showCheckpointConfig",
    responses((status = 200, description = "The settings", body = shapes::CheckpointConfig)))]
pub(super) async fn config(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<CheckpointConfig>> {
    Ok(Json(service.checkpoint_config(&caller, path.job()?).await?))
}

/// The savepoints of a job
#[utoipa::path(get, path = "/v1/jobs/{id}/savepoints", operation_id = "listSavepoints",
    responses((status = 200, description = "All of them", body = Savepoints)))]
pub(super) async fn savepoints(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Savepoints>> {
    let id = path.job()?;
    let all = super::blocking(service, move |s| s.savepoints(&caller, id)).await?;
    Ok(Json(Savepoints { savepoints: all.into_iter().map(Savepoint::from).collect() }))
}

/// A savepoint
#[utoipa::path(get, path = "/v1/jobs/{id}/savepoints/{savepoint}", operation_id = "showSavepoint",
    responses((status = 200, description = "The savepoint", body = Savepoint)))]
pub(super) async fn savepoint(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Savepoint>> {
    let (id, name) = (path.job()?, path.savepoint()?);
    let found = super::blocking(service, move |s| s.savepoint(&caller, id, &name)).await?;
    Ok(Json(found.into()))
}

/// Take a savepoint
///
/// The server chooses its name.
#[utoipa::path(post, path = "/v1/jobs/{id}/savepoints", operation_id = "takeSavepoint",
    responses(
        (status = 202, description = "It is being taken", body = Savepoint,
            headers(("location" = String, description = "Where the savepoint is"))),
        (status = 200, description = "It was asked for before", body = Savepoint,
            headers(("location" = String, description = "Where the savepoint is")))))]
pub(super) async fn take(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Response> {
    answer_taken(service.take_savepoint(&caller, path.job()?, None).await?)
}

/// Take a savepoint of this name
///
/// Asked again it is the same one, whatever became of it.
#[utoipa::path(put, path = "/v1/jobs/{id}/savepoints/{savepoint}", operation_id = "putSavepoint",
    responses(
        (status = 202, description = "It is being taken", body = Savepoint,
            headers(("location" = String, description = "Where the savepoint is"))),
        (status = 200, description = "It was asked for before", body = Savepoint,
            headers(("location" = String, description = "Where the savepoint is")))))]
pub(super) async fn put(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Response> {
    let name = Some(path.savepoint()?);
    answer_taken(service.take_savepoint(&caller, path.job()?, name).await?)
}

fn answer_taken((record, new): (SavepointRecord, bool)) -> Answer<Response> {
    let location = format!("/v1/jobs/{}/savepoints/{}", record.job, record.name);
    let location = HeaderValue::try_from(location).map_err(|error| Problem::bug(&error))?;
    let status = if new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location)], Json(Savepoint::from(record))).into_response())
}

/// Dispose of a savepoint
#[utoipa::path(delete, path = "/v1/jobs/{id}/savepoints/{savepoint}", operation_id = "deleteSavepoint",
    responses((status = 204, description = "It is gone")))]
pub(super) async fn dispose(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<StatusCode> {
    let (id, name) = (path.job()?, path.savepoint()?);
    super::blocking(service, move |s| s.delete_savepoint(&caller, id, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
