//! `/v1/tenants` and `/v1/usage`.

use axum::{
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    body::Reader,
    given::{InPath, Query},
    shapes, tagged,
};
use crate::{
    ids::TenantId,
    service::{
        Service,
        access::Caller,
        disk::TenantDisk,
        precondition::{Precondition, tag_of_tenant},
        quotas::{May, TenantView},
        tenants::UsageQuery,
    },
};

const LONGEST_REQUEST: usize = 16 << 10;

/// Tenants, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tenants {
    #[schema(value_type = Vec<shapes::Tenant>)]
    tenants: Vec<TenantView>,
}

/// What was used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Usage {
    #[schema(value_type = Vec<shapes::UsageRow>)]
    usage: Value,
    /// What tenants keep on the server's disk at the moment, by name.
    #[schema(value_type = Vec<shapes::TenantDisk>)]
    disk: Vec<TenantDisk>,
}

/// Tenants with their quotas
#[utoipa::path(get, path = "/v1/tenants", operation_id = "listTenants",
    responses((status = 200, description = "Those that the token sees, by name", body = Tenants)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Tenants>> {
    query.only(&[])?;
    let tenants = super::blocking(service, move |s| s.tenants(&caller)).await?;
    Ok(Json(Tenants { tenants: tenants.into_iter().map(TenantView::from).collect() }))
}

/// A tenant
#[utoipa::path(get, path = "/v1/tenants/{tenant}", operation_id = "showTenant",
    responses((status = 200, description = "The tenant", body = shapes::Tenant,
        headers(("etag" = String, description = "Its state: what `If-Match` takes")))))]
pub(super) async fn show(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Response> {
    let name = path.tenant()?;
    let tenant = super::blocking(service, move |s| s.tenant_of(&caller, &name)).await?;
    Ok(shown(tenant.into()))
}

fn shown(tenant: TenantView) -> Response {
    tagged(&tag_of_tenant(&tenant), Json(tenant))
}

/// Make a tenant, or set its quotas
///
/// A quota that is not named is taken away.
#[utoipa::path(put, path = "/v1/tenants/{tenant}", operation_id = "putTenant",
    params(("if-match" = Option<String>, Header, description = "The `ETag` of the state that it must be in until now"),
        ("if-none-match" = Option<String>, Header, description = "`*`: only if there is no such tenant")),
    request_body(content = shapes::Quotas, description = "Its quotas"),
    responses(
        (status = 201, description = "It was made", body = shapes::Tenant,
            headers(("etag" = String, description = "Its state"))),
        (status = 200, description = "Its quotas were set", body = shapes::Tenant,
            headers(("etag" = String, description = "Its state")))))]
pub(super) async fn put(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    condition: Precondition,
    body: Body,
) -> Answer<Response> {
    let name = path.tenant()?;
    let body = Reader::new(body, service.spec().read_timeout);
    let shape = "the tenant's quotas, such as {\"slots\": 8, \"memory\": 1073741824}";
    let may: May = body.json(("a tenant", LONGEST_REQUEST), shape).await?;
    let put =
        super::blocking(service, move |s| s.put_tenant(&caller, &name, may, &condition)).await?;
    let (tenant, new) = put;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, shown(tenant.into())).into_response())
}

/// Delete a tenant
///
/// It must have neither jobs nor artifacts. Its tokens are revoked.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", operation_id = "deleteTenant",
    params(("if-match" = Option<String>, Header, description = "The `ETag` of the state that it must be in")),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    condition: Precondition,
) -> Answer<StatusCode> {
    let name = path.tenant()?;
    super::blocking(service, move |s| s.delete_tenant(&caller, &name, &condition)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was used
#[utoipa::path(get, path = "/v1/usage", operation_id = "showUsage",
    params(
        ("tenant" = Option<TenantId>, Query, description = "Whose; all that the token may see if not given"),
        ("by" = Option<String>, Query, description = "`tenant`, `job`, `operator`, `hour` or `day`"),
        ("since" = Option<String>, Query, description = "From when: a time, a date, or how long ago, as `24h`"),
        ("until" = Option<String>, Query, description = "Until when, likewise")),
    responses((status = 200, description = "A row for each of what `by` says", body = Usage)))]
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
    let work = move |s: &Service| {
        let usage = s.usage(&caller, &asked)?;
        Ok(Usage { usage, disk: s.disks(&caller, asked.tenant.as_ref()) })
    };
    Ok(Json(super::blocking(service, move |s| work(s)).await?))
}
