//! `/v1/jobs/{id}/sources/{operator}`: what is posted to a source.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    body::Reader,
    coding::Coding,
    given::{InPath, Query},
    problem::Problem,
};
use crate::service::{
    access::Caller,
    intake::{self, LONGEST_KEY},
};

/// What was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Posted {
    /// How many records.
    records: u32,
    /// Grows with each request that is taken.
    position: u64,
}

/// What a source holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceState {
    /// Bytes on the server's disk: what no checkpoint covers yet, or a savepoint needs.
    bytes: u64,
    /// How many there may be.
    limit: u64,
    /// The `position` of what was taken last.
    position: u64,
    /// Whether it was ended.
    ended: bool,
}

impl From<intake::Posted> for Posted {
    fn from(posted: intake::Posted) -> Self {
        let intake::Posted { records, position } = posted;
        Self { records, position }
    }
}

/// Post records to a source
///
/// All of them are taken, or none. They are durable when this is answered.
#[utoipa::path(post, path = "/v1/jobs/{id}/sources/{operator}", operation_id = "postRecords",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255,
        description = "A request that was taken with this key is not taken again, and is answered as it was then"),
        ("Content-Encoding" = Option<String>, Header, description = "`gzip` or `zstd`, if the body is packed; its length, packed and not, is bounded")),
    request_body(content = String, content_type = "application/x-ndjson", description = "The records, one a line"),
    responses((status = 200, description = "They were taken", body = Posted)))]
pub(super) async fn post(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Posted>> {
    query.only(&[])?;
    let source = service.postable(&caller, path.job()?, &path.operator()?).await?;
    let key = idempotency_key(&headers)?;
    let coding = Coding::of(&headers)?;
    let longest = service.longest_post();
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let said = said.and_then(|length| length.parse::<usize>().ok());
    // One that says nothing may have as many as it likes, up to the limit; one that is packed has
    // that, and what becomes of it.
    let said = said.unwrap_or(longest).min(longest);
    let unpacked = if coding == Coding::Identity { 0 } else { longest };
    let _room = service.hold(said + unpacked)?;
    let reader = Reader::new(body, service.spec().read_timeout);
    let what = "the records of a request";
    let mut body = reader.bytes(what, longest).await?;
    if coding != Coding::Identity {
        let unpack = move || coding.unpack(body, what, longest);
        body = tokio::task::spawn_blocking(unpack).await.map_err(|e| Problem::bug(&e))??;
    }
    Ok(Json(service.post(source, key, body, caller.traced).await?.into()))
}

/// End a source
///
/// Nothing more can be posted to it. When the job has read what there is, and has no other source
/// that goes on, it finishes. Asked again it is no mistake.
#[utoipa::path(post, path = "/v1/jobs/{id}/sources/{operator}/end", operation_id = "endSource",
    responses((status = 200, description = "It is written down", body = Posted)))]
pub(super) async fn end(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
) -> Answer<Json<Posted>> {
    query.only(&[])?;
    let source = service.postable(&caller, path.job()?, &path.operator()?).await?;
    Ok(Json(service.end_source(&source).await?.into()))
}

/// What a source holds that can be posted to
#[utoipa::path(get, path = "/v1/jobs/{id}/sources/{operator}", operation_id = "showSource",
    responses((status = 200, description = "What it holds", body = SourceState)))]
pub(super) async fn show(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
) -> Answer<Json<SourceState>> {
    query.only(&[])?;
    let intake::SourceState { bytes, limit, position, ended } =
        service.source_state(&caller, path.job()?, &path.operator()?).await?;
    Ok(Json(SourceState { bytes, limit, position, ended }))
}

/// What the client calls the request by, so that it is taken once.
fn idempotency_key(headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong = || {
        Problem::invalid(format!(
            "the header `Idempotency-Key` must be 1 to {LONGEST_KEY} printable ASCII characters"
        ))
    };
    let key = key.to_str().map_err(|_| wrong())?;
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(wrong());
    }
    Ok(Some(key.to_owned()))
}
