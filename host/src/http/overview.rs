//! `/v1/overview`, `/v1/config`, `/v1/slots` and `/v1/taskmanager`.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    given::{InPath, Query},
    shapes,
};
use crate::service::{
    access::Caller,
    overview::{ConfigView, DrainedSlot, Overview, SlotSeen, TaskManagerView},
};

/// Slots.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Slots {
    #[schema(value_type = Vec<shapes::Slot>)]
    slots: Vec<SlotSeen>,
}

/// The server at a glance
#[utoipa::path(get, path = "/v1/overview", operation_id = "showOverview",
    responses((status = 200, description = "Jobs by state, slots, version", body = shapes::Overview)))]
pub(super) async fn overview(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Overview>> {
    query.only(&[])?;
    Ok(Json(service.overview(&caller)))
}

/// How the server is configured
///
/// For admins of every tenant.
#[utoipa::path(get, path = "/v1/config", operation_id = "showConfig",
    responses((status = 200, description = "The settings", body = shapes::ServerConfig)))]
pub(super) async fn config(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<ConfigView>> {
    query.only(&[])?;
    Ok(Json(service.configured(&caller)?))
}

/// Slots
///
/// All of them, or those of the jobs of the token's tenant.
#[utoipa::path(get, path = "/v1/slots", operation_id = "listSlots",
    responses((status = 200, description = "With their condition and job", body = Slots)))]
pub(super) async fn slots(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Slots>> {
    query.only(&[])?;
    Ok(Json(Slots { slots: service.slots(&caller) }))
}

/// Empty a slot, while its job runs
///
/// For admins of every tenant.
#[utoipa::path(post, path = "/v1/slots/{slot}/drain", operation_id = "drainSlot",
    responses((status = 200, description = "Nothing enters it any more", body = shapes::DrainedSlot)))]
pub(super) async fn drain(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<DrainedSlot>> {
    Ok(Json(service.drain_slot(&caller, path.slot()?).await?))
}

/// Use a slot again that was drained or is in quarantine
///
/// For admins of every tenant.
#[utoipa::path(post, path = "/v1/slots/{slot}/restore", operation_id = "restoreSlot",
    responses((status = 200, description = "It is used again", body = shapes::DrainedSlot)))]
pub(super) async fn restore(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<DrainedSlot>> {
    Ok(Json(service.restore_slot(&caller, path.slot()?)?))
}

/// The memory of the TaskManager, and its cores
#[utoipa::path(get, path = "/v1/taskmanager", operation_id = "showTaskmanager",
    responses((status = 200, description = "By slot and tenant", body = shapes::TaskManager)))]
pub(super) async fn task_manager(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<TaskManagerView>> {
    query.only(&[])?;
    Ok(Json(service.task_manager_view(&caller)))
}
