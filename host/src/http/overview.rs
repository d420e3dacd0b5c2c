//! `/v1/overview`, `/v1/config`, `/v1/slots` and `/v1/taskmanager`.

use axum::extract::State;
use serde::Serialize;

use super::{
    Answer, Json, Shared,
    given::{InPath, Query},
};
use crate::service::{
    access::Caller,
    overview::{ConfigView, DrainedSlot, Overview, SlotSeen, TaskManagerView},
};

/// Slots.
#[derive(Debug, Serialize)]
pub(super) struct Slots {
    slots: Vec<SlotSeen>,
}

pub(super) async fn overview(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Overview>> {
    query.only(&[])?;
    Ok(Json(service.overview(&caller)))
}

pub(super) async fn config(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<ConfigView>> {
    query.only(&[])?;
    Ok(Json(service.configured(&caller)?))
}

pub(super) async fn slots(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Slots>> {
    query.only(&[])?;
    Ok(Json(Slots { slots: service.slots(&caller) }))
}

pub(super) async fn drain(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<DrainedSlot>> {
    Ok(Json(service.drain_slot(&caller, path.slot()?).await?))
}

pub(super) async fn restore(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<DrainedSlot>> {
    Ok(Json(service.restore_slot(&caller, path.slot()?)?))
}

pub(super) async fn task_manager(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<TaskManagerView>> {
    query.only(&[])?;
    Ok(Json(service.task_manager_view(&caller)))
}
