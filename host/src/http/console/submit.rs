//! Submitting a job: its file is pasted or dropped; mistakes are told where they are.

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::html;

use super::{
    actions::back,
    artifacts::tenant_field,
    page::{Section, may, sentence},
    visit::{Form, Visit},
};
use crate::{
    http::{Answer, jobs::savepoint_of, problem::Problem},
    ids::TenantId,
    registry::records::Role,
    service::submission::{LONGEST_FILE, Submission},
};

/// A form may have so many bytes: what is not plain takes three.
const LONGEST: usize = 3 * LONGEST_FILE + (8 << 10);
/// What stands in the place for a job file, until there is one.
const EXAMPLE: &str = "[job]
name = \"first\"

[[source]]
name = \"numbers\"
connector = \"generator\"
keys = 100
rate = 1_000

[[operator]]
name = \"count\"
artifact = \"count\"
input = \"numbers\"

[[sink]]
name = \"out\"
input = \"count\"
connector = \"discard\"
";

/// What was filled in.
#[derive(Default)]
struct Filled {
    tenant: String,
    file: String,
    savepoint: String,
    allow: bool,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Response> {
    let filled =
        Filled { tenant: visit.said("tenant").unwrap_or_default().to_owned(), ..Filled::default() };
    show(&visit, &filled, None).await
}

async fn show(visit: &Visit, filled: &Filled, problem: Option<&Problem>) -> Answer<Response> {
    let tenant = tenant_field(visit, &filled.tenant).await?;
    let author = may(&visit.caller, Role::Author);
    let body = html! {
        nav.crumbs aria-label="Where this is" { a href="/console/jobs" { "Jobs" } " / " }
        h1 { "Submit a job" }
        @if let Some(problem) = problem {
            div.notice.bad #refused role="alert" tabindex="-1" {
                p { strong { "It was not taken. " } (sentence(problem.detail())) }
                @for mistake in problem.mistakes() { pre.mistake { (mistake) } }
            }
        }
        @if !author {
            div.notice.warn { "Your token is of role " (visit.caller.role.word()) ": to submit takes one of role author." }
        }
        form.panel.stack method="post" action="/console/jobs/new" {
            (tenant)
            div.drop data-drop="file" {
                label for="job-file" { "Drop a job file here, choose one, or paste it below" }
                input #job-file type="file" accept=".toml,text/plain";
            }
            div.field {
                label for="file" { "Job file" }
                textarea #file name="file" required spellcheck="false" autocomplete="off" placeholder=(EXAMPLE)
                    aria-invalid=[problem.map(|_| "true")] aria-describedby="file-help" { (filled.file) }
                p.help #file-help { "TOML. Operators are named as they were uploaded: " code { "artifact = \"count@1\"" } ". Paths are within the tenant’s directory on the server." }
            }
            details open[!filled.savepoint.is_empty()] {
                summary { "Begin with a savepoint" }
                div.stack.inner {
                    div.field {
                        label for="savepoint" { "Savepoint" }
                        input.mono #savepoint name="savepoint" value=(filled.savepoint) placeholder="JOB/SAVEPOINT" autocomplete="off" spellcheck="false";
                    }
                    label.check {
                        input type="checkbox" name="allow" value="true" checked[filled.allow];
                        "Leave out state that no operator has any more"
                    }
                }
            }
            button.primary type="submit" { "Submit" }
        }
        p.fine { "The same from a terminal: " code { "cofferdam job submit job.toml" } }
    };
    let page = visit.page(Section::Jobs, "Submit a job", body);
    Ok((problem.map_or(StatusCode::OK, Problem::status), page).into_response())
}

/// Takes the form.
pub(super) async fn submit(visit: Visit, body: Body) -> Answer<Response> {
    let form = Form::read(&visit.service, body, LONGEST).await?;
    let text = |name| form.get(name).unwrap_or_default().trim_end().to_owned();
    let filled = Filled {
        tenant: text("tenant"),
        // Browsers send lines as the network has them.
        file: form.get("file").unwrap_or_default().replace("\r\n", "\n"),
        savepoint: text("savepoint"),
        allow: form.get("allow") == Some("true"),
    };
    match take(&visit, &filled).await {
        Ok(home) => Ok(back(&home, "submitted").into_response()),
        // What can be mended here is told here.
        Err(problem) if problem.status().is_client_error() => {
            show(&visit, &filled, Some(&problem)).await
        }
        Err(problem) => Err(problem),
    }
}

async fn take(visit: &Visit, filled: &Filled) -> Answer<String> {
    let wrong = |bad: crate::ids::InvalidName| Problem::invalid(bad.to_string());
    let tenant = Some(filled.tenant.as_str()).filter(|tenant| !tenant.is_empty());
    let tenant = tenant.map(TenantId::new).transpose().map_err(wrong)?;
    let from = Some(filled.savepoint.as_str()).filter(|text| !text.is_empty());
    let from = from.map(|text| savepoint_of(text, filled.allow)).transpose()?;
    let submission = Submission::new(filled.file.clone(), &[])?;
    let job = visit.service.submit(&visit.caller, tenant.as_ref(), submission, from).await?;
    Ok(format!("/console/jobs/{}", job.record.id))
}
