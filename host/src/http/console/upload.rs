//! Uploading an operator: a file that is chosen or dropped. What is wrong with it is told here.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::html;
use multer::{Constraints, Multipart, SizeLimit};

use super::{
    actions::back,
    artifacts::tenant_field,
    page::{Section, may, sentence},
    parts::{command, encoded},
    visit::Visit,
};
use crate::{
    http::{Answer, body::Patience, problem::Problem},
    human,
    ids::{ArtifactName, TenantId, VersionName},
    registry::records::Role,
    service::artifacts::Uploaded,
    signature::{Signature, Unusable},
};

/// The longest field but the file, in bytes.
const LONGEST: usize = 1 << 10;
/// What a form has beside its file, in bytes.
const AROUND: u64 = 16 << 10;

/// What was filled in.
#[derive(Default)]
struct Filled {
    tenant: String,
    name: String,
    version: String,
    /// What the file of the signature has; empty if none was chosen.
    signature: String,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Response> {
    let text = |name| visit.said(name).unwrap_or_default().to_owned();
    let filled = Filled { tenant: text("tenant"), name: text("name"), ..Filled::default() };
    show(&visit, &filled, None).await
}

async fn show(visit: &Visit, filled: &Filled, problem: Option<&Problem>) -> Answer<Response> {
    let tenant = tenant_field(visit, &filled.tenant).await?;
    let limit = visit.service.spec().max_artifact;
    let refused = problem.is_some_and(|p| p.status() == StatusCode::UNPROCESSABLE_ENTITY);
    let body = html! {
        nav.crumbs aria-label="Where this is" { a href="/console/artifacts" { "Operators" } " / " }
        h1 { "Upload an operator" }
        @if let Some(problem) = problem {
            div.notice.bad #refused role="alert" {
                p.pre { strong { "It was not taken. " } (sentence(problem.detail())) }
                @if refused { p { "Mend it, build it again, and try the same version again: nothing was kept." } }
            }
        }
        @if !may(&visit.caller, Role::Author) {
            div.notice.warn { "Your token is of role " (visit.caller.role.word()) ": to upload takes one of role author." }
        }
        form.panel.stack method="post" action="/console/artifacts/new" enctype="multipart/form-data" {
            (tenant)
            div.columns {
                div.field {
                    label for="name" { "Name" }
                    input #name name="name" required value=(filled.name) autocomplete="off" spellcheck="false" placeholder="count";
                }
                div.field {
                    label for="version" { "Version" }
                    input #version name="version" required value=(filled.version) autocomplete="off" spellcheck="false" placeholder="1.0.0" aria-describedby="version-help";
                    p.help #version-help { "A version never changes: other bytes need another one." }
                }
            }
            // Before the component, with which the upload begins.
            div.field {
                label for="signature" { "Signature, if it is signed" }
                input #signature name="signature" type="file" accept=".sig,text/plain" aria-describedby="signature-help";
                p.help #signature-help { "The file that " code { "cofferdam operator sign" } " has made, of the bytes that are uploaded." }
            }
            div.drop data-drop="" {
                label for="component" { "Drop a component here, or choose one" }
                input #component name="component" type="file" accept=".wasm,application/wasm" required;
                p.help { "A component, or a core module, which is made into one. " (human::bytes(limit as f64)) " at most." }
            }
            button.primary type="submit" { "Upload and check" }
        }
        p.fine { "It is compiled and inspected before anything is kept. The same from a terminal:" }
        (command("cofferdam operator push count.wasm --name count --version 1.0.0"))
    };
    let page = visit.page(Section::Artifacts, "Upload an operator", body);
    Ok((problem.map_or(StatusCode::OK, Problem::status), page).into_response())
}

/// Takes the form.
pub(super) async fn upload(visit: Visit, headers: HeaderMap, body: Body) -> Answer<Response> {
    let mut filled = Filled::default();
    match take(&visit, &mut filled, &headers, body).await {
        Ok(Uploaded { record, fresh }) => {
            let tenant = encoded(record.tenant.as_str());
            let to =
                format!("/console/artifacts/{}/{}?tenant={tenant}", record.name, record.version);
            Ok(back(&to, if fresh { "uploaded" } else { "known" }).into_response())
        }
        // What can be mended here is told here.
        Err(problem) if problem.status().is_client_error() => {
            show(&visit, &filled, Some(&problem)).await
        }
        Err(problem) => Err(problem),
    }
}

/// What the form says comes first, and then the file, which is never in memory as a whole.
async fn take(
    visit: &Visit,
    filled: &mut Filled,
    headers: &HeaderMap,
    body: Body,
) -> Answer<Uploaded> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let unread = |error: multer::Error| match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the form is too long")
        }
        error => Problem::invalid(format!("the form cannot be read: {error}")),
    };
    let boundary = multer::parse_boundary(kind.unwrap_or_default()).map_err(unread)?;
    let limit = visit.service.spec().max_artifact as u64;
    let sizes = SizeLimit::new().whole_stream(limit + AROUND);
    let constraints = Constraints::new().size_limit(sizes);
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    let mut patience = Patience::new(visit.service.spec().read_timeout);
    while let Some(mut field) = patience.wait(form.next_field()).await?.map_err(unread)? {
        if field.name() == Some("component") {
            let mut upload = begin(visit, filled).await?;
            upload.signed(signature(filled)?);
            while let Some(piece) = patience.wait(field.chunk()).await?.map_err(unread)? {
                patience.earn(piece.len());
                upload.write(&piece).await?;
            }
            return Ok(upload.finish().await?);
        }
        let name = field.name().unwrap_or_default().to_owned();
        let mut text = Vec::new();
        while let Some(piece) = patience.wait(field.chunk()).await?.map_err(unread)? {
            patience.earn(piece.len());
            text.extend_from_slice(&piece);
            if text.len() > LONGEST {
                return Err(Problem::invalid(format!("`{name}` is too long")));
            }
        }
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        match name.as_str() {
            "tenant" => filled.tenant = text,
            "name" => filled.name = text,
            "version" => filled.version = text,
            "signature" => filled.signature = text,
            _ => {}
        }
    }
    Err(Problem::invalid("there is no file in the form"))
}

/// The signature, if there is one.
fn signature(filled: &Filled) -> Answer<Option<Signature>> {
    let text = filled.signature.as_str();
    let read = Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
    read.map_err(|error: Unusable| {
        Problem::invalid(format!("the file of the signature cannot be used: {error}"))
    })
}

async fn begin(visit: &Visit, filled: &Filled) -> Answer<crate::service::artifacts::Upload> {
    let wrong = |bad: crate::ids::InvalidName| Problem::invalid(bad.to_string());
    let tenant = Some(filled.tenant.as_str()).filter(|tenant| !tenant.is_empty());
    let tenant = tenant.map(TenantId::new).transpose().map_err(wrong)?;
    let name = ArtifactName::new(&*filled.name).map_err(wrong)?;
    let version = VersionName::new(&*filled.version).map_err(wrong)?;
    let begun = visit.service.begin_upload(&visit.caller, tenant.as_ref(), name, version).await;
    Ok(begun?)
}
