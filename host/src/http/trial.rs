//! `/v1/artifacts/{name}/versions/{version}/try`: the playground.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared, blocking,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
    shapes,
};
use crate::{
    ids::TenantId,
    service::{
        access::Caller,
        trial::{TrialRequest, TrialView},
    },
};

/// What is asked for, for the document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub(super) struct TrialDescribed {
    /// The records.
    #[schema(required = false)]
    records: Vec<RecordDescribed>,
    /// Records as JSON Lines, instead of `records`: each line is a value.
    lines: Option<String>,
    /// Which field of `lines` is the key.
    key_field: Option<String>,
    /// Which is the event time.
    timestamp_field: Option<String>,
    /// How that is written: `rfc3339` (if not given), `millis` or `seconds`.
    timestamp_format: Option<String>,
    /// What a job file would say of the operator: `window`, `config`, `memory`, `deadline`,
    /// `cpu_cap`, `ports`.
    #[schema(required = false, value_type = Object)]
    operator: Value,
    /// How many input ports it has; as many as the records name if not given.
    inputs: Option<u32>,
    /// How many records a batch has at most; 1024 if not given.
    batch_records: Option<usize>,
    /// By how much the records come out of order, as `5s`: the watermark follows the newest event
    /// time at this distance.
    max_out_of_orderness: Option<String>,
    /// Whether the input ends after the records, which makes every window and timer of event time
    /// due; yes if not given.
    close: Option<bool>,
    /// By how much the clock goes on after the records, as `1m`, for timers of processing time.
    advance_clock: Option<String>,
}

/// A record.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
struct RecordDescribed {
    /// A text as it is; anything else as JSON.
    #[schema(required = false)]
    value: Value,
    /// Bytes in base64, instead.
    value_base64: Option<String>,
    /// The key.
    key: Option<String>,
    /// Bytes in base64, instead.
    key_base64: Option<String>,
    /// The event time, in milliseconds since 1970.
    timestamp: Option<i64>,
    /// The input port; 0 if not given.
    #[schema(required = false)]
    port: u32,
}

/// Try an operator
///
/// Feeds it some records in a throw-away slot, and tells what it made of them. It sees no folder
/// and no host. An operator that fails is no error: `failure` says how.
#[utoipa::path(post, path = "/v1/artifacts/{name}/versions/{version}/try", operation_id = "tryVersion",
    params(
        ("tenant" = Option<TenantId>, Query),
        ("key_field" = Option<String>, Query, description = "For JSON Lines: which field is the key"),
        ("timestamp_field" = Option<String>, Query, description = "For JSON Lines: which is the event time"),
        ("timestamp_format" = Option<String>, Query, description = "For JSON Lines: `rfc3339` (if not given), `millis` or `seconds`"),
    ),
    request_body(description = "Records, and how to feed them; or records alone, as JSON Lines",
        content((TrialDescribed = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 200, description = "What became of it", body = shapes::Trial)))]
pub(super) async fn run(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<TrialView>> {
    const OF_LINES: [&str; 3] = ["key_field", "timestamp_field", "timestamp_format"];
    let known = ["tenant", OF_LINES[0], OF_LINES[1], OF_LINES[2]];
    let query = query.only(&known)?;
    let (tenant, name, version) = (query.tenant()?, path.artifact()?, path.version()?);
    // Whoever may not try it is not read first.
    {
        let (caller, tenant) = (caller.clone(), tenant.clone());
        let (name, version) = (name.clone(), version.clone());
        blocking(service.clone(), move |service| {
            service.may_try(&caller, tenant.as_ref(), (&name, &version))
        })
        .await?;
    }
    let limit = service.spec().playground.input;
    let body = Reader::new(body, service.spec().read_timeout).text("a trial", limit).await?;
    let given = |name: &str| query.get(name).map(str::to_owned);
    let request = if is_lines(&headers) {
        TrialRequest {
            lines: Some(body),
            key_field: given(OF_LINES[0]),
            timestamp_field: given(OF_LINES[1]),
            timestamp_format: given(OF_LINES[2]),
            ..TrialRequest::default()
        }
    } else if let Some(name) = OF_LINES.into_iter().find(|name| query.get(name).is_some()) {
        return Err(Problem::invalid(format!(
            "`{name}` in the query goes with a body of `application/x-ndjson`; in JSON it is a member"
        )));
    } else {
        serde_json::from_str(&body).map_err(|error| {
            Problem::invalid(format!(
                "the body must be JSON, as {{\"records\": [{{\"value\": …}}]}}: {error}"
            ))
        })?
    };
    Ok(Json(service.try_version(&caller, tenant.as_ref(), (&name, &version), request).await?))
}

fn is_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    ["application/x-ndjson", "application/jsonl", "application/x-jsonlines"].contains(&kind)
}
