//! `/v1/artifacts`.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Json, Shared, blocking,
    body::Reader,
    given::{InPath, Query},
    problem::Problem,
    shapes, tagged,
};
use crate::{
    ids::{ArtifactName, KeyId, TenantId, TokenId, VersionName},
    registry::records::{BuiltIn, Inspection, SignatureRecord, TagRecord, VersionRecord},
    service::{
        access::Caller,
        artifacts::ArtifactView,
        error::ServiceError,
        precondition::{Precondition, tag_of_bytes},
    },
    signature::Signature,
};

/// The longest body that says where a tag points, in bytes.
const LONGEST_TAG: usize = 4 << 10;

/// The header that a signature comes in.
const SIGNATURE: &str = "x-cofferdam-signature";

/// An artifact.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Artifact {
    tenant: TenantId,
    name: ArtifactName,
    /// The oldest first; before them the one that comes with the program, if one does.
    versions: Vec<Version>,
    tags: BTreeMap<VersionName, VersionName>,
    /// Whether all of it comes with the program, and nobody has uploaded any.
    built_in: bool,
    /// What it does, if it comes with the program.
    about: Option<String>,
}

/// All artifacts of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Artifacts {
    artifacts: Vec<Artifact>,
}

/// A version of an artifact.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Version {
    tenant: TenantId,
    name: ArtifactName,
    version: VersionName,
    /// `sha256-` and 64 hexadecimal digits.
    digest: String,
    /// Bytes.
    size: u64,
    /// Milliseconds since 1970; of what comes with the program, when the server was started.
    uploaded_at: i64,
    uploaded_by: Option<TokenId>,
    inspection: Inspection,
    signed: Option<Signed>,
    /// Whether it comes with the program: every tenant has it, and none can change it.
    built_in: bool,
    /// Whether an operator of this name comes with the program, before which this one goes.
    hides_built_in: bool,
}

/// Who signed a version. The key counted when that was uploaded; it may have been taken away since.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Signed {
    key: KeyId,
    /// What the key was called.
    name: String,
    /// `ed25519:` and base64.
    signature: String,
}

/// Where a tag points.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tag {
    tenant: TenantId,
    name: ArtifactName,
    tag: VersionName,
    version: VersionName,
}

/// What `PUT` of a tag is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TagTarget {
    version: VersionName,
}

impl From<VersionRecord> for Version {
    fn from(record: VersionRecord) -> Self {
        let signed = |SignatureRecord { key, name, signature }| Signed {
            key,
            name,
            signature: signature.to_string(),
        };
        Self {
            digest: format!("sha256-{}", record.digest),
            signed: record.signed.map(signed),
            built_in: record.built_in == BuiltIn::Yes,
            hides_built_in: record.built_in == BuiltIn::Hides,
            tenant: record.tenant,
            name: record.name,
            version: record.version,
            size: record.size,
            uploaded_at: record.uploaded_at,
            uploaded_by: record.uploaded_by,
            inspection: record.inspection,
        }
    }
}

impl From<ArtifactView> for Artifact {
    fn from(view: ArtifactView) -> Self {
        let built_in = view.is_built_in();
        let ArtifactView { tenant, name, versions, tags, about } = view;
        let versions = versions.into_iter().map(Version::from).collect();
        Self { tenant, name, versions, tags, built_in, about }
    }
}

impl Version {
    fn etag(&self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.digest)).expect("a digest is plain text")
    }

    fn answer(self, status: StatusCode) -> Response {
        let etag = self.etag();
        (status, [(header::ETAG, etag)], Json(self)).into_response()
    }
}

/// The artifacts of a tenant, and those that come with the program
#[utoipa::path(get, path = "/v1/artifacts", operation_id = "listArtifacts", params(("tenant" = Option<TenantId>, Query)),
    responses((status = 200, description = "All of them", body = Artifacts)))]
pub(super) async fn list(
    State(service): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer<Json<Artifacts>> {
    let tenant = query.only(&["tenant"])?.tenant()?;
    let found = blocking(service, move |s| s.artifacts(&caller, tenant.as_ref())).await?;
    Ok(Json(Artifacts { artifacts: found.into_iter().map(Artifact::from).collect() }))
}

/// An artifact with its versions and tags
#[utoipa::path(get, path = "/v1/artifacts/{name}", operation_id = "showArtifact", params(("tenant" = Option<TenantId>, Query)),
    responses((status = 200, description = "The artifact", body = Artifact)))]
pub(super) async fn show(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
) -> Answer<Json<Artifact>> {
    let (tenant, name) = (query.only(&["tenant"])?.tenant()?, path.artifact()?);
    let found = blocking(service, move |s| s.artifact(&caller, tenant.as_ref(), &name)).await?;
    Ok(Json(found.into()))
}

/// A version of an artifact
#[utoipa::path(get, path = "/v1/artifacts/{name}/versions/{version}", operation_id = "showVersion",
    params(("tenant" = Option<TenantId>, Query), ("if-none-match" = Option<String>, Header, description = "An `ETag` that is known")),
    responses(
        (status = 200, description = "The version", body = Version,
            headers(("etag" = String, description = "The digest"))),
        (status = 304, description = "It is the one that is known"),
    ))]
