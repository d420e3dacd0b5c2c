//! `/v1/tenants` and `/v1/usage`.

use axum::{
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Answer, Json, Shared,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
};
use crate::service::{
    access::Caller,
    quotas::{May, TenantView},
    tenants::UsageQuery,
};

const LONGEST_REQUEST: usize = 16 << 10;

/// Tenants, by name.
#[derive(Debug, Serialize)]
pub(super) struct Tenants {
    tenants: Vec<TenantView>,
}

/// What was used.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    usage: Value,
}

pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Tenants>> {
    query.only(&[])?;
    let tenants = super::blocking(service, move |s| s.tenants(&caller)).await?;
    Ok(Json(Tenants { tenants: tenants.into_iter().map(TenantView::from).collect() }))
}

pub(super) async fn show(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<TenantView>> {
    let name = path.tenant()?;
    let tenant = super::blocking(service, move |s| s.tenant_of(&caller, &name)).await?;
    Ok(Json(tenant.into()))
}

pub(super) async fn put(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    body: Body,
) -> Answer<Response> {
    let name = path.tenant()?;
    let body = Reader::new(body, service.spec().read_timeout);
    let body = body.text("a tenant", LONGEST_REQUEST).await?;
    let may: May = serde_json::from_str(&body).map_err(|error| {
        Problem::invalid(format!(
            "the body must be the tenant's quotas, such as {{\"slots\": 8, \"memory\": 1073741824}}: \
             {error}"
        ))
    })?;
    let put = super::blocking(service, move |s| s.put_tenant(&caller, &name, may)).await?;
    let (tenant, new) = put;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(TenantView::from(tenant))).into_response())
}

pub(super) async fn delete(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<StatusCode> {
    let name = path.tenant()?;
    super::blocking(service, move |s| s.delete_tenant(&caller, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn usage(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Usage>> {
    let query = query.only(&["tenant", "by", "since", "until"])?;
    let asked = UsageQuery {
        tenant: query.tenant()?,
        since: query.get("since").map(str::to_owned),
        until: query.get("until").map(str::to_owned),
        by: query.get("by").map(str::to_owned),
    };
    let usage = super::blocking(service, move |s| s.usage(&caller, &asked)).await?;
    Ok(Json(Usage { usage }))
}
