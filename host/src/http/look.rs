//! `/v1/jobs/{id}/exceptions`, `/capsules` and `/vertices`.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Answer, Json, Shared, given::InPath, shapes};
use crate::service::{
    access::Caller,
    look::{CapsuleFile, Exceptions},
};

/// The crash capsules of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Capsules {
    #[schema(value_type = Vec<shapes::CapsuleFile>)]
    capsules: Vec<CapsuleFile>,
}

/// The vertices of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Vertices {
    vertices: Vec<Value>,
}

/// Why a job failed
#[utoipa::path(get, path = "/v1/jobs/{id}/exceptions", operation_id = "listExceptions",
    responses((status = 200, description = "The last failures", body = shapes::Exceptions)))]
pub(super) async fn exceptions(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Exceptions>> {
    let id = path.job()?;
    Ok(Json(super::blocking(service, move |s| s.exceptions(&caller, id)).await?))
}

/// The crash capsules of a job
#[utoipa::path(get, path = "/v1/jobs/{id}/capsules", operation_id = "listCapsules",
    responses((status = 200, description = "All that are kept", body = Capsules)))]
pub(super) async fn capsules(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Capsules>> {
    let id = path.job()?;
    let capsules = super::blocking(service, move |s| s.capsules(&caller, id)).await?;
    Ok(Json(Capsules { capsules }))
}

/// The bytes of a crash capsule
///
/// For `cofferdam replay`; it may hold records, so it is for authors.
#[utoipa::path(get, path = "/v1/jobs/{id}/capsules/{capsule}", operation_id = "showCapsule",
    responses((status = 200, description = "The file", body = shapes::Bytes,
        content_type = "application/octet-stream")))]
pub(super) async fn capsule(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Response> {
    let (id, name) = (path.job()?, path.capsule());
    let bytes = super::blocking(service, move |s| s.capsule(&caller, id, &name)).await?;
    let kind = HeaderValue::from_static("application/octet-stream");
    // It is a file to keep, and nothing for a browser to guess at.
    let file = HeaderValue::from_static("attachment");
    let plain = HeaderValue::from_static("nosniff");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, file),
        (header::X_CONTENT_TYPE_OPTIONS, plain),
    ];
    Ok((headers, bytes).into_response())
}

/// What the sources, operators and sinks of a job do
#[utoipa::path(get, path = "/v1/jobs/{id}/vertices", operation_id = "listVertices",
    responses((status = 200, description = "As in the status of the job, with their slots", body = Vertices)))]
pub(super) async fn vertices(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Vertices>> {
    Ok(Json(Vertices { vertices: service.vertices(&caller, path.job()?, None)? }))
}

/// What a source, operator or sink does
#[utoipa::path(get, path = "/v1/jobs/{id}/vertices/{operator}", operation_id = "showVertex",
    responses((status = 200, description = "As in the status of the job, with its slots", body = Value)))]
pub(super) async fn vertex(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Value>> {
    Ok(Json(service.vertex(&caller, path.job()?, &path.operator()?)?))
}