pub(super) async fn show_version(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    headers: HeaderMap,
) -> Answer<Response> {
    let tenant = query.only(&["tenant"])?.tenant()?;
    let (name, version) = (path.artifact()?, path.version()?);
    let found =
        blocking(service, move |s| s.version(&caller, tenant.as_ref(), &name, &version)).await?;
    let found = Version::from(found);
    let etag = found.etag();
    if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(found.answer(StatusCode::OK))
}

/// Upload a component
///
/// A version never changes: the same bytes again are no mistake, others are.
#[utoipa::path(put, path = "/v1/artifacts/{name}/versions/{version}", operation_id = "uploadVersion",
    params(("tenant" = Option<TenantId>, Query), ("if-none-match" = Option<String>, Header, description = "`*`: only if it is not there"),
        ("x-cofferdam-signature" = Option<String>, Header, description = "`ed25519:` and base64: the signature of `cofferdam artifact sha256-DIGEST`")),
    request_body(content = shapes::Bytes, content_type = "application/wasm", description = "The component"),
    responses(
        (status = 201, description = "It was not there before", body = Version,
            headers(("etag" = String, description = "The digest"))),
        (status = 200, description = "It was there, with the same bytes", body = Version,
            headers(("etag" = String, description = "The digest"))),
    ))]
pub(super) async fn upload(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let tenant = query.only(&["tenant"])?.tenant()?;
    let (name, version) = (path.artifact()?, path.version()?);
    // `If-None-Match: *` asks for a version that is not there yet.
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*") {
        let known = {
            let (caller, tenant) = (caller.clone(), tenant.clone());
            let (name, version) = (name.clone(), version.clone());
            blocking(service.clone(), move |service| {
                match service.version(&caller, tenant.as_ref(), &name, &version) {
                    Ok(found) => Ok(Some(found.version)),
                    Err(ServiceError::NotFound(_)) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .await?
        };
        if let Some(known) = known {
            let detail = format!("there is a version `{known}` already");
            return Err(ServiceError::PreconditionFailed(detail).into());
        }
    }
    let signature = headers.get(SIGNATURE).map(|value| {
        let read = value.to_str().unwrap_or_default().parse::<Signature>();
        read.map_err(|error| Problem::invalid(format!("the header `{SIGNATURE}`: {error}")))
    });
    let signature = signature.transpose()?;
    let owner = caller.tenant(tenant.as_ref())?;
    let limit = service.spec().max_artifact_of(&owner) as u64;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limit) {
        return Err(ServiceError::TooLarge { what: "an artifact", limit }.into());
    }
    let mut upload = service.begin_upload(&caller, tenant.as_ref(), name, version).await?;
    upload.signed(signature);
    let mut body = Reader::new(body, service.spec().read_timeout);
    while let Some(piece) = body.next().await? {
        upload.write(&piece).await?;
    }
    let done = upload.finish().await?;
    let status = if done.fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Version::from(done.record).answer(status))
}

/// Delete a version, and the tags that point to it
///
/// Not while a job uses it that has not ended, unless it is forced: such a job goes on, and has a
/// condition `ArtifactDeleted`.
#[utoipa::path(delete, path = "/v1/artifacts/{name}/versions/{version}", operation_id = "deleteVersion",
    params(("tenant" = Option<TenantId>, Query),
        ("force" = Option<bool>, Query, description = "Also while jobs use it: for role `operator`"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of the version that is meant")),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    condition: Precondition,
) -> Answer<StatusCode> {
    let query = query.only(&["tenant", "force"])?;
    let (tenant, force) = (query.tenant()?, query.flag("force")?);
    let (name, version) = (path.artifact()?, path.version()?);
    blocking(service, move |s| {
        s.delete_version(&caller, tenant.as_ref(), (&name, &version), force, &condition)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Point a tag to a version
#[utoipa::path(put, path = "/v1/artifacts/{name}/tags/{tag}", operation_id = "putTag",
    params(("tenant" = Option<TenantId>, Query),
        ("if-match" = Option<String>, Header, description = "The `ETag` of the version that it must point to until now"),
        ("if-none-match" = Option<String>, Header, description = "`*`: only if there is no such tag")),
    request_body = TagTarget,
    responses((status = 200, description = "Where it points now", body = Tag,
        headers(("etag" = String, description = "The digest of that version")))))]
pub(super) async fn put_tag(
    State(service): State<Shared>,
    caller: Caller,
    path: InPath,
    query: Query,
    condition: Precondition,
    body: Body,
) -> Answer<Response> {
    let tenant = query.only(&["tenant"])?.tenant()?;
    let (name, tag) = (path.artifact()?, path.tag()?);
    let body = Reader::new(body, service.spec().read_timeout);
    let target: TagTarget = body.json(("a tag", LONGEST_TAG), "{\"version\": \"…\"}").await?;
    let (record, digest) = blocking(service, move |s| {
        s.put_tag(&caller, tenant.as_ref(), (&name, &tag), &target.version, &condition)
    })
    .await?;
    let TagRecord { tenant, name, tag, version } = record;
    Ok(tagged(&tag_of_bytes(&digest), Json(Tag { tenant, name, tag, version })))
}
