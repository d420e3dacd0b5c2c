//! Whether the server lives, and whether it can be used: for whoever starts and watches it, so
//! without a token, and without saying anything else.

use axum::{extract::State, http::StatusCode};
use serde::Serialize;

use super::{Answer, Json, Shared, problem::Problem};

pub(super) const HEALTHZ: &str = "/healthz";
pub(super) const READYZ: &str = "/readyz";

/// How the server is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    status: &'static str,
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", operation_id = "healthz",
    responses((status = 200, description = "It does", body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Whether every job that is to run was started again
#[utoipa::path(get, path = "/readyz", operation_id = "readyz",
    responses((status = 200, description = "They were", body = Health)))]
pub(super) async fn readyz(State(service): State<Shared>) -> Answer<Json<Health>> {
    if service.is_ready() {
        return Ok(Json(Health { status: "ready" }));
    }
    let detail = "the server is starting its jobs again, or ending";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail))
}
