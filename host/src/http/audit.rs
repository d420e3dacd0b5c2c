//! `/v1/audit`.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Json, Shared, blocking, given::Query, problem::Problem};
use crate::{
    ids::{TenantId, TokenId},
    registry::records::{AuditRecord, Role},
    service::access::Caller,
};

/// How many calls a page has if nothing is said, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1_000;

/// Some calls, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditedCalls {
    calls: Vec<AuditedCall>,
    /// To be given as `after`, for those before them; none at the end.
    next: Option<u64>,
}

/// A call that was to change something.
#[derive(Debug, Serialize, ToSchema)]
struct AuditedCall {
    /// Grows with each call.
    id: u64,
    /// Whose token it was; if that was for every tenant, which one the query named.
    tenant: Option<TenantId>,
    /// Milliseconds since 1970.
    at: i64,
    /// By which token; none where the door is open.
    token: Option<TokenId>,
    role: Role,
    method: String,
    path: String,
    /// What was answered; none if it never came to that.
    status: Option<u16>,
    /// The answer's header `x-request-id`.
    request_id: String,
}

impl From<AuditRecord> for AuditedCall {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord { id, tenant, at, token, role, method, path, status, request } = record;
        Self { id, tenant, at, token, role, method, path, status, request_id: request }
    }
}

/// Calls that were to change something, the newest first
///
/// For admins; those of a tenant see its own.
#[utoipa::path(get, path = "/v1/audit", operation_id = "listAudit",
    params(
        ("tenant" = Option<TenantId>, Query, description = "Whose; all that the token may see if not given"),
        ("after" = Option<u64>, Query, description = "The `next` of the page before"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "How many; 100 if not given")),
    responses((status = 200, description = "A page", body = AuditedCalls)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<AuditedCalls>> {
    let query = query.only(&["tenant", "after", "limit"])?;
    let tenant = query.tenant()?;
    let wrong = |_| Problem::invalid("`after` must be the `next` of a page: a whole number");
    let after = query.get("after").map(|id| id.parse().map_err(wrong)).transpose()?;
    let limit = query.number("limit", PAGE, LARGEST_PAGE)?;
    let work = move |service: &Shared| service.audited(&caller, tenant.as_ref(), after, limit);
    let page = blocking(service, work).await?;
    let next = page.calls.last().map(|call| call.id).filter(|_| page.more);
    Ok(Json(AuditedCalls { calls: page.calls.into_iter().map(AuditedCall::from).collect(), next }))
}
