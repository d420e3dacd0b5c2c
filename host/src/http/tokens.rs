//! `/v1/tokens`.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
};
use crate::{
    ids::{TenantId, TokenId},
    registry::records::{Role, TokenRecord},
    service::access::{Caller, TokenRequest},
};

const LONGEST_REQUEST: usize = 16 << 10;
/// The longest text that says what a token is for, in characters.
const LONGEST_NAME: usize = 200;

/// A token as it is shown: not what opens the door.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    id: TokenId,
    name: String,
    tenant: Option<TenantId>,
    role: Role,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

/// All tokens that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    tokens: Vec<Token>,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct MadeToken {
    /// What opens the door: told here, and never again.
    token: String,
    #[serde(flatten)]
    about: Token,
}

/// What a token is to be for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    tenant: Option<TenantId>,
    role: Role,
    expires_at: Option<i64>,
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        let TokenRecord { id, name, tenant, role, created_at, expires_at, revoked_at, .. } = record;
        Self { id, name, tenant, role, created_at, expires_at, revoked_at }
    }
}

/// Tokens of the caller's tenant
#[utoipa::path(get, path = "/v1/tokens", operation_id = "listTokens",
    responses((status = 200, description = "All of them, not what opens the door", body = Tokens)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Tokens>> {
    query.only(&[])?;
    let tokens = service.tokens(&caller)?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(Token::from).collect() }))
}

/// Make a token
#[utoipa::path(post, path = "/v1/tokens", operation_id = "makeToken", request_body = NewToken,
    responses((status = 201, description = "The token, shown once", body = MadeToken,
        headers(("location" = String, description = "Where the token is")))))]
pub(super) async fn make(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Answer<Response> {
    query.only(&[])?;
    let body = Reader::new(body, service.spec().read_timeout);
    let shape = "{\"name\": \"…\", \"role\": \"ingest\", \"viewer\", \"author\", \"operator\" or \
                 \"admin\", \"tenant\": \"…\", \"expires_at\": milliseconds since 1970}, the last \
                 two if wanted";
    let asked: NewToken = body.json(("what a token is for", LONGEST_REQUEST), shape).await?;
    if asked.name.chars().count() > LONGEST_NAME || asked.name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!(
            "`name` must be plain text of {LONGEST_NAME} characters at most"
        )));
    }
    let NewToken { name, tenant, role, expires_at } = asked;
    let request = TokenRequest { name, tenant, role, expires_at };
    let fresh = super::blocking(service, move |s| s.make_token(&caller, &request)).await?;
    let about = Token::from(fresh.record);
    let location = HeaderValue::try_from(format!("/v1/tokens/{}", about.id))
        .map_err(|error| Problem::bug(&error))?;
    // No cache on the way is to keep it.
    let no_store = HeaderValue::from_static("no-store");
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, no_store)];
    let answer = Json(MadeToken { token: fresh.secret, about });
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Revoke a token
#[utoipa::path(delete, path = "/v1/tokens/{token}", operation_id = "revokeToken",
    responses((status = 200, description = "It opens nothing any more", body = Token)))]
pub(super) async fn revoke(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
) -> Answer<Json<Token>> {
    let id = path.token()?;
    let revoked = super::blocking(service, move |s| s.revoke_token(&caller, id)).await?;
    Ok(Json(revoked.into()))
}
