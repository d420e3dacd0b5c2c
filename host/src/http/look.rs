//! `/v1/jobs/{id}/exceptions`, `/capsules` and `/vertices`.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::Value;

use super::{Answer, Json, Shared, given::InPath};
use crate::service::{
    access::Caller,
    look::{CapsuleFile, Exceptions},
};

/// The crash capsules of a job.
#[derive(Debug, Serialize)]
pub(super) struct Capsules {
    capsules: Vec<CapsuleFile>,
}

/// The vertices of a job.
#[derive(Debug, Serialize)]
pub(super) struct Vertices {
    vertices: Vec<Value>,
}

pub(super) async fn exceptions(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Exceptions>> {
    let id = path.job()?;
    Ok(Json(super::blocking(service, move |s| s.exceptions(&caller, id)).await?))
}

pub(super) async fn capsules(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Capsules>> {
    let id = path.job()?;
    let capsules = super::blocking(service, move |s| s.capsules(&caller, id)).await?;
    Ok(Json(Capsules { capsules }))
}

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

pub(super) async fn vertices(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Vertices>> {
    Ok(Json(Vertices { vertices: service.vertices(&caller, path.job()?, None)? }))
}

pub(super) async fn vertex(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Value>> {
    Ok(Json(service.vertex(&caller, path.job()?, &path.operator()?)?))
}
