//! `/v1/keys`: the keys that artifacts of a tenant are signed with.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared, blocking,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
};
use crate::{
    ids::{KeyId, TenantId, TokenId},
    registry::records::KeyRecord,
    service::access::Caller,
    signature::PublicKey,
};

/// The longest body that registers a key, in bytes.
const LONGEST_REQUEST: usize = 16 << 10;
/// The longest name, in characters.
const LONGEST_NAME: usize = 200;

/// A key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Key {
    id: KeyId,
    tenant: TenantId,
    /// What it is for, in words.
    name: String,
    /// PEM, `BEGIN PUBLIC KEY`.
    key: String,
    /// Milliseconds since 1970.
    created_at: i64,
    created_by: Option<TokenId>,
}

/// The keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

/// A key that was taken away.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedKey {
    #[serde(flatten)]
    key: Key,
    /// Versions that count as unsigned from now on: `NAME@VERSION`.
    unsigned: Vec<String>,
}

/// A key to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What it is for, in words.
    #[schema(max_length = 200)]
    name: String,
    /// PEM, `BEGIN PUBLIC KEY`, of Ed25519.
    key: String,
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        let KeyRecord { tenant, id, name, key, created_at, created_by } = record;
        Self { id, tenant, name, key: key.to_pem(), created_at, created_by }
    }
}

/// The keys of a tenant
#[utoipa::path(get, path = "/v1/keys", operation_id = "listKeys", params(("tenant" = Option<TenantId>, Query)),
    responses((status = 200, description = "All of them", body = Keys)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Keys>> {
    let tenant = query.only(&["tenant"])?.tenant()?;
    let keys = blocking(service, move |s| s.keys(&caller, tenant.as_ref())).await?;
    Ok(Json(Keys { keys: keys.into_iter().map(Key::from).collect() }))
}

/// Register a key that signs artifacts
///
/// The same key again is no mistake.
#[utoipa::path(post, path = "/v1/keys", operation_id = "addKey", params(("tenant" = Option<TenantId>, Query)),
    request_body = NewKey,
    responses(
        (status = 201, description = "It was not there before", body = Key,
            headers(("location" = String, description = "Where the key is"))),
        (status = 200, description = "It was there", body = Key,
            headers(("location" = String, description = "Where the key is")))))]
pub(super) async fn add(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Answer<Response> {
    let tenant = query.only(&["tenant"])?.tenant()?;
    let body = Reader::new(body, service.spec().read_timeout);
    let shape = "{\"name\": \"…\", \"key\": \"-----BEGIN PUBLIC KEY-----…\"}";
    let NewKey { name, key } = body.json(("a key", LONGEST_REQUEST), shape).await?;
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!(
            "`name` must be plain text of {LONGEST_NAME} characters at most"
        )));
    }
    let key = PublicKey::from_pem(&key)
        .map_err(|error| Problem::invalid(format!("`key` cannot be used: {error}")))?;
    let added = blocking(service, move |s| s.add_key(&caller, tenant.as_ref(), &name, key)).await?;
    let (record, new) = added;
    let location = HeaderValue::try_from(format!("/v1/keys/{}", record.id))
        .map_err(|error| Problem::bug(&error))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location)], Json(Key::from(record))).into_response())
}

/// Take a key away
///
/// What it has signed counts as unsigned from then on; jobs that run go on.
#[utoipa::path(delete, path = "/v1/keys/{key}", operation_id = "removeKey", params(("tenant" = Option<TenantId>, Query)),
    responses((status = 200, description = "The key, and what is unsigned now", body = RemovedKey)))]
pub(super) async fn remove(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
) -> Answer<Json<RemovedKey>> {
    let (tenant, id) = (query.only(&["tenant"])?.tenant()?, path.key()?);
    let removed = blocking(service, move |s| s.remove_key(&caller, tenant.as_ref(), id)).await?;
    Ok(Json(RemovedKey { key: removed.key.into(), unsigned: removed.unsigned }))
}
